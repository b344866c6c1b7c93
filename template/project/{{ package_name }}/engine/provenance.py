"""What a result depends on, bit for bit, beside the settings: versions, threads, processes, device, the source."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import RunError
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
        "gpu": torch.cuda.get_device_name(process.device) if process.device.type == "cuda" else None,
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "world": process.world,
        "host": platform.node(),
        "folder": os.getcwd(),
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
    facts = datasets[0].facts
    try:
        known = json.loads(json.dumps(facts))
    except (TypeError, ValueError) as problem:
        known = problem
    if known != facts:
        raise RunError("facts are what JSON can hold: numbers, texts, lists, and dictionaries with texts as keys")
    data = [[len(one), one.fingerprint() if hasattr(one, "fingerprint") else None] for one in datasets]
    data = json.loads(json.dumps(data, default=str))  # as it is read back from a checkpoint
    return {
        **{f"--{name.replace('_', '-')}": getattr(opt, name) for name in alike},
        **{f"the data's {name.replace('_', ' ')}": value for name, value in facts.items()},
        "the training data": data[:1],
        "the data to evaluate": data[1:],
        "the versions": versions(),
        "the source of the project": source(),
    }


def source() -> dict[str, str]:
    """A hash of each file of this package, and of the project's other modules that are in use, such as a model."""
    root = PACKAGE.parent
    loaded = [str(getattr(module, "__file__", None)) for module in [*sys.modules.values()]]
    others = [Path(path) for path in loaded if path.startswith(f"{root}{os.sep}") and "-packages" not in path]
    paths = {*PACKAGE.rglob("*.py"), *(path for path in others if path.suffix == ".py" and path.is_file())}
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in found.items()}


def hash_files(folder: Path, paths: Sequence[str], targets: Tensor) -> str:
    """A hash of the names of files below `folder`, of their sizes, and of the targets that belong to them."""
    places = range(0, len(paths), 1000)
    with ThreadPoolExecutor(16) as helpers:  # a disk that others share takes its time to answer
        sizes = [*helpers.map(lambda place: [*map(os.path.getsize, paths[place : place + 1000])], places)]
    names = "\n".join(path.removeprefix(f"{folder}{os.sep}") for path in paths)
    told = f"{names}{sizes}{targets.tolist()}"
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()
