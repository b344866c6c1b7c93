"""Dice loss (Milletari, Navab and Ahmadi: V-Net, 3DV 2016), for several classes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..options import Options
from ..views import IGNORED


def dice(logits: Tensor, masks: Tensor, opt: Options) -> Tensor:
    """Sum over images of 1 - Dice, each times the number of its pixels that count.

    The Dice coefficient of an image is 2 * sum(p * t) / (sum(p^2) + sum(t^2)), with the probabilities p of a class and
    t = 1 where the pixel is of it; it is the mean over the classes that are in the image, sums are over its pixels.
    `logits` have shape (n, classes, height, width), `masks` (n, height, width).
    """
    counts = (masks != IGNORED)[:, None]
    probabilities = logits.float().softmax(dim=1) * counts
    classes = torch.arange(logits.shape[1], device=logits.device).view(-1, 1, 1)
    true = (masks[:, None] == classes).float()
    both, pixels = (probabilities * true).sum(dim=(2, 3)), true.sum(dim=(2, 3))
    present = pixels > 0
    coefficients = present * 2 * both / (probabilities.square().sum(dim=(2, 3)) + pixels).clamp(min=1e-6)
    mean = coefficients.sum(dim=1) / present.sum(dim=1).clamp(min=1)
    return ((1 - mean) * counts.sum(dim=(1, 2, 3))).sum()
