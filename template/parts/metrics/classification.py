"""How good the model is: accuracy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .distributed import Process, total

BEST = "accuracy"  # what makes a checkpoint the best
MORE_IS_BETTER = True


class Metrics:
    """Accuracy and cross-entropy over images that come in batches, exact whatever the batches and processes are."""

    def __init__(self, process: Process) -> None:
        # in double precision, so that the order of adding does not show; MPS has none
        kind = torch.float32 if process.device.type == "mps" else torch.float64
        self.sums = torch.zeros(3, dtype=kind, device=process.device)  # right answers, cross-entropy, images

    def update(self, output: tuple[Tensor, Tensor], labels: Tensor) -> None:
        """Takes in the model's (logits, embedding) for images with these labels (n,)."""
        logits, _ = output
        right = (logits.argmax(dim=1) == labels).sum()
        loss = F.cross_entropy(logits.float(), labels, reduction="none").to(self.sums.dtype).sum()
        self.sums += torch.stack([right, loss, right.new_tensor(len(labels))])

    def compute(self) -> dict[str, float]:
        """The values over all processes; every process must call it."""
        right, loss, count = total(self.sums).tolist()
        return {"accuracy": right / count, "loss": loss / count}
