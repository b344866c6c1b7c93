"""How many boxes are found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from .engine import Process

BEST = "found_at_50"  # chooses the best checkpoint
MORE_IS_BETTER = True


class Metrics:
    """Sums over boxes, so that the result does not depend on batches and processes."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.sums = torch.zeros(2, dtype=torch.int64, device=process.device)  # found, boxes

    def update(self, output: Any, targets: list[dict[str, Tensor]], numbers: Tensor) -> None:
        """Adds a batch: for each picture what was told, and its true boxes."""
        for told, true in zip(output, targets, strict=True):
            if len(true["boxes"]):
                overlap = box_iou(true["boxes"], told["boxes"][told["scores"] > 0.3])
                found = (overlap > 0.5).any(dim=1).sum()
                self.sums += torch.stack([found, found.new_tensor(len(true["boxes"]))])

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        found, count = self.process.total(self.sums).tolist()
        return {"found_at_50": found / count}
