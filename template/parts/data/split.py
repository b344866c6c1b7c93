"""Splits the training items into train and val, for data that come without a val."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from .engine import RunError, generator
from .options import Options

# What is said of items where train is divided.
NOTES = {"train": " (without those held out)", "val": " (held out of train)"}


def held_out(classes: Sequence[str | int], folder: Path, opt: Options) -> list[int]:
    """The numbers of the items of `folder`, train or val, in a stratified split; `classes` has the class of each item.

    Of each class a share of `--held-out`, chosen by the seed and never all of it, is held out to validate on.
    """
    count = Counter(classes)
    left = {name: min(count[name] - 1, round(count[name] * opt.held_out)) for name in count}
    numbers = []
    for number in torch.randperm(len(classes), generator=generator(opt.seed, 4)).tolist():
        name = classes[number]
        left[name] -= 1
        if (left[name] >= 0) == (folder.name == "val"):
            numbers.append(number)
    if not numbers:
        raise RunError(f"there is no {folder}, and --held-out {opt.held_out} takes none of {len(classes)} items")
    return sorted(numbers)
