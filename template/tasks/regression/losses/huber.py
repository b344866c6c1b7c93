"""Huber loss (1964): quadratic for small errors, linear for large ones."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def huber(values: Tensor, targets: Tensor, opt: Options) -> Tensor:
    """Mean over the targets of error^2 / 2, and above `opt.delta` of delta * (|error| - delta / 2)."""
    return F.huber_loss(values.float(), targets, delta=opt.delta)
