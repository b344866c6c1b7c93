"""Metrics of an embedding: recall at 1; what `evaluate` prints besides is in report.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Process, RunError
from .report import Search

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
        self.gallery: Metrics | None = None  # of the images that are searched; None: these, each without itself

    def update(self, output: Any, labels: Tensor, numbers: Tensor) -> None:
        """Adds a batch: the model's (logits, embedding), the labels (n,) and the numbers (n,) of the images."""
        _, embedding = output
        self.embeddings.append(F.normalize(embedding.float(), dim=1))
        self.labels.append(labels)
        self.numbers.append(numbers)

    def _gathered(self) -> tuple[Tensor, Tensor]:
        """The embeddings and labels of all processes, in the order of the images."""
        gathered = [self.process.gather_rows(torch.cat(rows)) for rows in (self.embeddings, self.labels, self.numbers)]
        order = gathered[2].argsort()  # the same for any number of processes
        return gathered[0][order], gathered[1][order]

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        self.search = Search(*self._gathered(), *(self.gallery._gathered() if self.gallery else ()))
        if not self.search.has_partner.any():
            raise RunError("no image to evaluate has another of its class; give some classes two images or more")
        return {"recall@1": self.search.recall()}

    def report(self) -> str:
        """What else `evaluate` prints."""
        return self.search.report()
