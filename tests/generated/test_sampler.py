"""Batches for losses that compare images: two classes at least wherever losses look, and no class is left out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.generated.rendered import importable, render_project

Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project that computes its batches in parts."""
    folder = tmp_path_factory.mktemp("sampler") / "comparing"
    render_project(folder, task="metric_learning", accumulate=2)
    with importable(folder) as found:
        yield found


def labels_of(counts: list[int]) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


@dataclass
class Images:
    """As much of a data set as an order is made from."""

    labels: Tensor
    deal: Callable[[Tensor, Any, int, int], Tensor]
    opt: Any

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, epoch: int, world: int) -> Tensor:
        return self.deal(self.labels, self.opt, epoch, world)


def sampler(module: Module, labels: Tensor, batch: int, few: int, parts: int = 1, rank: int = 0, world: int = 1) -> Any:
    opt = replace(module("options").Options(), batch_size=batch, per_class=few, accumulate=parts)
    process = module("engine.processes").Process(rank, world, torch.device("cpu"))
    images = Images(labels, module("sampler").several_per_class, opt)
    return module("engine.loader").EpochBatchSampler(images, opt, process, train=True)


def batches(one: Any, epoch: int) -> Tensor:
    """What a process sees of each batch of an epoch."""
    one.epoch, one.start = epoch, 0
    found = [numbers.tolist() for _, numbers in one]
    assert len(found) == len(one)
    assert {len(numbers) for numbers in found} == {one.size}
    return torch.tensor(found)


