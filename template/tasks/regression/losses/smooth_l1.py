"""The absolute error, smooth where it is small."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def smooth_l1(values: Tensor, targets: Tensor, opt: Options) -> Tensor:
    """Mean over the targets of the absolute error less beta / 2, and below `opt.beta` of error^2 / (2 beta)."""
    return F.smooth_l1_loss(values.float(), targets, beta=opt.beta)
