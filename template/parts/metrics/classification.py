"""How good a classifier is: accuracy and cross-entropy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process

BEST = "accuracy"  # what makes a checkpoint the best
MORE_IS_BETTER = True


class Metrics:
    """Sums over images, so that the values are exact whatever the batches and processes are."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.sums = torch.zeros(3, dtype=torch.float64, device=process.device)  # right answers, cross-entropy, images

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Takes in the model's (logits, embedding) for the images `numbers` with these labels (n,)."""
        logits, _ = output
        right = (logits.argmax(dim=1) == labels).sum()
        loss = F.cross_entropy(logits.float(), labels, reduction="none").to(self.sums.dtype).sum()
        self.sums += torch.stack([right, loss, right.new_tensor(len(labels))])

    def compute(self) -> dict[str, float]:
        """The values over all processes; every process must call it."""
        right, loss, count = self.process.total(self.sums).tolist()
        return {"accuracy": right / count, "loss": loss / count}
