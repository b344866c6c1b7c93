"""What a result depends on, bit for bit, beside the settings: versions, threads, processes, device, the source."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from .options import RunOptions
from .processes import Process

PACKAGE = Path(__file__).parents[1]


def provenance(process: Process) -> dict[str, Any]:
    """What made a checkpoint; it is saved with each."""
    try:
        answers = (PACKAGE.parent / ".copier-answers.yml").read_text(encoding="utf-8").splitlines()
    except OSError:
        answers = []
    template = [line.partition(":")[2].strip() for line in answers if line.startswith("_commit:")]
    describe = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "no git"
    return {
        "command": sys.argv,
        **versions(),
        "device": process.device.type,
        "threads": torch.get_num_threads(),
        "world": process.world,
        "host": platform.node(),
        "git": commit,
        "template": template[0] if template else "unknown",
    }


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that compute."""
    loaded = [name for name in ("torch", "torchvision", "numpy") if name in sys.modules]
    return {"python": platform.python_version(), **{name: sys.modules[name].__version__ for name in loaded}}


def same_everywhere(opt: RunOptions, *datasets: Any) -> dict[str, Any]:
    """What must be the same in all processes: settings, versions, this package, and what the data are."""
    alike = [one.name for one in fields(opt) if one.metadata.get("alike", True)]
    data = [one.fingerprint() if hasattr(one, "fingerprint") else len(one) for one in datasets]
    source = b"".join(path.read_bytes() for path in sorted(PACKAGE.rglob("*.py")))
    return {
        **{f"--{name.replace('_', '-')}": getattr(opt, name) for name in alike},
        **{f"the data's {name.replace('_', ' ')}": value for name, value in datasets[0].facts.items()},
        "the training data": data[0],
        "the data to evaluate": data[1:],
        "the versions": versions(),
        "the source of the project": hashlib.sha256(source).hexdigest(),
    }
