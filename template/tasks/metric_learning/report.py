"""What is found with an embedding: the nearest images of each, and what `evaluate` tells of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .engine import counted

RANKS = (1, 5, 10)
CHUNK = 256  # images that are looked up at once, since all pairs may not fit into memory


class Search:
    """Images looked up among others: in a gallery, or in themselves, where an image is not its own neighbour."""

    def __init__(
        self, queries: Tensor, labels: Tensor, gallery: Tensor | None = None, gallery_labels: Tensor | None = None
    ) -> None:
        self.queries, self.labels, self.itself = queries, labels, gallery is None or gallery_labels is None
        self.gallery = queries if gallery is None else gallery
        self.gallery_labels = labels if gallery_labels is None else gallery_labels
        known = self.gallery_labels.bincount(minlength=int(labels.max()) + 1)
        self.has_partner = known[labels] > int(self.itself)

    def similarities(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunk by chunk the cosine similarities (n, gallery), and the labels (n,) of these images."""
        for start in range(0, len(self.labels), CHUNK):
            similarity = self.queries[start : start + CHUNK] @ self.gallery.T
            if self.itself:
                rows = torch.arange(len(similarity), device=similarity.device)
                similarity[rows, rows + start] = -torch.inf
            yield similarity, self.labels[start : start + CHUNK]

    def recall(self) -> float:
        """The share of images, of those that have a partner, whose nearest one has their class."""
        nearest = torch.cat([self.gallery_labels[each.argmax(dim=1)] == labels for each, labels in self.similarities()])
        return int((nearest & self.has_partner).sum()) / int(self.has_partner.sum())

    def scores(self) -> dict[str, float]:
        """Recall at each rank, mean average precision, and that of as many images as there are to find (MAP@R)."""
        rows = []
        for similarity, labels in self.similarities():
            order = similarity.argsort(dim=1, descending=True, stable=True)
            rows.append(_row_scores(self.gallery_labels[order[:, : order.shape[1] - self.itself]] == labels[:, None]))
        names = [*(f"recall@{rank}" for rank in RANKS), "mAP", "MAP@R"]
        return dict(zip(names, torch.cat(rows)[self.has_partner].mean(dim=0).tolist(), strict=True))

    def report(self) -> str:
        """A line for each score but the first, which is told, and what they are over."""
        lines = [f"{name:<18} {value:.4f}" for name, value in self.scores().items()][1:]
        count = int(self.has_partner.sum())
        lines.append(f"over {counted(count, 'image')}, each looked up among {len(self.gallery_labels) - self.itself}")
        if left_out := len(self.labels) - count:
            lines.append(f"left out: {counted(left_out, 'image')} without another of the same class")
        return "\n".join(lines)


def _row_scores(right: Tensor) -> Tensor:
    """The scores of each image, from whether its neighbours, nearest first, have its class: (n, scores)."""
    places = torch.arange(1, right.shape[1] + 1, device=right.device)
    total = right.sum(dim=1, keepdim=True)
    precision = right.cumsum(dim=1).double() / places
    recalls = [right[:, :rank].any(dim=1).double() for rank in RANKS]
    means = [(precision * each).sum(dim=1) / total.squeeze(1) for each in (right, right & (places <= total))]
    return torch.stack([*recalls, *means], dim=1)
