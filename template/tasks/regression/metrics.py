"""Metrics of regression: R2, mean absolute error and root mean squared error, in the units of the targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .data import in_units
from .engine import Process

BEST = "r2"  # what makes a checkpoint the best
MORE_IS_BETTER = True


class Metrics:
    """Errors over all images, exact whatever the batches and processes are; of several targets their means too."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process, self.facts = process, facts
        self.values: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.numbers: list[Tensor] = []

    def update(self, output: Any, targets: Tensor, numbers: Tensor) -> None:
        """Takes in the model's (values, embedding) for the images `numbers` with these standardised targets."""
        values, _ = output
        self.values.append(values.float())
        self.targets.append(targets)
        self.numbers.append(numbers)

    def compute(self) -> dict[str, float]:
        """The values over all processes; every process must call it."""
        gathered = [self.process.gather_rows(torch.cat(rows)) for rows in (self.values, self.targets, self.numbers)]
        order = gathered[2].argsort()  # that of the images, whatever the processes are
        values, targets = self.all_values, self.all_targets = [rows[order].cpu().double() for rows in gathered[:2]]
        error, unit = values - targets, torch.tensor(self.facts["target_std"], dtype=torch.float64)
        spread = (targets - targets.mean(dim=0)).square().sum(dim=0)
        found = {
            "r2": 1 - error.square().sum(dim=0) / spread.clamp(min=1e-12),
            "mae": error.abs().mean(dim=0) * unit,
            "rmse": error.square().mean(dim=0).sqrt() * unit,
        }
        names = self.facts["targets"]
        means = {metric: float(each.mean()) for metric, each in found.items()}
        if len(names) == 1:
            return means  # the same as each
        for metric, each in found.items():
            means |= {f"{metric}/{name}": float(value) for name, value in zip(names, each, strict=True)}
        return means

    def pictures(self, folder: Path) -> None:
        """Draws predicted.png, a panel for each target: what was predicted against what is true."""
        from matplotlib.figure import Figure  # takes a second to import: only who draws pays

        names = self.facts["targets"]
        figure = Figure(figsize=(4.4 * len(names), 4.4), layout="constrained")
        for number, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), number + 1)
            both = (self.all_targets, self.all_values)
            true, told = (in_units(each, self.facts)[:, number].tolist() for each in both)
            axes.plot([min(true), max(true)], [min(true), max(true)], color="gray", linewidth=1)
            axes.scatter(true, told, s=6, alpha=0.4)
            axes.set(title=name, xlabel="true", ylabel="predicted")
            axes.grid(alpha=0.3)
        figure.savefig(folder / "predicted.png", dpi=110)
