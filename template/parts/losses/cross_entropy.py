"""Cross-entropy of the scores."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def cross_entropy(logits: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """Mean over the batch of -log softmax(logits)[label], with the labels smoothed by `opt.label_smoothing`."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=opt.label_smoothing)
