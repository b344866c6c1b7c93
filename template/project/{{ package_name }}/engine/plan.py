"""What a run would do: layer groups, learning rates, steps and data, before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .options import RunOptions


def learning_rates(optimizer: Optimizer, scheduler: LRScheduler, steps: int) -> dict[str, list[float]]:
    """The learning rate of each layer group at each step of a run; uses up the scheduler."""
    rates: dict[str, list[float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer step comes between those of the scheduler, on purpose
        for _ in range(steps):
            now = {group["name"].split("/")[0]: float(group["lr"]) for group in optimizer.param_groups}
            for name, rate in now.items():
                rates.setdefault(name, []).append(rate)
            scheduler.step()
    return rates


def curve(values: list[float], width: int = 60, signs: str = " ▁▂▃▄▅▆▇█") -> str:
    """Values of at least 0 as a line of blocks, the highest a full one."""
    picked = [values[number * len(values) // width] for number in range(width)] if len(values) > width else values
    top = max(values) or 1.0
    return "".join(signs[round(value / top * (len(signs) - 1))] for value in picked)


def plan(groups: str, rates: dict[str, list[float]], steps: int, opt: RunOptions, data: Sequence[str]) -> str:
    """Everything worth knowing before the first step."""
    lines = [groups, ""]
    for name, values in rates.items():
        lines.append(f"lr/{name:<11} {curve(values)}  {values[0]:.3g} to {values[-1]:.3g}, at most {max(values):.3g}")
    size = f"{opt.epochs} epochs of {steps} steps of {opt.batch_size} items: {opt.epochs * steps} steps"
    return "\n".join([*lines, "", size, *data])
