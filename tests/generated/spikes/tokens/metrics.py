"""How well the next token is told: bits per token."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .engine import Process
from .losses.next_token import next_token

BEST = "bits_per_token"  # chooses the best checkpoint
MORE_IS_BETTER = False


class Metrics:
    """Sums over tokens, so that the result does not depend on batches and processes."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.sums = torch.zeros(2, dtype=torch.float64, device=process.device)  # loss, tokens

    def update(self, output: Any, targets: None, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, tokens)."""
        loss, count = next_token(output)
        self.sums += torch.stack([loss * count, count]).double()

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        loss, count = self.process.total(self.sums).tolist()
        return {"bits_per_token": loss / count / math.log(2)}
