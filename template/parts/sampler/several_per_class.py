"""An order of the images that puts several of one class together, for losses that compare images."""

from __future__ import annotations

import torch
from torch import Tensor

from .engine import RunError, generator
from .options import Options


def several_per_class(labels: Tensor, opt: Options, epoch: int, world: int) -> Tensor:
    """Deals the images of every class in groups of `opt.per_class`: their numbers, (groups, per_class), shuffled.

    No image comes twice in an epoch; what is left over waits for the next one. Classes with fewer images come with all
    of them, in groups that they share. Each part of a batch, of which process i takes the groups i, i + world, ..., has
    two classes at least. The order follows from (seed, epoch) alone.
    """
    rows = check_sizes(opt, world)
    noise, few = generator(opt.seed, 3, epoch), opt.per_class
    shuffled = torch.randperm(len(labels), generator=noise)
    by_class = torch.split(shuffled[labels[shuffled].argsort(stable=True)], labels.bincount().tolist())
    if max(map(len, by_class)) < 2:
        raise RunError("no class has two images, so there is nothing that a loss could bring together")
    groups = torch.cat([images[: len(images) // few * few].view(-1, few) for images in by_class])
    if small := [images for images in by_class if 0 < len(images) < few]:
        order = torch.randperm(len(small), generator=noise).tolist()
        left = [images[len(images) // few * few :] for images in by_class if len(images) >= few]
        shared = torch.cat([*(small[number] for number in order), *left])
        if len(groups) and len(shared) < -(-sum(map(len, small)) // few) * few:  # else some would never come
            number = int((labels[groups[:, 0]] == labels[groups[:, 0]].mode().values).nonzero()[0])
            shared, groups = torch.cat([shared, groups[number]]), torch.cat([groups[:number], groups[number + 1 :]])
        groups = torch.cat([groups, shared[: len(shared) // few * few].view(-1, few)])
    groups = groups[torch.randperm(len(groups), generator=noise)]
    return two_classes_in_each_part(groups, labels, (opt.accumulate, rows, world))


def two_classes_in_each_part(groups: Tensor, labels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The groups in an order in which no part of a batch is of one class; `shape` is (parts, rows, processes)."""
    parts, rows, world = shape
    size = parts * rows * world

    def alone(batch: Tensor) -> bool:
        classes = labels[batch[:, 0]].view(shape)
        return bool((classes == classes[:, :1]).all(dim=1).any())

    def spread(batch: Tensor) -> Tensor:
        order = labels[batch[:, 0]].argsort(stable=True)  # the groups of a class go to as many parts as there are
        return batch[order.view(rows, parts, world).transpose(0, 1).flatten()] if alone(batch) else batch

    batches = [spread(batch) for batch in groups.split(size) if len(batch) == size]
    if any(map(alone, batches)):  # a class has too many groups in a batch: all are dealt anew, class by class
        classes = labels[groups[:, 0]]
        count = min(len(batches), int((classes != classes.mode().values).sum()) // (parts * world))
        order, most = classes.argsort(stable=True), count * (rows - 1) * parts * world
        few = torch.ones(len(order), dtype=torch.bool)  # more of a class would leave a part without another one
        few[most:] = classes[order[most:]] != classes[order[: len(order) - most]]
        kept = order[few].sort().values[: count * size]
        dealt = groups[kept[classes[kept].argsort(stable=True)]]
        batches = [spread(dealt[number::count]) for number in range(count)]
    return torch.cat([*batches, groups[:0]])


def check_sizes(opt: Options, world: int) -> int:
    """How many groups each part of a batch has; a batch whose parts do not hold two classes is refused."""
    part, rest = divmod(opt.batch_size, world * opt.accumulate)
    if rest or part % opt.per_class or part < 2 * opt.per_class:
        least = opt.per_class * world * opt.accumulate
        fitting = max(2, round(opt.batch_size / least)) * least
        raise RunError(
            f"a batch of {opt.batch_size} images, over {world} processes and --accumulate {opt.accumulate}, has parts "
            f"that do not hold two classes or more with {opt.per_class} images of each; take --batch-size {fitting}, "
            "or a smaller --per-class or --accumulate"
        )
    return part // opt.per_class
