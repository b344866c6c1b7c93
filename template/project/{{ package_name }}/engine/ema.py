"""A moving average of the weights, which often does better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .state import local_tensors


class EMA:
    """The exponential moving average of the parameters and floating-point buffers of a model.

    After step t, average = d * average + (1 - d) * weight with d = min(decay, (1 + t) / (10 + t)): it warms up, so that
    the random weights of the beginning are soon forgotten.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        # without masks that hold infinities: infinity minus infinity is NaN
        self.weights = [one for one in local_tensors(net) if one.is_floating_point() and bool(one.isfinite().all())]
        self.average = [tensor.clone() for tensor in self.weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Adds the weights after an optimizer step."""
        get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))(self.average, self.weights, 0)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Puts the average into the model while the context lasts."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges average and weights."""
        for weight, average in zip(self.weights, self.average, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
