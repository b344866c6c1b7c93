"""Cross-entropy of the next token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F


def next_token(output: Any) -> tuple[Tensor, Tensor]:
    """The mean over the tokens that are to be told, which are those that are not 0, and how many they are."""
    logits, tokens = output
    following = tokens[:, 1:].flatten()
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), following, ignore_index=0, reduction="sum")
    count = (following != 0).sum().to(loss.dtype)
    return loss / count.clamp(min=1), count
