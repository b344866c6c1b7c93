"""Metrics of a detector: mean average precision, as COCO computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .engine import Process

BEST = "mAP50-95"  # chooses the best checkpoint
MORE_IS_BETTER = True

OVERLAPS = np.linspace(0.5, 0.95, 10)  # how much a box has to overlap (IoU) with an object that it finds
RECALLS = np.linspace(0, 1, 101)  # where precision is read
MOST = 100  # boxes that count in each image for each class, the best ones

Array = NDArray[Any]


class Metrics:
    """A row for each box that was found, matched to objects image by image: batches and processes do not matter."""

    def __init__(self, process: Process, facts: dict[str, Any]) -> None:
        self.process, self.classes = process, facts["classes"]
        self.rows: list[Array] = [np.empty((0, 4))]  # number of the image, class, score, objects it matches
        self.objects = np.zeros(len(self.classes), dtype=np.int64)  # of each class

    def update(self, output: Any, targets: list[dict[str, Any]], numbers: Tensor) -> None:
        """Adds a batch: for each image the boxes, scores and labels that were found, and the true boxes and labels."""
        for found, true, number in zip(output, targets, numbers.tolist(), strict=True):
            boxes, scores, labels = (found[name].cpu().double().numpy() for name in ("boxes", "scores", "labels"))
            true_labels = true["labels"].cpu().numpy()
            best = best_first(scores, labels)
            overlap = iou(boxes[best], true["boxes"].cpu().double().numpy())
            overlap *= labels[best, None] == true_labels
            columns = np.full(len(best), number), labels[best], scores[best], match(overlap)
            self.rows.append(np.stack(columns, axis=1))
            self.objects += np.bincount(true_labels, minlength=len(self.classes))

    def compute(self) -> dict[str, float]:
        """The metrics over all processes; every process must call it."""
        rows = self.process.gather_rows(torch.from_numpy(np.concatenate(self.rows))).cpu().numpy()
        rows = rows[rows[:, 0].argsort(kind="stable")]  # in the order of the images
        device = self.process.device
        self.total = self.process.total(torch.from_numpy(self.objects).to(device)).cpu().numpy()
        present = self.total.nonzero()[0]  # a class without objects has no precision
        self.precision = {label: average_precision(rows[rows[:, 1] == label], self.total[label]) for label in present}
        mean = np.mean([*self.precision.values()], axis=0) if self.precision else np.zeros(len(OVERLAPS))
        return {"mAP50": float(mean[0]), "mAP50-95": float(mean.mean())}

    def report(self) -> str:
        """A line for each class: its number of objects and its average precision."""
        lines = [f"{'class':<20}{'objects':>9}{'AP50':>8}{'AP50-95':>9}"]
        for label, precision in self.precision.items():
            line = f"{self.classes[label]:<20}{self.total[label]:>9}{precision[0]:>8.4f}{precision.mean():>9.4f}"
            lines.append(line)
        return "\n".join(lines)


def best_first(scores: Array, labels: Array) -> Array:
    """The numbers of the boxes that count in an image, by falling score."""
    order = np.argsort(-scores, kind="stable")
    counts = np.ones(len(order), dtype=bool)
    for label in np.unique(labels) if len(order) > MOST else []:
        counts[np.flatnonzero(labels[order] == label)[MOST:]] = False
    return order[counts]


def iou(boxes: Array, others: Array) -> Array:
    """Intersection over union (n, m) of boxes (n, 4) and others (m, 4), left, top, right, bottom."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, others))
    union = areas[:, None] + other_areas - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def match(overlap: Array) -> Array:
    """For each box (the rows, best first) a number whose bit k says whether it finds an object at OVERLAPS[k].

    Each box takes the object that it overlaps most among those that no better box has taken, at each overlap by itself.
    """
    rows, columns = np.nonzero(overlap >= OVERLAPS[0])
    order = np.lexsort((-columns, -overlap[rows, columns], rows))  # of objects that are overlapped alike, the last
    rows, columns = rows[order], columns[order]
    reached = (1 << np.searchsorted(OVERLAPS, overlap[rows, columns], side="right")) - 1
    found, taken = [0] * len(overlap), [0] * overlap.shape[1]
    for row, column, bits in zip(rows.tolist(), columns.tolist(), reached.tolist(), strict=True):
        new = bits & ~found[row] & ~taken[column]
        found[row] |= new
        taken[column] |= new
    return np.array(found, dtype=np.int64)


def average_precision(rows: Array, count: int) -> Array:
    """The average precision of a class at each of the overlaps, from its boxes and the number of its objects."""
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    hits = (rows[:, 3].astype(np.int64)[:, None] >> np.arange(len(OVERLAPS)) & 1).cumsum(axis=0)
    precision = hits / np.arange(1, len(rows) + 1)[:, None]
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    highest = np.vstack([highest, np.zeros(len(OVERLAPS))])  # where no box is left
    places = [np.searchsorted(recall, RECALLS) for recall in hits.T / count]
    return np.array([column[place].mean() for column, place in zip(highest.T, places, strict=True)])
