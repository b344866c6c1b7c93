"""The settings of every run, the bounds of settings, and what a changed one means for a run that goes on."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

import torch
import tyro

from .errors import RunError

BOUNDS = {
    "least": ("at least", operator.ge),
    "most": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
}
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of numbers, by `precision`
LARGEST = 10**9  # of whole numbers without bounds of their own


def setting(
    default: Any,
    change: str = "told",
    alike: bool | None = None,
    path: bool = False,
    before: Any = None,
    **bounds: float,
) -> Any:
    """A field of the options, with bounds of its value: `least`, `most`, `above`, `below`.

    A run that goes on uses a changed value silently ("free"), or with a line in the log ("told", also for a field
    without `setting`), or refuses it, because the steps already taken would not fit it ("refused"). Processes must have
    it `alike`, unless it is free. A `path` is that of a file or folder. A run that was made before the setting existed
    goes on with `before`.
    """
    alike = change != "free" if alike is None else alike
    metadata = {"change": change, "alike": alike, "path": path, "before": before, "bounds": bounds}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunOptions:
    """The settings of every run; `Options` in options.py adds those of this project."""

    epochs: int = setting(0, least=0)  # passes over the training data; 0: as many as the next two settings ask for
    least_epochs: int = setting(20, above=0)  # passes over the training data, unless --epochs or --steps says it
    least_steps: int = setting(400, above=0)  # steps for which small data are passed over more often
    steps: int = setting(0, least=0)  # in place of --epochs: as many whole epochs as so many steps take
    batch_size: int = setting(0, "refused", least=0)  # items per step, over all processes; 0: 64, of few data less
    accumulate: int = setting(1, above=0)  # gradient accumulation: parts of a batch; more need less memory
    balance: bool = False  # every class comes equally often in an epoch, whatever the number of its items
    eval_every: int = setting(0, least=0)  # epochs between evaluations; 0: 1, or more where they are many and short
    eval_steps: int = setting(0, least=0)  # evaluate after every so many steps as well, for long epochs; 0 for no
    patience: int = setting(0, least=0)  # early stopping after so many evaluations without a better one; 0 for none
    ema_decay: float = setting(0.0, least=0, below=1)  # evaluate a moving average of the weights; 0 for none
    seed: int = setting(2022, "refused", least=-(2**62), most=2**62)  # seed of all random numbers
    seeds: int = setting(1, "free", alike=True, above=0)  # number of runs, with consecutive seeds
    precision: Literal["fp32", "bf16", "fp16"] = setting("fp32")  # number format of the forward pass
    deterministic: bool = setting(True, "refused")  # choose algorithms that repeat bit for bit (slower on a GPU)
    compile: bool = setting(False)  # compile the model (torch.compile)

    num_workers: int = setting(2, "free", least=0, most=1000)  # loader workers of each process
    loader_timeout: int = setting(300, "free", above=0)  # seconds to wait for a loader worker
    run: int | None = setting(None, "free", least=0)  # number of the run to make or to go on with
    new_run: bool = setting(False, "free")  # make a new run in any case
    data_changed: bool = setting(False, "free")  # go on with a run whose data have changed since
    run_dir: str = setting("run", "free")  # folder of the runs
    log_every: int = setting(20, "free", alike=True, above=0)  # steps between lines of metrics.jsonl
    save_every: int = setting(0, "free", alike=True, least=0)  # epochs between checkpoints; 0: 1, more of short ones
    save_minutes: float = setting(10.0, "free", alike=True, least=0)  # save within an epoch so often; 0 for never
    max_minutes: float = setting(0.0, "free", alike=True, least=0, most=1e7)  # save and stop after that; 0 for never
    keep: int = setting(2, "free", least=2)  # newest checkpoints to keep, besides the best one
    agree_every: int = setting(10, "free", alike=True, above=0)  # steps between checks whether to stop
    timeout: int = setting(600, "free", above=0)  # seconds to wait for another process
    plan: bool = setting(False, "free")  # show layer groups, learning rates and data, and do not train

    # the settings that were typed; None: those that differ from their defaults
    given: tyro.conf.Suppress[tuple[str, ...] | None] = setting(None, "free")


Opt = TypeVar("Opt", bound=RunOptions)


def parse(kind: type[Opt], args: Sequence[str], prog: str) -> Opt:
    """Reads a command line."""
    opt = tyro.cli(kind, args=list(args), prog=prog)
    return replace(opt, given=tuple(sorted(typed(vars(opt), args))))


def typed(names: Iterable[str], words: Sequence[str]) -> set[str]:
    """Those of the settings that a command line sets: `--lr 1`, `--no-flip`, `--groups.head 1`."""
    flags = {word.split("=")[0].split(".")[0][2:].replace("-", "_") for word in words if word.startswith("--")}
    return {name for name in names if name in flags or f"no_{name}" in flags}


def given(opt: RunOptions) -> set[str]:
    """The names of the settings that count for a run that goes on: the typed ones."""
    if opt.given is not None:
        return set(opt.given)
    default = vars(type(opt)())
    return {name for name, value in vars(opt).items() if value != default[name]}


def fit_to_data(opt: Opt, items: int) -> Opt:
    """The options, with a length of training that fits so many items wherever it was not given.

    Small data need steps: the batch is halved, down to 16, while an epoch has fewer than 20 of them, and there are as
    many epochs as `--least-steps` take. Of many short epochs only some are followed by an evaluation and a checkpoint.
    """
    now = given(opt)
    if {"epochs", "steps"} <= now:
        raise RunError("--epochs and --steps both say how long to train; leave one of them out")
    batch_size = opt.batch_size or next(size for size in (64, 32, 16) if items >= 20 * size or size == 16)
    steps = max(1, items // batch_size)  # of an epoch
    epochs = opt.epochs or max(opt.least_epochs, math.ceil(opt.least_steps / steps))
    if "steps" in now and opt.steps:
        epochs = math.ceil(opt.steps / steps)
    eval_every = opt.eval_every or max(1, min(math.ceil(20 / steps), epochs // 20))
    return replace(
        opt,
        epochs=epochs,
        steps=0 if "epochs" in now else opt.steps,
        batch_size=batch_size,
        eval_every=eval_every,
        save_every=opt.save_every or (1 if opt.eval_every else eval_every),
        given=tuple(sorted(now)),
    )


def check_bounds(opt: Any) -> None:
    """Refuses values out of bounds, in a data class."""
    for one in fields(opt):
        flag, value, bounds = f"--{one.name.replace('_', '-')}", getattr(opt, one.name), one.metadata.get("bounds", {})
        if isinstance(value, dict):
            for name, number in value.items():
                _check_number(f"{flag}.{name}", number, {"least": 0})
        for each in value if isinstance(value, tuple) else [value]:
            if isinstance(each, int | float):
                _check_number(flag, each, bounds)
            elif each == "" and one.default != "":
                raise RunError(f"{flag} is empty; leave it out, or say what it is")
            elif isinstance(opt, RunOptions) and not isinstance(each, str | dict | None):
                raise RunError(f"{flag} is a {type(each).__name__}; options.json has numbers, texts and tuples of them")


def check(opt: RunOptions) -> None:
    """Refuses values out of bounds, and flags that contradict each other."""
    check_bounds(opt)
    if opt.run is not None and (opt.new_run or opt.seeds > 1):
        raise RunError("--run is the number of one run; leave out --new-run and --seeds")


def _check_number(flag: str, number: float, bounds: dict[str, float]) -> None:
    if isinstance(number, int) and abs(number) > LARGEST and "most" not in bounds:
        bounds = {"least": -LARGEST, "most": LARGEST} | bounds
    if not (math.isfinite(number) and all(BOUNDS[name][1](number, bound) for name, bound in bounds.items())):
        words = [f"{BOUNDS[name][0]} {bound:g}" for name, bound in bounds.items()]
        raise RunError(f"{flag} must be {' and '.join(words) or 'a finite number'}, and is {number}")


def change(kind: type[RunOptions], name: str) -> str:
    """What another value of a setting means for a run that goes on: free, told or refused."""
    return next(str(one.metadata.get("change", "told")) for one in fields(kind) if one.name == name)
