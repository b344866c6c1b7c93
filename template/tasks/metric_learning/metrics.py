"""Metrics of an embedding: recall at 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process, RunError

BEST = "recall@1"  # chooses the best checkpoint
MORE_IS_BETTER = True


class Metrics:
    """The share of images whose nearest other image has their class, whatever the batches and processes are.

    Images that have no other of their class are left out: nothing could be right for them.
    """

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.embeddings: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.numbers: list[Tensor] = []

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, embedding), the labels (n,) and the numbers (n,) of the images."""
        _, embedding = output
        self.embeddings.append(F.normalize(embedding.float(), dim=1))
        self.labels.append(labels)
        self.numbers.append(numbers)

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        gathered = [self.process.gather_rows(torch.cat(rows)) for rows in (self.embeddings, self.labels, self.numbers)]
        order = gathered[2].argsort()  # the same for any number of processes
        embeddings, labels = gathered[0][order], gathered[1][order]
        has_partner = labels.bincount()[labels] > 1
        if not has_partner.any():
            raise RunError("no image to evaluate has another of its class; give some classes two images or more")
        correct = 0
        for start in range(0, len(labels), 1024):  # in chunks, since all pairs at once may not fit into memory
            similarity = embeddings[start : start + 1024] @ embeddings.T
            rows = torch.arange(len(similarity), device=labels.device)
            similarity[rows, rows + start] = -torch.inf  # an image is not its own neighbour
            correct += int((labels[similarity.argmax(dim=1)] == labels[start : start + 1024]).sum())
        return {"recall@1": correct / int(has_partner.sum())}
