"""Metrics of a classifier: accuracy and cross-entropy."""

from __future__ import annotations

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
        self.process = process
        self.sums = torch.zeros(3, dtype=torch.float64, device=process.device)  # correct, cross-entropy, images

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, embedding), the labels (n,) and the numbers (n,) of the images."""
        logits, _ = output
        correct = (logits.argmax(dim=1) == labels).sum()
        loss = F.cross_entropy(logits.float(), labels, reduction="none").to(self.sums.dtype).sum()
        self.sums += torch.stack([correct, loss, correct.new_tensor(len(labels))])

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        correct, loss, count = self.process.total(self.sums).tolist()
        return {"accuracy": correct / count, "loss": loss / count}
