"""Mixup and cutmix: each image of a batch mixed with another one, and its losses with those of the other label."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .engine import Part
from .options import Options


def mix(images: Tensor, part: Part, opt: Options) -> tuple[Tensor, Tensor | None, float]:
    """The images (n, channels, height, width) mixed, the numbers (n,) of the others, and the share of their own label.

    Mixup (Zhang et al., ICLR 2018) blends two images; cutmix (Yun et al., ICCV 2019) pastes a box of the other one. The
    share is drawn from Beta(alpha, alpha), one for these images, those of one process; where both are on, half of the
    batches have each. What is drawn follows from the part's noise alone. Without either there are no others.
    """
    if not opt.mixup and not opt.cutmix:
        return images, None, 1.0
    draw = np.random.default_rng((part.noise(1)[:, 0] * 2**24).long().tolist())
    cut = draw.random() < (0.5 if opt.mixup else 1) if opt.cutmix else False
    alpha = opt.cutmix if cut else opt.mixup
    share = float(draw.beta(alpha, alpha))
    others = torch.from_numpy(draw.permutation(len(images))).to(images.device)
    if not cut:
        return torch.lerp(images[others], images, share), others, share
    sides = images.shape[2:]
    (top, bottom), (left, right) = (box_side(side, draw.random(), math.sqrt(1 - share)) for side in sides)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[others, :, top:bottom, left:right]
    return mixed, others, 1 - (bottom - top) * (right - left) / math.prod(sides)


def box_side(side: int, middle: float, part: float) -> tuple[int, int]:
    """From where to where a box reaches along a side, of which it is a part, around its middle, from 0 to 1."""
    return max(0, round((middle - part / 2) * side)), min(side, round((middle + part / 2) * side))


def blend(terms: dict[str, Tensor], others: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """The losses with the images' own labels, and those with the labels of the others, by the share of the first."""
    return {name: share * term + (1 - share) * others[name] for name, term in terms.items()}
