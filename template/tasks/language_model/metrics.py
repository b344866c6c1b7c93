"""How well the next token is predicted: bits per byte of text, and perplexity."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process
from .tokenizer import tokenizer_of

BEST = "bits_per_byte"  # chooses the best checkpoint
MORE_IS_BETTER = False


class Metrics:
    """Sums over all tokens, so that the result does not depend on batches and processes.

    Bits per byte compare models of any tokenizer; perplexity is that of a token.
    """

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.num_bytes = torch.tensor(tokenizer_of(facts).num_bytes(facts), device=process.device)
        self.sums = torch.zeros(3, dtype=torch.float64, device=process.device)  # nats, tokens, bytes

    def update(self, output: Any, targets: Tensor, numbers: Tensor) -> None:
        """Adds a batch: logits (n, block, vocabulary), and the tokens that follow (n, block), -1 for none."""
        following = targets.flatten()
        nats = F.cross_entropy(output.flatten(0, 1).float(), following, ignore_index=-1, reduction="none")
        counts = following >= 0
        num_bytes = self.num_bytes[following.clamp(min=0)] * counts
        self.sums += torch.stack([nats.double().sum(), counts.sum(), num_bytes.sum()])

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        nats, tokens, num_bytes = self.process.total(self.sums).tolist()
        return {
            "bits_per_byte": nats / math.log(2) / max(num_bytes, 1),
            "perplexity": math.exp(min(nats / max(tokens, 1), 700)),
        }
