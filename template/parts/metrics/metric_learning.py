"""How good the embedding is: recall at 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .distributed import Process, gather_rows

BEST = "recall@1"  # what makes a checkpoint the best
MORE_IS_BETTER = True


class Metrics:
    """The share of images whose nearest other image is of their class, exact whatever the batches and processes are."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.embeddings: list[Tensor] = []
        self.labels: list[Tensor] = []

    def update(self, output: tuple[Tensor, Tensor], labels: Tensor) -> None:
        """Takes in the model's (logits, embedding) for images with these labels (n,)."""
        _, embedding = output
        self.embeddings.append(F.normalize(embedding.float(), dim=1))
        self.labels.append(labels)

    def compute(self) -> dict[str, float]:
        """The values over all processes; every process must call it."""
        embeddings, labels = (gather_rows(torch.cat(rows), self.process) for rows in (self.embeddings, self.labels))
        right = 0
        for start in range(0, len(labels), 1024):  # in pieces, since all pairs at once may not fit into memory
            similarity = embeddings[start : start + 1024] @ embeddings.T
            rows = torch.arange(len(similarity), device=labels.device)
            similarity[rows, rows + start] = -torch.inf  # nobody is his own neighbour
            right += int((labels[similarity.argmax(dim=1)] == labels[start : start + 1024]).sum())
        return {"recall@1": right / len(labels)}
