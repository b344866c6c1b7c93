"""Binary cross-entropy: each label is a question of its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def bce(logits: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """Mean over images and labels, both (n, labels); `opt.pos_weight` weighs the labels that images have."""
    if not opt.pos_weight:
        return F.binary_cross_entropy_with_logits(logits.float(), labels)
    weight = logits.new_tensor(opt.pos_weight).float()
    return F.binary_cross_entropy_with_logits(logits.float(), labels, pos_weight=weight)
