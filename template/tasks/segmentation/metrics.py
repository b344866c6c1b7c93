"""Metrics of a segmentation: intersection over union (IoU) and Dice of each class, over the pixels of all images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .engine import Process
from .overlays import draw_overlays
from .views import IGNORED

BEST = "mIoU"  # chooses the best checkpoint
MORE_IS_BETTER = True

SHOWN = 6  # images that `pictures` draws, the first ones


class Metrics:
    """Counts of pixels, so that the result does not depend on batches and processes."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process, self.classes = process, facts["classes"]
        # confusion[true, predicted] is a number of pixels
        self.confusion = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64, device=process.device)
        self.shown: dict[int, tuple[Tensor, Tensor]] = {}  # predicted and true mask of some of the first images
        self.images: Any = None  # the data set that they are of, for `pictures`

    def update(self, output: Any, targets: Tensor, numbers: Tensor) -> None:
        """Adds a batch: scores (n, classes, height, width), masks (n, height, width), and numbers of images (n,)."""
        predicted = output.argmax(dim=1)
        counts = targets != IGNORED
        pairs = targets[counts].long() * len(self.classes) + predicted[counts]
        self.confusion += pairs.bincount(minlength=self.confusion.numel()).view_as(self.confusion)
        for place, number in enumerate(numbers.tolist()):
            if number < SHOWN:
                self.shown[number] = predicted[place].byte().cpu(), targets[place].cpu()

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        self.confusion = self.process.total(self.confusion)
        iou, dice, there = of_classes(self.confusion)
        if not there.any():
            return {"mIoU": 0.0, "dice": 0.0}  # no pixel counts
        return {"mIoU": float(iou[there].mean()), "dice": float(dice[there].mean())}

    def report(self) -> str:
        """A line for each class that is there: its share of the pixels, its IoU and its Dice."""
        lines = [f"{'class':<20}{'pixels':>9}{'IoU':>9}{'Dice':>9}"]
        shares = self.confusion.sum(dim=1) / self.confusion.sum().clamp(min=1)
        for name, share, *values, there in zip(self.classes, shares.tolist(), *of_classes(self.confusion), strict=True):
            if there:
                lines.append(f"{name:<20}{share:>9.2%}{float(values[0]):>9.4f}{float(values[1]):>9.4f}")
        return "\n".join(lines)

    def pictures(self, folder: Path) -> None:
        """Draws overlays.png: images, and over them the true mask and the predicted one."""
        draw_overlays(folder / "overlays.png", self.images, self.shown)


def of_classes(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU and Dice of each class, and whether any pixel is of it, or told to be."""
    both = confusion.diagonal().double()
    pixels = (confusion.sum(dim=0) + confusion.sum(dim=1)).double()
    return both / (pixels - both).clamp(min=1), 2 * both / pixels.clamp(min=1), pixels > 0
