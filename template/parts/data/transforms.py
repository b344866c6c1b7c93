"""Random transforms of single images to learn from; what they draw from torch is seeded for each image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from .engine import RunError
from .images import square
from .options import Options

AUTO = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}


def training_view(opt: Options, facts: dict[str, Any]) -> Callable[[Tensor, int], Tensor]:
    """How an image file is made (channels, size, size) to learn from it: as `random_view`, if anything is random."""
    if facts["channels"] not in (1, 3) and (opt.color_jitter or opt.auto_augment != "none"):
        raise RunError(f"--color-jitter and --auto-augment need 1 or 3 channels, and there are {facts['channels']}")
    plain = not opt.crop_scale and not opt.color_jitter and opt.auto_augment == "none"
    return square if plain else partial(random_view, opt=opt)


def random_view(image: Tensor, size: int, opt: Options) -> Tensor:
    """A random part, in other colours, of an image (channels, height, width) from 0 to 255, as (channels, size, size).

    The part lies in a random square of the whole shorter side, so that the ends of wide images are seen too.
    """
    if opt.crop_scale:
        image = v2.RandomCrop(min(image.shape[1:]))(image)
        image = v2.RandomResizedCrop(size, scale=(opt.crop_scale, 1.0), antialias=True)(image)
    else:
        image = square(image, size)
    colours = [v2.ColorJitter(*3 * [opt.color_jitter])] if opt.color_jitter else []
    auto = [AUTO[opt.auto_augment]()] if opt.auto_augment in AUTO else []
    white = 255 if image.is_floating_point() else 1  # torchvision's floats are from 0 to 1
    for transform in (*colours, *auto):
        image = transform(image / white) * white if white > 1 else transform(image)
    return torch.as_tensor(image)
