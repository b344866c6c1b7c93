"""The triplet margin loss: an anchor lies nearer to its positive than to its negative, by a margin."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def triplet_margin(anchor: Tensor, positive: Tensor, negative: Tensor, opt: Options) -> Tensor:
    """nn.TripletMarginLoss: mean over the triplets of max(d_ap - d_an + margin, 0), where d is the distance by the
    `opt.p`-norm. With `opt.swap`, the distance of the negative to the positive counts for d_an where it is smaller
    (Balntas et al., BMVC 2016).
    """
    return F.triplet_margin_loss(anchor, positive, negative, opt.margin, opt.p, swap=opt.swap)
