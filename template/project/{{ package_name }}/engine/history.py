"""Which run: its number and its lock, its settings then and now, and the checkpoint that it goes on from."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from filelock import FileLock, Timeout
from torch import nn

from . import checkpoint, files
from .buffers import load_other_buffers
from .checkpoint import Checkpoint
from .errors import RunError, counted, disk_error
from .options import RunOptions, change, given, typed
from .processes import Process
from .seed import setup_seed

Opt = TypeVar("Opt", bound=RunOptions)
RENAMED = {"ema": "ema_decay"}  # settings of earlier versions


class Record(NamedTuple):
    """What options.json holds: the settings by name, those that were typed, the facts of the data, where it began."""

    options: dict[str, Any]
    given: set[str]
    facts: dict[str, Any]
    folder: str = ""


@dataclass
class Start:
    """Where a run begins: its number, the checkpoint that it goes on from (None: it is new), and what to tell."""

    num: int
    checkpoint: Checkpoint | None = None
    notes: list[str] = field(default_factory=list)
    recorded: bool = False  # whether options.json has the settings of now


def choose(opt: RunOptions) -> int | None:
    """The number of the run to work in: `--run`, else the newest one if the same command made it; None: the next one.

    Interrupted `--seeds` go on with the runs that they have made.
    """
    root = Path(opt.run_dir)
    if opt.run is not None or opt.new_run or not os.path.lexists(root):
        return opt.run
    runs: dict[int, int] = {}  # by seed
    for num in reversed(numbers(root)):
        if not is_run(root / str(num)):  # refused before it began, or something else of that name
            continue
        record = read_record(root / str(num))
        seed = record.options["seed"]
        if changes(record, replace(opt, seed=seed)) or (runs and seed + 1 != min(runs)):
            break
        runs[seed] = num
        if len(runs) == opt.seeds:
            break
    folder = root / str(max(runs.values(), default=0)) / "checkpoints"
    with suppress(RunError, IndexError, OSError, ValueError):  # of a damaged one it is found out when the run goes on
        said = last_state(folder)
        now = with_recorded(opt, read_record(folder.parent))
        # to verify takes time, so it is done only if the run says that it is finished
        if len(runs) == opt.seeds and finished(said, now) and (found := checkpoint.newest(folder)[0]):
            return None if finished(found.state, now) else runs.get(opt.seed)
    return runs.get(opt.seed)


def last_state(folder: Path) -> dict[str, Any]:
    """Where the newest checkpoint says that its run stands, without verifying it."""
    return dict(json.loads(files.read(folder / str(checkpoint.steps(folder)[-1]) / "state.json")))


def passed_over(opt: RunOptions, num: int) -> list[str]:
    """Why the newest run before the new run `num` does not go on, if it is unfinished."""
    root = Path(opt.run_dir)
    if opt.run is not None or opt.new_run:
        return []
    before = next((one for one in reversed(numbers(root)) if one < num and is_run(root / str(one))), None)
    if before is None:
        return []
    record, state = read_record(root / str(before)), {"epoch": math.inf}
    with suppress(RunError, IndexError, OSError, ValueError):
        state = last_state(root / str(before) / "checkpoints")
    why = [f"{name} was {old} and is {value}" for name, (old, value, _) in changes(record, opt).items()]
    if state.get("finished") or state["epoch"] >= record.options["epochs"]:
        return []
    reason = ", ".join(why) or "another process works in it"
    return [f"run {before} is unfinished and does not go on ({reason}); --run {before} goes on with it"]


def with_recorded_settings(opt: Opt, process: Process) -> Opt:
    """The settings of the run to go on with, and those that were typed; of a new run, the ones given."""
    record: Record | None = None
    with process.raise_together():
        if process.rank == 0 and (num := choose(opt)) is not None and is_run(Path(opt.run_dir, str(num))):
            record = read_record(Path(opt.run_dir, str(num)))
    record = process.broadcast(record)
    return opt if record is None else with_recorded(opt, record)


def with_recorded(opt: Opt, record: Record) -> Opt:
    """The settings of a run, and those that were typed or are free."""
    # 0 is for what the data tell, and that may be counted otherwise by now
    told = {name: value for name, value in record.facts.items() if record.options.get(name) == 0 and value}
    recorded, now = known_settings(type(opt), record._replace(options={**record.options, **told})), given(opt)
    kept = {name for name in vars(opt) if change(type(opt), name) != "free" and name not in now}
    return replace(opt, **{name: recorded[name] for name in kept & recorded.keys()})


def lock_run(opt: RunOptions) -> tuple[int, FileLock]:
    """The number of the run to work in, and its lock, which a killed process loses.

    If another process works in the run that was chosen, it is a new one, unless `--run` has named it.
    """
    root = Path(opt.run_dir)
    root.mkdir(parents=True, exist_ok=True)
    chosen = choose(opt)
    num = max(numbers(root), default=1) if chosen is None else chosen
    while True:
        folder = root / str(num)
        # a number is free too if its run was refused or killed before it began
        unused = folder.is_dir() and all(path.name == "lock" or path.match("train*.log") for path in folder.iterdir())
        if num == chosen or unused or not os.path.lexists(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock")
            try:
                lock.acquire(blocking=False)
                return num, lock
            except Timeout:
                if num == opt.run:
                    raise RunError(f"run {num} is in use by another process; wait, or take another number", 3) from None
        num += 1


def numbers(root: Path) -> list[int]:
    """The numbers of the runs in a folder, oldest first."""
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())


def is_run(folder: Path) -> bool:
    """Whether there is a run; an error if there are checkpoints, but no record of what they are of."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise RunError(f"{disk_error(problem)}; restore it, or take --new-run", 4) from None
    if "options.json" in names:
        return True
    if "checkpoints" in names and checkpoint.steps(folder / "checkpoints"):
        raise RunError(f"{folder} has checkpoints and no options.json; restore it, or take --new-run", 4)
    return False


