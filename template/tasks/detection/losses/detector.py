"""The losses that a detector of torchvision computes itself."""

from __future__ import annotations

from functools import reduce
from operator import add

from torch import Tensor

from ..options import Options


def detector(losses: dict[str, Tensor], opt: Options) -> Tensor:
    """Their sum, as torchvision trains its detectors."""
    return reduce(add, losses.values())
