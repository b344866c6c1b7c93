"""The squared distance between probabilities and labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def brier(logits: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """Mean over the batch of the squared distance of softmax(logits) to the one-hot labels (Brier 1950)."""
    probabilities = logits.float().softmax(dim=1)
    return (probabilities - F.one_hot(labels, logits.shape[1])).square().sum(dim=1).mean()
