"""The hinge loss of pairs: equal classes attract, different ones keep a margin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def pairs(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every pair of the batch once: indices of its two images, and 1.0 if they are of one class, else -1.0."""
    first, second = torch.triu_indices(len(labels), len(labels), offset=1, device=labels.device)
    return first, second, (labels[first] == labels[second]).float() * 2 - 1


def hinge_embedding(embedding: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """HingeEmbeddingLoss of the squared distances of all pairs of the batch, embeddings scaled to length 1.

    Equal classes count with their distance, different ones with max(0, margin - distance); each kind is averaged by
    itself, since a batch has many more pairs of the second.
    """
    embedding = F.normalize(embedding.float(), dim=1)
    first, second, target = pairs(labels)
    distance = (embedding[first] - embedding[second]).square().sum(dim=1)
    loss = F.hinge_embedding_loss(distance, target, opt.margin, reduction="none")
    equal = (target > 0).float()
    return (loss * equal).sum() / equal.sum().clamp(min=1) + (loss * (1 - equal)).sum() / (1 - equal).sum().clamp(min=1)
