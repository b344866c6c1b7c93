"""Metrics of labels: mean average precision, F1 and cross-entropy; what `evaluate` prints is in report.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process, RunError
from .report import average_precision, draw_curves, f1, report

BEST = "mAP"  # chooses the best checkpoint
MORE_IS_BETTER = True


class Metrics:
    """Scores over all images, exact whatever the batches and processes are.

    A label is told of an image where its probability is 0.5 or more. Labels that no image here has are left out of the
    means over labels: there is nothing to find.
    """

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process, self.names = process, facts["labels"]
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.numbers: list[Tensor] = []

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, embedding), the labels (n, labels) and the numbers (n,) of the images."""
        logits, _ = output
        self.logits.append(logits.float())
        self.labels.append(labels)
        self.numbers.append(numbers)

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        gathered = [self.process.gather_rows(torch.cat(rows)) for rows in (self.logits, self.labels, self.numbers)]
        order = gathered[2].argsort()  # that of the images, whatever the processes are
        self.all_logits, self.all_labels = gathered[0][order].double(), gathered[1][order].double()
        self.there = self.all_labels.any(dim=0)
        if not self.there.any():
            raise RunError("no image to evaluate has a label; there is nothing to find")
        told = (self.all_logits >= 0).double()
        # of each label: how many images have it and are told to, are told to, have it
        self.counts = torch.stack([(told * self.all_labels).sum(dim=0), told.sum(dim=0), self.all_labels.sum(dim=0)])
        self.precisions = average_precision(self.all_logits, self.all_labels)
        return {
            "mAP": float(self.precisions[self.there].mean()),
            "f1_micro": float(f1(self.counts.sum(dim=1))),
            "f1_macro": float(f1(self.counts)[self.there].mean()),
            "loss": float(F.binary_cross_entropy_with_logits(self.all_logits, self.all_labels)),
        }

    def report(self) -> str:
        """What else `evaluate` prints."""
        return report(self.counts, self.precisions, self.names, self.all_labels)

    def pictures(self, folder: Path) -> None:
        """Draws precision_recall.png."""
        draw_curves(self.all_logits, self.all_labels, self.names, folder)
