"""Metrics of a classifier: accuracy and cross-entropy, and how well each class is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process

BEST = "accuracy"  # chooses the best checkpoint
MORE_IS_BETTER = True


class Metrics:
    """Sums over images, so that the result does not depend on batches and processes."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process, self.classes = process, facts["classes"]
        self.loss = torch.zeros((), dtype=torch.float64, device=process.device)
        # confusion[true, predicted] is a number of images
        self.confusion = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64, device=process.device)

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, embedding), the labels (n,) and the numbers (n,) of the images."""
        logits, _ = output
        self.loss += F.cross_entropy(logits.float(), labels, reduction="none").to(self.loss.dtype).sum()
        pairs = labels * len(self.classes) + logits.argmax(dim=1)
        self.confusion += pairs.bincount(minlength=self.confusion.numel()).view_as(self.confusion)

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        self.confusion = self.process.total(self.confusion)
        count = int(self.confusion.sum())
        loss = float(self.process.total(self.loss))
        return {"accuracy": int(self.confusion.trace()) / count, "loss": loss / count}

    def report(self) -> str:
        """A line for each class: its number of images, precision, recall and F1."""
        lines = [f"{'class':<20}{'images':>8}{'precision':>11}{'recall':>8}{'F1':>8}"]
        for number, name in enumerate(self.classes):
            correct = float(self.confusion[number, number])
            images, predicted = float(self.confusion[number].sum()), float(self.confusion[:, number].sum())
            shares = correct / max(predicted, 1), correct / max(images, 1), 2 * correct / max(images + predicted, 1)
            lines.append(f"{name:<20}{images:>8.0f}{shares[0]:>11.4f}{shares[1]:>8.4f}{shares[2]:>8.4f}")
        return "\n".join(lines)

    def pictures(self, folder: Path) -> None:
        """Draws confusion.png: which classes are taken for which."""
        from matplotlib.figure import Figure  # takes a second to import: only who draws pays

        shares = self.confusion / self.confusion.sum(dim=1, keepdim=True).clamp(min=1)
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares.cpu(), cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="true", title="share of the images of each class")
        if len(self.classes) <= 40:
            names = [name.encode(errors="replace").decode() for name in self.classes]  # not all are UTF-8
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.set_yticks(range(len(names)), names)
        figure.savefig(folder / "confusion.png", dpi=110)
