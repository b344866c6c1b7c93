"""An order of the images that puts several of one class into a batch, for losses that compare images."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
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

    A class that has fewer images comes with all of them, in a handful that it shares with others. Losses compare the
    images of one process and of one of the `parts` in which it computes its share of a batch: where chance has dealt
    one class alone to such a part, the handfuls of its batch are dealt anew, or those of the epoch, if need be.
    """

    def __init__(self, labels: Tensor, opt: Options, process: Process, parts: int = 1) -> None:
        check_sizes(opt, process.world, parts)
        self.labels, self.opt, self.process, self.parts = labels, opt, process, parts
        self.epoch, self.start = 0, 0
        counts = labels.bincount()
        if int(counts.max()) < 2:
            raise RunError("no class has two images, so there is nothing that a loss could bring together")
        self.in_batch = opt.batch_size // opt.per_class
        self.most = self.in_batch - process.world * parts  # handfuls of one class in a batch that leave room for others
        handfuls = self._deal(generator(opt.seed, 3, 0))
        if len(handfuls) < self.in_batch:
            raise RunError(
                f"{len(handfuls)} handfuls of {opt.per_class} images of one class do not fill a batch of "
                f"{opt.batch_size}; take a smaller --batch-size or --per-class"
            )
        of_class = labels[handfuls[:, 0]].bincount()

        def too_many(batches: int) -> bool:
            return int(of_class.clamp(max=batches * self.most).sum()) < batches * self.in_batch

        self.batches = bisect_left(range(1, len(handfuls) // self.in_batch + 1), True, key=too_many)
        if not self.batches:
            raise RunError(
                f"nearly all images are of one class: those of others are too few for a batch of {opt.batch_size}; "
                "add some, or take a smaller --batch-size"
            )
        self.length = self.batches * self.in_batch // process.world * opt.per_class
        few, single = int(((counts > 0) & (counts < opt.per_class)).sum()), int((counts == 1).sum())
        if few and process.rank == 0:
            logging.getLogger(__package__).warning(
                f"{few} of {int((counts > 0).sum())} classes have fewer images than --per-class {opt.per_class} and "
                f"come with what they have; {single} have only one, which is kept apart from others and drawn to none"
            )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of that epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        handfuls = self._deal(generator(self.opt.seed, 3, self.epoch))
        # what there is too much of one class waits for the next epoch, and so does what fills no batch
        handfuls = handfuls[number_in_class(self.labels[handfuls[:, 0]]) < self.batches * self.most]
        handfuls = self._mixed(handfuls[: self.batches * self.in_batch])
        yield from handfuls[self.process.rank :: self.process.world].flatten().tolist()[self.start :]

    def _deal(self, dice: torch.Generator) -> Tensor:
        """The handfuls of an epoch, a row for each that begins with its class; each epoch has as many of each kind."""
        few = self.opt.per_class
        shuffled = torch.randperm(len(self.labels), generator=dice)
        by_class = torch.split(shuffled[self.labels[shuffled].argsort(stable=True)], self.labels.bincount().tolist())
        whole = [images[: len(images) // few * few].view(-1, few) for images in by_class]
        small = [images.tolist() for images in by_class if 0 < len(images) < few]
        if small:
            left = torch.cat([images[len(images) // few * few :] for images in by_class if len(images) >= few] + [NONE])
            small = [small[number] for number in torch.randperm(len(small), generator=dice).tolist()]
            whole.append(self._shared(small, left[torch.randperm(len(left), generator=dice)].tolist(), whole, dice))
        dealt = torch.cat(whole)
        return dealt[torch.randperm(len(dealt), generator=dice)]

    def _shared(self, small: list[list[int]], spare: list[int], whole: list[Tensor], dice: torch.Generator) -> Tensor:
        """Handfuls that small classes share: the largest first, each put into the fullest handful that has room for it.

        What is free at the end is filled with spare images, then with those of the emptiest of these handfuls; for the
        last one a handful of a large class is broken up.
        """
        few = self.opt.per_class
        by_room: list[list[list[int]]] = [[] for _ in range(few)]
        for images in sorted(small, key=len, reverse=True):
            room = next((room for room in range(len(images), few) if by_room[room]), few)
            handful = by_room[room].pop() if room < few else []
            by_room[room - len(images)].append(handful + images)
        full, rest = by_room[0], deque(handful for handfuls in by_room[1:] for handful in handfuls)
        while rest:
            handful = rest.popleft()
            while len(handful) < few:
                if not spare and rest:
                    spare = rest.pop()
                elif not spare:
                    sizes = torch.tensor([len(handfuls) for handfuls in whole])
                    largest = (sizes == sizes.max()).nonzero().flatten()
                    if not sizes.max():
                        break
                    number = int(largest[torch.randint(len(largest), (1,), generator=dice)])
                    spare, whole[number] = whole[number][-1].tolist(), whole[number][:-1]
                handful.append(spare.pop())
            else:
                full.append(handful)
        return torch.tensor(full, dtype=torch.int64).view(-1, few)

    def _mixed(self, handfuls: Tensor) -> Tensor:
        """The handfuls in an order in which no part of a batch has one class alone."""
        batches = handfuls.view(self.batches, self.in_batch, -1)
        for number in self._alone(batches):
            batches[number] = self._spread(batches[number])
        if self._alone(batches):  # a class has too many handfuls in one batch
            order = self.labels[handfuls[:, 0]].argsort(stable=True).view(self.in_batch, self.batches).T
            batches = torch.stack([self._spread(batch) for batch in handfuls[order]])
        return batches.flatten(0, 1)

    def _alone(self, batches: Tensor) -> list[int]:
        """The numbers of the batches in which a part has one class alone."""
        classes = self.labels[batches[:, :, 0]].view(self.batches, self.parts, -1, self.process.world)
        return (classes == classes[:, :, :1]).all(dim=2).flatten(1).any(dim=1).nonzero().flatten().tolist()

    def _spread(self, batch: Tensor) -> Tensor:
        """The handfuls of a batch, those of one class dealt to as many of its parts as there are."""
        order = self.labels[batch[:, 0]].argsort(stable=True).view(-1, self.parts, self.process.world)
        return batch[order.transpose(0, 1).flatten()]


NONE = torch.empty(0, dtype=torch.int64)


def number_in_class(classes: Tensor) -> Tensor:
    """For each place, how many of its class come before it."""
    counts = classes.bincount()
    number = torch.empty_like(classes)
    number[classes.argsort(stable=True)] = torch.arange(len(classes)) - (counts.cumsum(0) - counts).repeat_interleave(
        counts
    )
    return number


def check_sizes(opt: Options, world: int, parts: int) -> None:
    """Refuses a batch whose parts do not hold whole handfuls of two classes, and says what would do."""
    batch, few, split = opt.batch_size, opt.per_class, world * parts
    if few < 2:
        raise RunError(f"--per-class must be 2 or more, and is {few}")
    if batch % (split * few) == 0 and batch >= 2 * split * few:
        return
    ways = [f"--batch-size {max(2, round(batch / (split * few))) * split * few}"]
    fits = [number for number in range(2, batch // split // 2 + 1) if batch % (split * number) == 0]
    if fits:
        ways.append(f"--per-class {min(fits, key=lambda number: abs(number - few))}")
    fewer = [n for n in range(1, parts) if batch % (world * n * few) == 0 and batch >= 2 * world * n * few]
    if fewer:
        ways.append(f"--accumulate {fewer[-1]}")
    by = (f" over {world} processes" if world > 1 else "") + (f" in {parts} parts" if parts > 1 else "")
    raise RunError(
        f"a batch of {batch} images{by} does not give each two classes or more with {few} images of each; "
        f"take {' or '.join(ways)}"
    )
