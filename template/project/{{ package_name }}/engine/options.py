"""The settings of the machinery; what values a setting may have, and what a change means for a run that goes on."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

import tyro

from .errors import RunError


def setting(default: Any, change: str = "told", **bounds: float) -> Any:
    """A field of the options, with bounds of its value: `least` and `most`, `above` and `below`.

    `change` is what another value means for a run that goes on: "free" (used without a word), "told" (used, with a line
    in the log; so is that of a field without `setting`), or "refused" (the steps already taken would not fit it).
    """
    metadata = {"change": change, "bounds": bounds}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunOptions:
    """The settings of every run; `Options` in options.py adds those of what is learned."""

    epochs: int = setting(20, above=0)  # passes over the training data
    batch_size: int = setting(64, "refused", above=0)  # items in a step, over all processes
    accumulate: int = setting(1, above=0)  # parts in which a batch is computed; more need less memory
    eval_every: int = setting(1, above=0)  # epochs between two evaluations
    patience: int = setting(0, least=0)  # stop after this many evaluations without a better one; 0 goes on to the end
    ema_decay: float = setting(0.0, least=0, below=1)  # evaluate a moving average that keeps this share; 0 for none
    seed: int = setting(2022, "refused")  # where all randomness starts
    seeds: int = setting(1, "free", above=0)  # train this many seeds, one after another; report mean and deviation
    precision: Literal["fp32", "bf16"] = setting("fp32")  # number format of the model's arithmetic
    deterministic: bool = setting(True, "refused")  # choose algorithms that repeat bit for bit (slower on a GPU)
    compile: bool = setting(False)  # compile the model (torch.compile)

    num_workers: int = setting(2, "free", least=0)  # processes that load data, for each training process
    loader_timeout: int = setting(300, "free", above=0)  # seconds to wait for one of them before giving up
    run: int | None = setting(None, "free")  # number of the run to make or to continue
    new_run: bool = setting(False, "free")  # take the next number, whatever came before
    run_dir: str = setting("run", "free")  # where runs are kept
    log_every: int = setting(20, "free", above=0)  # steps between two rows of metrics.jsonl
    save_every: int = setting(1, "free", above=0)  # epochs between two checkpoints
    keep: int = setting(2, "free")  # newest checkpoints to keep, beside the best one
    agree_every: int = setting(10, "free", above=0)  # steps after which processes ask each other whether to stop
    timeout: int = setting(600, "free", above=0)  # seconds to wait for another process before giving up
    plan: bool = setting(False, "free")  # show layer groups, learning rates and data, and train nothing

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
    default = type(opt)()
    return {name for name, value in vars(opt).items() if value != vars(default)[name]}


BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "least": ("at least", operator.ge),
    "most": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
}


def check(opt: RunOptions) -> None:
    """Refuses settings that could never train, with a sentence that says what they may be."""
    for one in fields(opt):
        flag, value, bounds = f"--{one.name.replace('_', '-')}", getattr(opt, one.name), one.metadata.get("bounds", {})
        if isinstance(value, dict):
            for name, number in value.items():
                _check_number(f"{flag}.{name}", number, {"least": 0})
        elif isinstance(value, (int, float)):
            _check_number(flag, value, bounds)
    if opt.new_run and opt.run is not None:
        raise RunError("--new-run takes the next number, so it does not go with --run")
    if opt.seeds > 1 and opt.run is not None:
        raise RunError("--seeds makes a run for each seed, so it does not go with --run")


def _check_number(flag: str, number: float, bounds: dict[str, float]) -> None:
    if not (math.isfinite(number) and all(BOUNDS[name][1](number, bound) for name, bound in bounds.items())):
        words = [f"{BOUNDS[name][0]} {bound:g}" for name, bound in bounds.items()]
        raise RunError(f"{flag} must be {' and '.join(words) or 'a finite number'}, and is {number}")


def change(kind: type[RunOptions], name: str) -> str:
    """What another value of a setting means for a run that goes on: free, told or refused."""
    found: dict[str, dataclasses.Field[Any]] = {one.name: one for one in fields(kind)}
    return str(found[name].metadata.get("change", "told"))
