"""The triplet loss: images of one class lie closer together than to any other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..options import Options


class TripletLoss(nn.Module):
    """The improved triplet loss of Cheng et al., "Person Re-Identification by Multi-Channel Parts-Based CNN with
    Improved Triplet Loss Function", CVPR 2016: mean(max(d_ap - d_an, t1) + beta * max(d_ap, t2)).

    d_ap and d_an are squared Euclidean distances of the anchor to the positive and to the negative. `t1` is minus the
    margin: above 0 nothing would ever train, so it is refused. The least possible loss is t1 + beta * t2, which is
    below 0 for the usual settings.
    """

    def __init__(self, t1: float = -1.0, t2: float = 0.01, beta: float = 0.002) -> None:
        super().__init__()
        if t1 > 0:
            raise ValueError(f"t1 is minus the margin and cannot be above 0; for a margin of {t1:g} give t1={-t1:g}")
        self.t1, self.t2, self.beta = t1, t2, beta

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Takes three tensors of one shape (n, dimensions) and returns one float32 number."""
        if not anchor.shape == positive.shape == negative.shape:
            raise ValueError(f"shapes differ: {tuple(anchor.shape)}, {tuple(positive.shape)}, {tuple(negative.shape)}")
        anchor, positive, negative = anchor.float(), positive.float(), negative.float()  # half precision overflows
        d_ap = (anchor - positive).square().sum(dim=-1)
        d_an = (anchor - negative).square().sum(dim=-1)
        return (F.relu(d_ap - d_an - self.t1) + self.t1 + self.beta * d_ap.clamp(min=self.t2)).mean()


def triplets(embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each image of the batch, the nearest of its class and the nearest of another that is farther than that:
    indices (positive, negative). `embedding` (n, dimensions) is of length 1.

    This is "easy positive, semi-hard negative" of Xuan et al., "Improved Embeddings with Easy Positive Triplet Mining",
    WACV 2020. The farthest of its class and the nearest of another would draw all embeddings into one point where they
    are close together at first. If none of another class is farther, the farthest of them is taken; an image that is
    alone in its class is its own positive. Without another class the positive is the negative as well, and the two
    cancel out. Both tensors have shape (n,), whatever the labels, so a GPU never waits for the host.
    """
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similarity = embedding @ embedding.T  # between -1 and 1
    positive = similarity.masked_fill(itself, -2).masked_fill(~same, -torch.inf).argmax(dim=1)
    farther = similarity < similarity.gather(1, positive[:, None])
    negative = torch.where(farther, similarity, -2 - similarity).masked_fill(same, -torch.inf).argmax(dim=1)
    return positive, torch.where(same.all(dim=1), positive, negative)


def triplet(embedding: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """TripletLoss of the embeddings, each scaled to length 1, on triplets taken from the batch by its labels."""
    embedding = F.normalize(embedding.float(), dim=1)
    with torch.no_grad():
        positive, negative = triplets(embedding, labels)
    loss = TripletLoss(opt.t1, opt.t2, opt.beta)
    output: Tensor = loss(embedding, embedding[positive], embedding[negative])
    return output
