"""Batches for losses that compare images: two classes at least wherever losses look, and no class is left out."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.rendered import importable, render_project

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


def sampler(module: Module, labels: Tensor, batch: int, few: int, parts: int = 1, rank: int = 0, world: int = 1) -> Any:
    opt = replace(module("options").Options(), batch_size=batch, per_class=few)
    process = module("distributed").Process(rank, world, torch.device("cpu"))
    return module("sampler").SeveralPerClass(labels, opt, process, parts)


def as_before(module: Module, labels: Tensor, opt: Any, epoch: int, rank: int = 0, world: int = 1) -> list[int]:
    """The order of version 0.3.5."""
    dice = module("seed").generator(opt.seed, 3, epoch)
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
            one.set_epoch(epoch)
            order = as_before(module, labels, one.opt, epoch, rank, world)
            assert len(one) // (batch // world) == len(order) // (batch // world)
            now.append(torch.tensor(list(one)).view(-1, batch // world))
            before.append(torch.tensor(order)[: len(one)].view(-1, batch // world))
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
        one.set_epoch(epoch)
        order = list(one)
        assert len(order) == len(one)
        assert len(order) % (batch // world) == 0
        one.start = batch // world
        assert list(one) == order[batch // world :]
        found += torch.tensor(order).view(-1, batch // world // parts).tolist()
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
        except module("errors").RunError:
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
    counts = [14, 15, 13, 3, 2, 2, 1, 3, 1]  # what is left over of the large ones fills the handfuls
    labels = labels_of(counts)
    for epoch in range(20):
        for part in parts_of(module, labels, 16, 4, 2, 1, epoch):
            for label, count in Counter(labels[part].tolist()).items():
                assert count >= min(4, counts[label]) or counts[label] > 4


def test_classes_of_two_or_three_are_dealt_as_pairs_and_threes(module: Module) -> None:
    labels = labels_of([3] * 20 + [2] * 20)
    whole = total = 0
    for epoch in range(10):
        for part in parts_of(module, labels, 16, 4, 2, 1, epoch):
            found = Counter(labels[part].tolist())
            whole += sum(found[label] == (3 if label < 20 else 2) for label in found)
            total += len(found)
    assert whole / total > 0.6  # of some the images fill up the handfuls of others


def test_a_batch_has_the_same_images_for_any_number_of_processes(module: Module) -> None:
    labels = labels_of([12, 3, 13, 1, 2, 12, 9, 15])
    for epoch in range(5):
        seen = []
        for world in (1, 2):
            shares = []
            for rank in range(world):
                one = sampler(module, labels, 32, 4, 1, rank, world)
                one.set_epoch(epoch)
                shares.append(torch.tensor(list(one)).view(-1, 32 // world))
            seen.append(torch.cat(shares, dim=1).sort(dim=1).values)
        assert all(torch.equal(seen[0], other) for other in seen[1:])


def test_where_one_class_has_most_images_the_rest_of_them_waits(module: Module) -> None:
    labels = labels_of([400, 12, 12])
    one = sampler(module, labels, 16, 4, 2)

    found = [parts_of(module, labels, 16, 4, 2, 1, epoch) for epoch in range(5)]

    assert len(one) == 3 * 16  # 6 handfuls of others, in each half of a batch one
    assert all(len({*labels[part].tolist()}) == 2 for epoch in found for part in epoch)
    assert len({number for epoch in found for part in epoch for number in part if number < 400}) > 60


@pytest.mark.parametrize(
    ("batch", "few", "parts", "world", "ways"),
    [
        (16, 4, 4, 1, ["--batch-size 32", "--per-class 2", "--accumulate 2"]),
        (16, 4, 3, 1, ["--batch-size 24", "--accumulate 2"]),
        (16, 4, 1, 4, ["--batch-size 32", "--per-class 2"]),
        (64, 5, 1, 1, ["--batch-size 65", "--per-class 4"]),
        (64, 4, 3, 2, ["--batch-size 72", "--accumulate 2"]),
        (6, 4, 1, 1, ["--batch-size 8", "--per-class 3"]),
    ],
)
def test_sizes_that_leave_nothing_to_compare_are_refused_with_what_would_do(
    module: Module, batch: int, few: int, parts: int, world: int, ways: list[str]
) -> None:
    labels = labels_of([60] * 6)
    with pytest.raises(module("errors").RunError) as error:
        sampler(module, labels, batch, few, parts, 0, world)

    assert error.value.code == 2
    assert str(error.value).endswith(f"take {' or '.join(ways)}")
    for way in ways:
        flag, _, value = way.partition(" ")
        sizes = {"--batch-size": batch, "--per-class": few, "--accumulate": parts} | {flag: int(value)}
        sampler(module, labels, sizes["--batch-size"], sizes["--per-class"], sizes["--accumulate"], 0, world)


@pytest.mark.parametrize(
    ("counts", "few", "sentence"),
    [
        ([1] * 40, 4, "no class has two images"),
        ([100], 4, "nearly all images are of one class"),
        ([100, 2], 4, "nearly all images are of one class"),
        ([5, 5], 4, "2 handfuls of 4 images of one class do not fill a batch of 16"),
        ([40, 40], 1, "--per-class must be 2 or more"),
    ],
)
def test_images_with_nothing_to_compare_are_a_sentence(
    module: Module, counts: list[int], few: int, sentence: str
) -> None:
    with pytest.raises(module("errors").RunError, match=sentence):
        sampler(module, labels_of(counts), 16, few, 2)


def test_small_classes_are_told_once(module: Module, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sampler(module, labels_of([20, 20, 3, 1, 1, 0, 20]), 16, 4)
        sampler(module, labels_of([20, 20, 20]), 16, 4)

    said = "3 of 6 classes have fewer images than --per-class 4 and come with what they have; 2 have only one, "
    assert [record.message for record in caplog.records] == [said + "which is kept apart from others and drawn to none"]


@pytest.mark.parametrize("distributed", ["none", "ddp", "fsdp"])
@pytest.mark.parametrize("accumulate", [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 31, 100])
def test_ready_made_sizes_give_every_part_two_classes(tmp_path: Path, accumulate: int, distributed: str) -> None:
    folder = tmp_path / f"sizes_{accumulate}_{distributed}"
    render_project(folder, task="metric_learning", accumulate=accumulate, distributed=distributed)
    with importable(folder) as found:
        opt = found("options").Options()
        for world in (1, 2) if distributed != "none" else (1,):
            found("sampler").check_sizes(opt, world, accumulate)
        if accumulate in (1, 2, 4):
            assert (opt.batch_size, opt.per_class) == (64, 4)
