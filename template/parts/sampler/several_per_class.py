"""An order of the images that puts several of one class into a batch, for losses that compare images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from .distributed import Process
from .errors import RunError
from .options import Options
from .seed import generator


class SeveralPerClass(Sampler[int]):
    """Deals the images of every class in handfuls of `opt.per_class`, and shuffles the handfuls.

    No image comes twice in an epoch; what is left over of a class waits for the next one. Every process takes every
    world-th handful, so that any number of them sees the same batches. The order follows from (seed, epoch) alone.
    `start` skips the samples already seen.
    """

    def __init__(self, labels: Tensor, opt: Options, process: Process) -> None:
        share = opt.batch_size // process.world
        if opt.per_class < 2 or share % opt.per_class or share < 2 * opt.per_class:
            raise RunError(
                f"a batch of {share} images for each process cannot be made of handfuls of {opt.per_class}: take a "
                "--per-class of 2 or more, and a --batch-size of at least two handfuls for each process"
            )
        self.labels, self.opt, self.process = labels, opt, process
        self.epoch, self.start = 0, 0
        handfuls = int((labels.bincount() // opt.per_class).sum())
        if handfuls * opt.per_class < opt.batch_size:
            raise RunError(
                f"{handfuls} handfuls of {opt.per_class} images of one class do not fill a batch of {opt.batch_size}; "
                "take a smaller --batch-size or --per-class"
            )
        self.length = handfuls // process.world * opt.per_class

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of that epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        dice = generator(self.opt.seed, 3, self.epoch)
        shuffled = torch.randperm(len(self.labels), generator=dice)
        by_class = torch.split(shuffled[self.labels[shuffled].argsort(stable=True)], self.labels.bincount().tolist())
        few = self.opt.per_class
        dealt = torch.cat([images[: len(images) // few * few].view(-1, few) for images in by_class])
        dealt = dealt[torch.randperm(len(dealt), generator=dice)][self.process.rank :: self.process.world]
        yield from dealt.flatten()[: self.length].tolist()[self.start :]
