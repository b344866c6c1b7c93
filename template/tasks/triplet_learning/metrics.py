"""Metrics of an embedding of triplets: how often an anchor lies nearer to its positive than to its negative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process, counted

BEST = "triplet_accuracy"  # chooses the best checkpoint
MORE_IS_BETTER = True


class Metrics:
    """Sums over triplets, so that the result does not depend on batches and processes."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.right, self.count = torch.zeros(2, dtype=torch.int64, device=process.device)
        # the cross-entropy, the distance to the positive, the distance to the negative
        self.sums = torch.zeros(3, dtype=torch.float64, device=process.device)

    def update(self, output: Any, targets: None, numbers: Tensor) -> None:
        """Adds a batch: the model's (_, embedding) of n triplets, (3n, dimensions); there are no targets."""
        _, embedding = output
        embedding = F.normalize(embedding.float(), dim=1)
        anchor, positive, negative = embedding.unflatten(0, (-1, 3)).unbind(1)
        near, far = (anchor - positive).norm(dim=1), (anchor - negative).norm(dim=1)
        self.right += (near < far).sum()
        self.count += len(anchor)
        # of telling the positive from the negative by the squared distances, as softmax does
        loss = F.softplus(near.square() - far.square())
        self.sums += torch.stack([loss, near, far]).to(self.sums.dtype).sum(dim=1)

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        self.right, self.count, self.sums = map(self.process.total, (self.right, self.count, self.sums))
        count = int(self.count)
        return {"triplet_accuracy": int(self.right) / count, "loss": float(self.sums[0]) / count}

    def report(self) -> str:
        """What else `evaluate` prints: mean Euclidean distances of embeddings of length 1, from 0 to 2."""
        near, far = (self.sums[1:] / self.count).tolist()
        lines = [f"{'distance':<18} {near:.4f} to the positive, {far:.4f} to the negative"]
        lines.append(f"over {counted(int(self.count), 'triplet')}, {int(self.count - self.right)} of them wrong")
        return "\n".join(lines)