# comparing with what was recorded


def changes(record: Record, opt: RunOptions) -> dict[str, tuple[Any, Any, str]]:
    """The settings that differ and are not free to, of those that were typed now or then: what was, is, and means."""
    default = vars(type(opt)()) | known_settings(type(opt), record)
    counts, found = given(opt) | record.given, {}
    for name, value in vars(opt).items():
        old, meaning = record.options.get(name, default[name]), change(type(opt), name)
        # a loss or a layer group that was added or removed since counts as typed
        other_names = isinstance(value, dict) and isinstance(old, dict) and old.keys() != value.keys()
        if (name in counts or other_names) and old != value and meaning != "free":
            found[f"--{name.replace('_', '-')}"] = (old, value, meaning)
    return found


def finished(state: dict[str, Any], opt: RunOptions) -> bool:
    """Whether a run in this state is finished, also with these settings."""
    end, epoch = state.get("finished"), state.get("epoch", 0)
    if not end:
        return bool(epoch >= opt.epochs)
    patience = not end["patience"] or 0 < opt.patience <= end["patience"]
    return bool(opt.epochs <= max(end["epochs"], epoch) and patience)


def compare(num: int, opt: RunOptions, facts: dict[str, Any], made_by: dict[str, Any]) -> Start:
    """Where a run goes on, and what to warn of; refuses changes that the steps already taken would not fit."""
    folder = Path(opt.run_dir, str(num))
    if not is_run(folder):
        return Start(num)
    record = read_record(folder)
    found, notes = checkpoint.newest(folder / "checkpoints")
    gone = {name: old for name, old in record.options.items() if name not in {**vars(opt), **facts}}
    notes += [f"--{name.replace('_', '-')} was {old} and is no longer a setting" for name, old in gone.items()]
    changed = changes(record, opt)
    other = {name: (record.facts[name], now) for name, now in facts.items() if record.facts.get(name, now) != now}
    if found is not None:
        for name, (old, value, meaning) in changed.items():
            if meaning == "refused":
                raise RunError(f"run {num} has {name} {old} and cannot go on with {value}; take --new-run")
        for name, (old, now) in other.items():
            what = f"run {num} has the data's {name.replace('_', ' ')} {old} and cannot go on with {now}"
            raise RunError(f"{what}. To begin anew: {_command('--new-run')}", 4)
        then = found.manifest["fingerprint"]
        for name in ("world", "threads", "torch", "torchvision", "device", "gpu", "cpu"):
            old, value = then.get(name), made_by.get(name)
            if old is not None and old != value:
                notes.append(f"{name} was {old} and is {value}: the result will be close, not equal")
        edited = [name for name, digest in made_by.get("source", {}).items() if _differs(then, "source", name, digest)]
        if edited:
            names = ", ".join(edited[:4]) + (f" and {len(edited) - 4} more files" if len(edited) > 4 else "")
            notes.append(f"changed since the last checkpoint: {names}; the result may differ from here on")
        if not finished(found.state, opt):
            notes += changed_data(num, opt, then, made_by)
    if found is None or not finished(found.state, opt):
        notes += [f"{name} was {old} and is {value} from here on" for name, (old, value, _) in changed.items()]
    return Start(num, found, notes, recorded=not changed and not other)


