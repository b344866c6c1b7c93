"""Cross-entropy of the scores of each pixel."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options
from ..views import IGNORED


def cross_entropy(logits: Tensor, masks: Tensor, opt: Options) -> Tensor:
    """Sum of -log softmax(logits)[class] over the pixels that count, labels smoothed by `opt.label_smoothing`.

    `logits` have shape (n, classes, height, width), `masks` (n, height, width). Each pixel has the weight of its class
    in `opt.class_weights`, or 1.
    """
    weights = logits.new_tensor(opt.class_weights).float() if opt.class_weights else None
    losses = F.cross_entropy(
        logits.float(),
        masks.long(),
        weight=weights,
        ignore_index=IGNORED,
        label_smoothing=opt.label_smoothing,
        reduction="none",
    )
    return losses.sum()  # here, since torch's own sum has no fixed order on a GPU
