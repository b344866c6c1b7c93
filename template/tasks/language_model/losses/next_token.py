"""Cross-entropy of the next token."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def next_token(logits: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the tokens that follow, and how many they are; a target of -1 is none.

    `logits` are (n, length, vocabulary), `following` (n, length).
    """
    loss = F.cross_entropy(logits.flatten(0, 1).float(), following.flatten(), ignore_index=-1, reduction="sum")
    count = (following >= 0).sum().to(loss.dtype)
    return loss / count.clamp(min=1), count
