"""The squared error."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def mse(values: Tensor, targets: Tensor, opt: Options) -> Tensor:
    """Mean squared error of the standardised targets, both of shape (n, targets)."""
    return F.mse_loss(values.float(), targets)