def changed_data(num: int, opt: RunOptions, then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What to tell of data that are not those of the last checkpoint; refused, unless `--data-changed` says so.

    A run of an older version did not note its data, and takes those that it finds.
    """
    for name, value in now.get("data", {}).items():
        if _differs(then, "data", name, value):
            before, after = (sum(count for count, _ in each) for each in (then["data"][name], value))
            items = f"{counted(before, 'item')} then, {after} now"
            what = f"{name} of run {num} have changed since its last checkpoint ({items})"
            if not opt.data_changed:
                go_on, begin = _command("--data-changed"), _command("--new-run")
                raise RunError(f"{what}. To go on with them: {go_on}   To begin anew: {begin}", 4)
            return [f"{what}: the result will not be equal"]
    return []


def _differs(then: dict[str, Any], kind: str, name: str, value: Any) -> bool:
    """Whether something was noted in a checkpoint and is another one now."""
    noted = then.get(kind)
    return isinstance(noted, dict) and noted.get(name, value) != value


def _command(flag: str) -> str:
    """The command that was typed, with another flag; a new run has another number."""
    words = sys.argv[1:]
    if flag == "--new-run" and "--run" in words:
        del words[words.index("--run") : words.index("--run") + 2]
    words = [word for word in words if flag != "--new-run" or not word.startswith(("--run=", "--data-changed"))]
    start = "torchrun ..." if "RANK" in os.environ else "python"
    return f"{start} -m {__package__.partition('.')[0]}.train {shlex.join([*words, flag])}"


def write_record(folder: Path, opt: RunOptions, facts: dict[str, Any], made_by: dict[str, Any]) -> None:
    """Writes options.json."""
    options = {name: value for name, value in asdict(opt).items() if name != "given"}
    record = {"options": options, "given": sorted(given(opt)), "facts": facts, **made_by}
    files.replace(folder / "options.json", json.dumps(record, indent=1).encode())
    files.sync_folder(folder.parent)


def read_record(folder: Path) -> Record:
    """What options.json holds; that of earlier versions too."""
    if not is_run(folder):
        raise RunError(f"{folder} is not the folder of a run: it has no options.json")
    try:
        saved = json.loads(files.read(folder / "options.json"))
        options = {RENAMED.get(name, name): value for name, value in saved["options"].items()}
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        words = saved["given"] if "given" in saved else typed(saved["options"], saved.get("command", []))
        facts = saved.get("facts", saved["options"])  # before 0.4.0 they were among the options
        given = {RENAMED.get(word, word) for word in words}
        return Record({"seed": options["seed"], **options}, given, facts, str(saved.get("folder", "")))
    except OSError as problem:
        raise RunError(f"{disk_error(problem)}; restore it, or take --new-run", 4) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise RunError(f"{folder / 'options.json'} is damaged ({problem}); restore it, or take --new-run", 4) from None


def read_options(folder: Path, kind: type[Opt]) -> Opt:
    """The options that a run was made with; those that this project has no more are left out.

    A relative path is that of the folder in which the run was started, as long as it is there.
    """
    record = read_record(folder)
    known = known_settings(kind, record)
    for name in [one.name for one in fields(kind) if one.metadata.get("path") and known.get(one.name)]:
        place = Path(record.folder, known[name])
        if record.folder not in ("", str(Path.cwd())) and place.exists():
            known[name] = str(place)
    return replace(kind(), **known)


def known_settings(kind: type[RunOptions], record: Record) -> dict[str, Any]:
    """The recorded settings that this project still has; a loss or a layer group that is new has its default."""
    known = {one.name: one.metadata["before"] for one in fields(kind) if one.metadata.get("before") is not None}
    for name, default in vars(kind()).items():
        if name in record.options:
            old = known[name] = record.options[name]
            if isinstance(default, dict) and isinstance(old, dict):
                known[name] = {key: old.get(key, number) for key, number in default.items()}
    return known


def average_of(name: str) -> str:
    """The name under which a checkpoint has the moving average of a model."""
    return "ema" if name == "model" else f"{name}_ema"


def load_run(
    folder: Path,
    kind: type[Opt],
    build_model: Callable[[Opt, dict[str, Any]], nn.Module],
    step: int | None = None,
    name: str = "model",
) -> tuple[Opt, dict[str, Any], nn.Module, int]:
    """The options of a run, the facts of its data, its model with trained weights, and the step of these.

    They are those of the best checkpoint, or that of `step`, of the model that was kept as `name`; with a moving
    average, they are the average. The model is on the CPU and in training mode. The seed becomes that of the run: in
    train.py, load another run's model before `setup_seed`.
    """
    opt, facts, checkpoints = read_options(folder, kind), read_record(folder).facts, folder / "checkpoints"
    found = checkpoint.best(checkpoints) if step is None else checkpoint.verify(checkpoints / str(step))
    if found is None:
        raise RunError(f"{folder} has no checkpoint yet", 4)
    setup_seed(opt.seed, opt.deterministic)  # computes as the training did
    net = build_model(opt, facts)
    with checkpoint.loaded(found) as tensors:
        name = average_of(name) if average_of(name) in tensors else name
        net.load_state_dict(tensors[name])
        load_other_buffers(net, tensors.get("buffers", {}).get(name, {}))
    return opt, facts, net, found.state["step"]
