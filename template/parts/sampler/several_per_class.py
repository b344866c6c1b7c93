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
        groups = with_small_classes(groups, [small[number] for number in order], left, labels)
    groups = groups[torch.randperm(len(groups), generator=noise)]
    return two_classes_in_each_part(groups, labels, (opt.accumulate, rows, world))


def with_small_classes(groups: Tensor, small: list[Tensor], left: list[Tensor], labels: Tensor) -> Tensor:
    """Adds the groups that small classes share, each class whole in one of them; what is `left` fills them up.

    Where that is not enough, groups of the largest classes do, and where these are too few, small classes are cut.
    """
    few, fill = groups.shape[1], torch.cat([groups[:0].flatten(), *left])
    by_room: list[list[list[Tensor]]] = [[] for _ in range(few + 1)]  # the shared groups, by how many images they lack
    for images in sorted(small, key=len, reverse=True):
        room = next((room for room in range(len(images), few) if by_room[room]), few)
        group = by_room[room].pop() if room < few else []
        by_room[room - len(images)].append([*group, images])
    missing = sum(room * len(shared) for room, shared in enumerate(by_room)) - len(fill)
    if missing > 0 and len(groups):
        counts = labels[groups[:, 0]].unique(return_counts=True)[1].tolist()
        turn = torch.cat([torch.arange(count) for count in counts])  # of a group among those of its class
        most = max(1, int((turn > 0).sum()))  # each class keeps one
        taken = turn.argsort(descending=True, stable=True)[: min(most, -(-missing // few))]
        fill = torch.cat([fill, groups[taken].flatten()])
        groups = groups[~torch.isin(torch.arange(len(groups)), taken)]
    pieces = []
    for room, shared in enumerate(by_room):
        for group in shared:
            pieces += [*group, fill[:room]]
            fill = fill[room:]
    numbers = torch.cat([*pieces, fill])
    return torch.cat([groups, numbers[: len(numbers) // few * few].view(-1, few)])


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