def as_before(module: Module, labels: Tensor, opt: Any, epoch: int, rank: int = 0, world: int = 1) -> list[int]:
    """The order of version 0.3.5."""
    dice = module("engine.seed").generator(opt.seed, 3, epoch)
    shuffled = torch.randperm(len(labels), generator=dice)
    by_class = torch.split(shuffled[labels[shuffled].argsort(stable=True)], labels.bincount().tolist())
    dealt = torch.cat(
        [images[: len(images) // opt.per_class * opt.per_class].view(-1, opt.per_class) for images in by_class]
    )
    numbers: list[int] = dealt[torch.randperm(len(dealt), generator=dice)][rank::world].flatten().tolist()
    return numbers


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize(("counts", "batch"), [([143] * 10, 64), ([12] * 4, 16), ([9, 70, 33, 41, 8, 12], 32)])
def test_where_every_class_has_enough_the_order_is_what_it_was(
    module: Module, counts: list[int], batch: int, world: int
) -> None:
    labels = labels_of(counts)
    same = compared = 0
    for epoch in range(10):
        now, before = [], []  # what each process sees of each batch
        for rank in range(world):
            one = sampler(module, labels, batch, 4, rank=rank, world=world)
            order = as_before(module, labels, one.dataset.opt, epoch, rank, world)
            assert len(one) == len(order) // (batch // world)
            now.append(batches(one, epoch))
            before.append(torch.tensor(order)[: len(one) * one.size].view(-1, one.size))
        both = torch.stack(before, dim=1)
        if any(labels[old[:, :, ::4]].flatten().bincount().max() > batch // 4 - world for old in both.unsqueeze(1)):
            continue  # in some batch one class has so many that the epoch is dealt anew
        for new, old in zip(torch.stack(now, dim=1), both, strict=True):
            sound = all(len({*labels[share].tolist()}) > 1 for share in old)
            same += sound and torch.equal(new, old)
            compared += sound

    assert same == compared > 5


def parts_of(
    module: Module, labels: Tensor, batch: int, few: int, parts: int, world: int, epoch: int
) -> list[list[int]]:
    """The images that are compared with each other, of all processes; all of these must be sound."""
    found = []
    for rank in range(world):
        one = sampler(module, labels, batch, few, parts, rank, world)
        order = batches(one, epoch)
        one.start = 1
        assert [numbers.tolist() for _, numbers in one] == order[1:].tolist()
        found += order.view(-1, batch // world // parts).tolist()
    return found


def test_each_part_has_two_classes_and_no_class_is_left_out(module: Module) -> None:
    dice = random.Random(7)
    tried = 0
    while tried < 120:
        few, parts, world = dice.choice([2, 3, 4]), dice.choice([1, 2, 3]), dice.choice([1, 2])
        batch = few * parts * world * dice.randint(2, 4)
        kinds = dice.sample([(1, few - 1), (few, 9), (1, 9), (few, few)], dice.randint(1, 3))
        counts = [dice.randint(*dice.choice(kinds)) for _ in range(dice.randint(2, 40))]
        labels = labels_of(counts)
        try:
            sampler(module, labels, batch, few, parts, 0, world)
        except module("engine.errors").RunError:
            continue
        tried += 1
        seen: Counter[int] = Counter()
        lengths = set()
        for epoch in range(25):
            found = parts_of(module, labels, batch, few, parts, world, epoch)
            numbers = [number for part in found for number in part]
            assert len(set(numbers)) == len(numbers), "an image came twice in an epoch"
            assert all(len({*labels[part].tolist()}) > 1 for part in found), (counts, batch, few, parts, world)
            seen.update(labels[numbers].tolist())
            lengths.add(len(numbers))
        assert len(lengths) == 1
        if batch <= len(labels) // 2:  # else chance may well have passed one over
            assert set(seen) == set(labels.tolist()), (counts, batch, few, parts, world)


def test_small_classes_come_with_all_they_have(module: Module) -> None:
    counts = [14, 15, 13, 3, 2, 2, 1, 3, 1]  # what is left over of the large ones fills the last group
    labels = labels_of(counts)
    sizes = set()
    for epoch in range(20):
        parts = parts_of(module, labels, 8, 4, 1, 1, epoch)
        seen = Counter(labels[torch.tensor(parts).flatten()].tolist())
        waiting = len(labels) - sum(seen.values())
        assert waiting < 8 + 3 + 4  # what fills no batch, no group, and those that were dealt anew
        sizes.add(sum(seen[label] == counts[label] for label in range(3, 9)))
    assert max(sizes) == 6


@pytest.mark.parametrize(
    "counts", [[40, 40, 3, 3, 3, 3, 3, 2, 1], [16, 9, 2, 2, 2, 3, 3], [60, 60, *[3] * 20], [80, *[2, 3] * 10, 1, 1]]
)
@pytest.mark.parametrize("few", [4, 5])
def test_a_small_class_is_whole_in_one_group(module: Module, counts: list[int], few: int) -> None:
    labels = labels_of(counts)
    opt = sampler(module, labels, 4 * few, few).dataset.opt
    sizes = set()
    for epoch in range(10):
        groups = module("sampler").several_per_class(labels, opt, epoch, 1)
        sizes.add(len(groups))
        assert len(groups.unique()) == groups.numel(), "an image came twice in an epoch"
        for label, count in enumerate(counts):
            if count < few:
                assert (labels[groups] == label).sum(dim=1).max() in (0, count), "a class was cut"
                assert (labels[groups] == label).any(dim=1).sum() <= 1, "a class was cut"
    assert len(sizes) == 1


@pytest.mark.parametrize("counts", [[44, 3, 80], [200, 1, 8], [40, 25, 44, 5, 1]])
def test_a_single_small_class_comes_too(module: Module, counts: list[int]) -> None:
    """Where too little is left over of the large classes, a group of the largest one fills its group."""
    labels = labels_of(counts)
    small = [label for label, count in enumerate(counts) if count < 4]
    for epoch in range(10):
        groups = module("sampler").several_per_class(labels, sampler(module, labels, 8, 4).dataset.opt, epoch, 1)
        together = [group for group in labels[groups].tolist() if small[0] in group]
        assert sum(group.count(small[0]) for group in together) in (0, counts[small[0]])
    found = [labels[torch.tensor(parts_of(module, labels, 8, 4, 1, 1, epoch))].tolist() for epoch in range(25)]
    assert any(small[0] in part for parts in found for part in parts)


@pytest.mark.parametrize("counts", [[20] * 8, [12, 9, 13, 8, 30, 12, 9, 15], [12, 3, 13, 1, 2, 12, 9, 15]])
def test_a_batch_has_the_same_images_for_any_number_of_processes(module: Module, counts: list[int]) -> None:
    labels = labels_of(counts)
    for epoch in range(5):
        seen = []
        for world in (1, 2, 4):
            shares = [batches(sampler(module, labels, 32, 4, 1, rank, world), epoch) for rank in range(world)]
            seen.append(torch.cat(shares, dim=1).sort(dim=1).values)
        assert all(torch.equal(seen[0], other) for other in seen[1:])


def test_where_one_class_has_most_images_the_rest_of_them_waits(module: Module) -> None:
    labels = labels_of([400, 12, 12])
    one = sampler(module, labels, 16, 4, 2)

    found = [parts_of(module, labels, 16, 4, 2, 1, epoch) for epoch in range(5)]

    assert len(one) == 3  # 6 groups of others, in each half of a batch one
    assert all(len({*labels[part].tolist()}) == 2 for epoch in found for part in epoch)
    assert len({number for epoch in found for part in epoch for number in part if number < 400}) > 60


@pytest.mark.parametrize("counts", [[68, 176], [1, 87, 1, 113], [3, 166, 3, 9, 3, 8, 8, 69, 9, 3, 9]])
def test_where_all_are_dealt_anew_no_class_is_cut_off_or_alone(module: Module, counts: list[int]) -> None:
    labels = labels_of(counts)
    seen: set[int] = set()
    for epoch in range(15):
        for part in parts_of(module, labels, 32, 4, 2, 2, epoch):
            assert len({*labels[part].tolist()}) > 1
            seen.update(labels[part].tolist())
    assert seen == set(range(len(counts)))


@pytest.mark.parametrize(
    ("batch", "few", "parts", "world", "fitting"),
    [(16, 4, 4, 1, 32), (16, 4, 3, 1, 24), (16, 4, 1, 4, 32), (64, 5, 1, 1, 65), (64, 4, 3, 2, 72), (6, 4, 1, 1, 8)],
)
def test_sizes_that_leave_nothing_to_compare_are_refused_with_what_would_do(
    module: Module, batch: int, few: int, parts: int, world: int, fitting: int
) -> None:
    labels = labels_of([60] * 6)
    with pytest.raises(module("engine.errors").RunError) as error:
        sampler(module, labels, batch, few, parts, 0, world)

    assert error.value.code == 2
    assert f"a batch of {batch} images, over {world} processes and --accumulate {parts}, has parts" in str(error.value)
    assert f"take --batch-size {fitting}, or a smaller --per-class or --accumulate" in str(error.value)
    sampler(module, labels, fitting, few, parts, 0, world)


FULL = "a batch of 16 is more than .* items; take a smaller --batch-size"


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [([1] * 40, "no class has two images"), ([100], FULL), ([100, 2], FULL), ([5, 5], FULL), ([8, 3, 1], FULL)],
)
def test_images_with_nothing_to_compare_are_a_sentence(module: Module, counts: list[int], sentence: str) -> None:
    with pytest.raises(module("engine.errors").RunError, match=sentence):
        sampler(module, labels_of(counts), 16, 4, 2)


def test_one_image_of_a_class_is_no_group(module: Module) -> None:
    opt = replace(module("options").Options(), per_class=1)
    with pytest.raises(module("engine.errors").RunError, match="--per-class must be at least 2, and is 1"):
        module("engine.options").check(opt)


@pytest.mark.parametrize("distributed", ["none", "ddp", "fsdp"])
@pytest.mark.parametrize("accumulate", [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 31, 100])
def test_ready_made_sizes_give_every_part_two_classes(tmp_path: Path, accumulate: int, distributed: str) -> None:
    folder = tmp_path / f"sizes_{accumulate}_{distributed}"
    render_project(folder, task="metric_learning", accumulate=accumulate, distributed=distributed)
    with importable(folder) as found:
        opt = found("options").Options()
        assert opt.accumulate == accumulate
        for world in (1, 2) if distributed != "none" else (1,):
            assert found("sampler").check_sizes(opt, world) >= 2
        if accumulate in (1, 2, 4):
            assert (opt.batch_size, opt.per_class) == (64, 4)
