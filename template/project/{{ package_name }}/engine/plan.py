"""What a run would do: layer groups, learning rates, steps and data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .errors import RunError, counted
from .options import RunOptions

MOST_STEPS = 10_000_000  # of a plan, which takes them all
FEW_STEPS = 300  # in fewer, a network learns little


def learning_rates(optimizer: Optimizer, scheduler: LRScheduler, steps: int) -> dict[str, list[float]]:
    """The learning rate of each layer group at each step; uses up the scheduler."""
    if steps > MOST_STEPS:
        raise RunError(f"a plan of {steps:,} steps would take too long to draw; take fewer --epochs for it")
    groups = {group["name"].split("/")[0]: group for group in optimizer.param_groups}
    rates: dict[str, list[float]] = {name: [] for name in groups}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scheduler steps without the optimizer
        for _ in range(steps):
            for name, group in groups.items():
                rates[name].append(float(group["lr"]))
            scheduler.step()
    return rates


def plan(groups: str, rates: dict[str, list[float]], steps: int, opt: RunOptions, data: Sequence[str]) -> str:
    """The lines of `--plan`; the learning rates as curves of 60 characters."""
    lines = [groups, ""]
    for name, values in rates.items():
        picked = [values[number * len(values) // 60] for number in range(60)] if len(values) > 60 else values
        curve = "".join(" ▁▂▃▄▅▆▇█"[round(value / (max(values) or 1) * 8)] for value in picked)
        lines.append(f"lr/{name:<11} {curve}  {values[0]:.3g} to {values[-1]:.3g}, at most {max(values):.3g}")
    return "\n".join([*lines, "", length(opt, steps), *too_short(opt, steps), *data])


def length(opt: RunOptions, steps: int) -> str:
    """How long a training of epochs of so many steps is."""
    parts = counted(opt.epochs, "epoch"), counted(steps, "step"), counted(opt.batch_size, "item")
    whole = f" (--steps {opt.steps} in whole epochs)" if 0 < opt.steps != opt.epochs * steps else ""
    return f"{' of '.join(parts)}: {counted(opt.epochs * steps, 'step')}{whole}"


def too_short(opt: RunOptions, steps: int) -> list[str]:
    """A warning, if it is too short to learn much."""
    warning = f"{counted(opt.epochs * steps, 'step')} may teach a network little; --steps {FEW_STEPS} takes more"
    return [warning] if opt.epochs * steps < FEW_STEPS else []
