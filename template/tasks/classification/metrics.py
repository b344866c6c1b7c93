"""Metrics of a classifier: accuracy, balanced accuracy and cross-entropy; what `evaluate` prints is in report.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process
from .report import BINS, calibration_bins, draw_confusion, in_top5, report

BEST = "accuracy"  # chooses the best checkpoint
MORE_IS_BETTER = True


class Metrics:
    """Sums over images, so that the result does not depend on batches and processes."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process, self.classes = process, facts["classes"]
        self.loss = torch.zeros((), dtype=torch.float64, device=process.device)
        # confusion[true, predicted] is a number of images
        self.confusion = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64, device=process.device)
        self.bins = torch.zeros(3, BINS, dtype=torch.float64, device=process.device)
        self.top5 = torch.zeros((), dtype=torch.int64, device=process.device)

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, embedding), the labels (n,) and the numbers (n,) of the images."""
        logits, _ = output
        self.loss += F.cross_entropy(logits.float(), labels, reduction="none").to(self.loss.dtype).sum()
        pairs = labels * len(self.classes) + logits.argmax(dim=1)
        self.confusion += pairs.bincount(minlength=self.confusion.numel()).view_as(self.confusion)
        self.bins += calibration_bins(logits, labels)
        self.top5 += in_top5(logits, labels)

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        totals = [self.process.total(sums) for sums in (self.loss, self.confusion, self.bins, self.top5)]
        self.loss, self.confusion, self.bins, self.top5 = totals
        images, correct = self.confusion.sum(dim=1).double(), self.confusion.diagonal()
        count = int(images.sum())
        return {
            "accuracy": int(correct.sum()) / count,
            "balanced_accuracy": float((correct / images)[images > 0].mean()),  # mean recall of the classes there are
            "loss": float(self.loss) / count,
        }

    def report(self) -> str:
        """What else `evaluate` prints."""
        return report(self.confusion, self.bins, self.top5, self.classes)

    def pictures(self, folder: Path) -> None:
        """Draws confusion.png."""
        draw_confusion(self.confusion, self.classes, folder)
