"""The machinery of training: runs, checkpoints, resuming, processes, loading. Open it when you are curious.

It knows nothing of the other rooms of this project; what it needs it is given. These names are what they use of it.
"""

from __future__ import annotations

from .errors import RunError, counted, shown
from .files import make_folder, regular
from .groups import freeze_groups, layer_groups, table_of_groups
from .history import load_run, read_options
from .launch import exit_status, launch
from .loader import EpochBatchSampler, InMemory, Loader, Part, evaluation_batches, in_memory, loader_settings
from .log import train_logger
from .options import RunOptions, check_bounds, fit_to_data, setting
from .pictures import draw_into
from .plan import learning_rates, plan
from .processes import Process
from .provenance import hash_files
from .run import Run, open_run
from .seed import generator, setup_seed
