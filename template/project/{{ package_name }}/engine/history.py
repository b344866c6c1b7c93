"""Which run: its number and its lock, its settings then and now, and the checkpoint that it goes on from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy
import torch
from filelock import FileLock, Timeout

from . import checkpoint
from .errors import RunError, report
from .options import RunOptions, change, given, typed
from .processes import Process

Opt = TypeVar("Opt", bound=RunOptions)
RENAMED = {"ema": "ema_decay"}  # settings of earlier versions
TOGETHER = {"log_every", "save_every", "agree_every", "seeds"}  # say when processes meet, so they agree on them


@dataclass
class Record:
    """What options.json holds: the settings by name, which of them were typed, and the facts of the data."""

    options: dict[str, Any]
    given: set[str]
    facts: dict[str, Any]


def choose(opt: RunOptions) -> int | None:
    """The number of the run to go on with: `--run`, else the newest one if the same command made it; None: a new one.

    Interrupted `--seeds` go on with the runs that they have made.
    """
    root = Path(opt.run_dir)
    if opt.run is not None:
        return opt.run if is_run(root / str(opt.run)) else None
    if opt.new_run or not os.path.lexists(root):
        return None
    runs: dict[int, int] = {}  # by seed
    for num in reversed(numbers(root)):
        if len(runs) == opt.seeds:
            break
        if not is_run(root / str(num)):
            continue  # it has the name of a run and is none, or was refused before it began
        record = read_record(root / str(num))
        seed = record.options["seed"]
        if differences(record, replace(opt, seed=seed)) or (runs and seed + 1 != min(runs)):
            break
        runs[seed] = num
    if len(runs) == opt.seeds and finished(root / str(max(runs.values())), opt):
        return None
    return runs.get(opt.seed)


def with_recorded_settings(opt: Opt, process: Process) -> Opt:
    """The settings of the run to go on with, and those that were typed; of a new run, the ones given."""
    recorded: dict[str, Any] = {}
    with process.together():
        if process.rank == 0:
            recorded = _recorded_settings(opt)
    recorded, now = process.broadcast(recorded), given(opt)
    kept = {name for name in vars(opt) if change(type(opt), name) != "free" and name not in now}
    return replace(opt, **{name: recorded[name] for name in kept & recorded.keys()})


def _recorded_settings(opt: RunOptions) -> dict[str, Any]:
    try:
        num = choose(opt)
    except OSError:  # `open_run` will say it
        return {}
    return {} if num is None else read_record(Path(opt.run_dir, str(num))).options


def numbers(root: Path) -> list[int]:
    """The numbers of the runs in a folder, oldest first."""
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())


def is_run(folder: Path) -> bool:
    """Whether there is a run; an error if there are checkpoints, but no record of what they are of."""
    if os.path.lexists(folder / "options.json"):
        return True
    if os.path.lexists(folder / "checkpoints") and checkpoint.steps(folder / "checkpoints"):
        raise RunError(f"{folder} has checkpoints and no options.json; restore it, or take --new-run", 4)
    return False


def differences(record: Record, opt: RunOptions) -> dict[str, tuple[Any, Any]]:
    """The settings that are not free to differ and do, of those that were typed now or then: what was and what is."""
    default, now = vars(type(opt)()), given(opt) | record.given
    pairs = {name: (record.options.get(name, default[name]), value) for name, value in vars(opt).items() if name in now}
    return {name: pair for name, pair in pairs.items() if change(type(opt), name) != "free" and pair[0] != pair[1]}


def finished(folder: Path, opt: RunOptions) -> bool:
    """Whether a run has come to an end that these settings do not move."""
    step, _ = checkpoint.newest(folder / "checkpoints") if (folder / "checkpoints").exists() else (None, [])
    state = {} if step is None else read_state(folder, step)
    end = state.get("finished")
    if not end:
        return bool(state.get("epoch", 0) >= opt.epochs)
    patience = not end["patience"] or 0 < opt.patience <= end["patience"]
    return bool(opt.epochs <= max(end["epochs"], state["epoch"]) and patience)


def compare(
    folder: Path, opt: RunOptions, facts: Mapping[str, Any], process: Process
) -> tuple[int | None, list[str], bool]:
    """The step to go on from, what to say of all that changed, and whether the record stays as it is."""
    record, default = read_record(folder), vars(type(opt)())
    step, notes = checkpoint.newest(folder / "checkpoints")
    gone = {name: old for name, old in record.options.items() if name not in default and name not in facts}
    notes += [f"--{name.replace('_', '-')} was {old} and is no setting any more" for name, old in gone.items()]
    changed = {}
    for name, value in vars(opt).items():
        old = record.options.get(name, default[name])
        if old != value and (meaning := change(type(opt), name)) != "free":
            changed[f"--{name.replace('_', '-')}"] = (old, value, meaning)
    for name, value in facts.items():
        if record.facts.get(name, value) != value:
            changed[f"the data's {name.replace('_', ' ')}"] = (record.facts[name], value, "refused")
    for name, (old, value, meaning) in changed.items():
        if meaning == "refused" and step is not None:
            raise RunError(f"run {folder.name} has {name} {old} and cannot go on with {value}; take --new-run")
    if step is not None:
        manifest = json.loads((folder / "checkpoints" / str(step) / "MANIFEST.json").read_text())
        then, now = manifest["fingerprint"], provenance(process)
        for name in ("world", "threads", "torch", "device"):
            if then[name] != now[name]:
                notes.append(f"{name} was {then[name]} and is {now[name]}: the result will be close, not equal")
    if not finished(folder, opt):
        notes += [f"{name} was {old} and is {value} from here on" for name, (old, value, _) in changed.items()]
    return step, notes, not changed


def write_record(folder: Path, opt: RunOptions, facts: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Writes options.json, whole or not at all."""
    options = {name: value for name, value in asdict(opt).items() if name != "given"}
    record = {"options": options, "given": sorted(given(opt)), "facts": facts, **provenance}
    beside = folder / "options.json.tmp"
    checkpoint.write(beside, json.dumps(record, indent=1).encode())
    beside.replace(folder / "options.json")
    for changed in (folder, folder.parent):
        checkpoint.sync_folder(changed)


