"""The absolute error."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def l1(values: Tensor, targets: Tensor, opt: Options) -> Tensor:
    """Mean absolute error of the standardised targets, both of shape (n, targets)."""
    return F.l1_loss(values.float(), targets)
