"""The machinery of training: runs, checkpoints, resuming, processes, loading. Open it when you are curious.

It knows nothing of the other rooms of this project; what it needs it is given. These names are what they use of it.
"""

from __future__ import annotations

from .errors import RunError
from .launch import exit_status, launch
from .loader import EpochBatchSampler, Items, Loader, Part, evaluation_batches, loader_settings
from .log import train_logger
from .options import RunOptions, setting
from .plan import learning_rates, plan
from .processes import Process
from .run import Run, load_run, open_run, read_options
from .seed import draws_random_numbers, generator, setup_seed

__all__ = [
    "EpochBatchSampler",
    "Items",
    "Loader",
    "Part",
    "Process",
    "Run",
    "RunError",
    "RunOptions",
    "draws_random_numbers",
    "evaluation_batches",
    "exit_status",
    "generator",
    "launch",
    "learning_rates",
    "load_run",
    "loader_settings",
    "open_run",
    "plan",
    "read_options",
    "setting",
    "setup_seed",
    "train_logger",
]