def read_record(folder: Path) -> Record:
    """What options.json holds; that of earlier versions too."""
    if not is_run(folder):
        raise RunError(f"{folder} is not the folder of a run: it has no options.json")
    try:
        saved = json.loads((folder / "options.json").read_text())
        options = {RENAMED.get(name, name): value for name, value in saved["options"].items()}
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        words = saved["given"] if "given" in saved else typed(saved["options"], saved.get("command", []))
        facts = saved.get("facts", saved["options"])  # before 0.4.0 they were among the options
        return Record({"seed": options["seed"], **options}, {RENAMED.get(word, word) for word in words}, facts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise RunError(f"{folder / 'options.json'} is damaged ({problem}); restore it, or take --new-run", 4) from None


def read_state(folder: Path, step: int) -> dict[str, Any]:
    """Where a run stood at a checkpoint."""
    state: dict[str, Any] = json.loads((folder / "checkpoints" / str(step) / "state.json").read_text())
    return state


def lock_of(folder: Path) -> FileLock | None:
    """The lock of a run, or None if a live process has it; a killed one loses it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def new_run(root: Path) -> tuple[int, FileLock]:
    """The next number, and its lock; a number is free too if its run was refused or killed before it began."""
    taken = numbers(root)
    num = taken[-1] if taken else 0
    if taken and _unused(root / str(num)) and (lock := lock_of(root / str(num))):
        return num, lock
    while True:
        num += 1
        try:
            (root / str(num)).mkdir()
        except FileExistsError:  # somebody was faster
            continue
        if lock := lock_of(root / str(num)):
            return num, lock


def _unused(folder: Path) -> bool:
    return folder.is_dir() and all(path.name == "lock" or path.match("train*.log") for path in folder.iterdir())


def facts_of_start(opt: RunOptions, dataset: Any, others: Sequence[Any] = ()) -> dict[str, Any]:
    """What must be the same in all processes: settings, versions, this package, and what the training data are."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        source.update(path.read_bytes())
    settings = {n: value for n, value in vars(opt).items() if change(type(opt), n) != "free" or n in TOGETHER}
    prints = [one.fingerprint() if hasattr(one, "fingerprint") else len(one) for one in (dataset, *others)]
    return {
        **{f"--{name.replace('_', '-')}": value for name, value in settings.items() if name != "data_dir"},
        **{f"the data's {name.replace('_', ' ')}": value for name, value in dataset.facts.items()},
        "the training data": prints[0],
        "the data to evaluate": prints[1:],
        "the versions": (platform.python_version(), torch.__version__),
        "the source of the project": source.hexdigest(),
    }


def provenance(process: Process) -> dict[str, Any]:
    """What decides over the bits of a result, beside the options: versions, threads, processes, device, git state."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": process.device.type,
        "threads": torch.get_num_threads(),
        "world": process.world,
        "host": platform.node(),
        "git": git_state(),
        "template": template_version(),
    }


def git_state() -> str:
    """The commit, with "-dirty" if there are changes; "no git" where there is none."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no git"


def template_version() -> str:
    """The version of the template that made this project."""
    answers = Path(__file__).parents[2] / ".copier-answers.yml"
    try:
        lines = answers.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("_commit:")), "unknown")


def main() -> int:
    """Prints how the run given on the command line stands: finished, stopped (by a signal) or unfinished."""
    try:
        if len(sys.argv) != 2:
            raise RunError(f"give the folder of a run:   python -m {__package__}.history run/1")
        folder = Path(sys.argv[1])
        epochs = read_record(folder).options["epochs"]
        step, _ = checkpoint.newest(folder / "checkpoints")
        state = {} if step is None else read_state(folder, step)
    except RunError as error:
        return report(error)
    if state.get("finished") or state.get("epoch", 0) >= epochs:
        print("finished")
    else:
        print("stopped" if state.get("stopped") else "unfinished")
    return 0


if __name__ == "__main__":
    sys.exit(main())
