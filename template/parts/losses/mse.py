"""The squared distance between probabilities and labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def mse(logits: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """Mean squared error between softmax(logits) and the one-hot labels, both of shape (n, classes) (Brier's score)."""
    probabilities = logits.float().softmax(dim=1)
    return F.mse_loss(probabilities, F.one_hot(labels, logits.shape[1]).float())
