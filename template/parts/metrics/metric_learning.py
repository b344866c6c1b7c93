"""How good the embedding is: recall at 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process

BEST = "recall@1"  # what makes a checkpoint the best
MORE_IS_BETTER = True


class Metrics:
    """The share of images whose nearest other image is of their class, exact whatever the batches and processes are."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process = process
        self.embeddings: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.numbers: list[Tensor] = []

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Takes in the model's (logits, embedding) for the images `numbers` with these labels (n,)."""
        _, embedding = output
        self.embeddings.append(F.normalize(embedding.float(), dim=1))
        self.labels.append(labels)
        self.numbers.append(numbers)

    def compute(self) -> dict[str, float]:
        """The values over all processes; every process must call it."""
        gathered = [self.process.gather_rows(torch.cat(rows)) for rows in (self.embeddings, self.labels, self.numbers)]
        order = gathered[2].argsort()  # that of the images, whatever the processes are
        embeddings, labels = gathered[0][order], gathered[1][order]
        right = 0
        for start in range(0, len(labels), 1024):  # in pieces, since all pairs at once may not fit into memory
            similarity = embeddings[start : start + 1024] @ embeddings.T
            rows = torch.arange(len(similarity), device=labels.device)
            similarity[rows, rows + start] = -torch.inf  # nobody is his own neighbour
            right += int((labels[similarity.argmax(dim=1)] == labels[start : start + 1024]).sum())
        return {"recall@1": right / len(labels)}
