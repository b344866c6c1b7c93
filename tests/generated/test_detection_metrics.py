"""Mean average precision of a rendered project against torchmetrics', in the hard cases too."""

import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.generated.alone import Alone
from tests.generated.rendered import importable, render_project

Module = Callable[[str], ModuleType]
Item = dict[str, Tensor]
CLASSES = 6


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project that detects."""
    project = render_project(tmp_path_factory.mktemp("of") / "detects", task="detection")
    with importable(project) as modules:
        yield modules


def expected(found: list[Item], true: list[Item]) -> dict[str, float]:
    """What torchmetrics says; its own thresholds are those of COCO in 32 bits, which are no round numbers."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metric.warn_on_many_detections = False
    metric.update(found, true)
    told = metric.compute()
    return {"mAP50": float(told["map_50"]), "mAP50-95": float(told["map"])}


def computed(module: Module, found: list[Item], true: list[Item], batch: int = 7, process: Any = None) -> Any:
    """The metrics after all batches."""
    facts = {"classes": [f"class{label}" for label in range(CLASSES)]}
    metrics = module("metrics").Metrics(process or Alone(), facts)
    numbers = torch.arange(len(true))
    for start in range(0, len(true), batch):
        part = slice(start, start + batch)
        metrics.update(found[part], true[part], numbers[part])
    return metrics


def item(boxes: Tensor, labels: Tensor, scores: Tensor | None = None) -> Item:
    return {"boxes": boxes, "labels": labels, **({} if scores is None else {"scores": scores})}


def images(
    seed: int, count: int, most: int = 8, whole: bool = False, classes: int = CLASSES
) -> tuple[list[Item], list[Item]]:
    """Objects, and boxes that lie on them, beside them or anywhere; `whole` pixels and scores of tenths make ties."""
    draw = torch.Generator().manual_seed(seed)
    found, true = [], []
    for _ in range(count):
        objects, others = (int(torch.randint(most + 1, (1,), generator=draw)) for _ in range(2))
        corner = torch.rand(objects, 2, generator=draw) * 80
        boxes = torch.cat([corner, corner + 2 + 30 * torch.rand(objects, 2, generator=draw)], dim=1)
        labels = torch.randint(classes, (objects,), generator=draw)
        near = torch.randint(objects, (others,), generator=draw) if objects else torch.zeros(0, dtype=torch.int64)
        told = boxes[near] + 1.5 * torch.randn(len(near), 4, generator=draw)
        told[:, 2:] = torch.maximum(told[:, 2:], told[:, :2] + 1)
        told_labels = labels[near].where(
            torch.rand(len(near), generator=draw) < 0.8, torch.randint(CLASSES, (len(near),), generator=draw)
        )
        scores = torch.rand(len(near), generator=draw)
        if whole:
            boxes, told, scores = boxes.round(), told.round(), (scores * 10).round() / 10
        true.append(item(boxes, labels))
        found.append(item(told, told_labels, scores))
    return found, true


@pytest.mark.parametrize("whole", [False, True], ids=["parts of pixels", "whole pixels and ties"])
@pytest.mark.parametrize("seed", range(6))
def test_they_are_those_of_torchmetrics(module: Module, seed: int, whole: bool) -> None:
    found, true = images(seed, 40, whole=whole)

    values = computed(module, found, true).compute()

    assert values == pytest.approx(expected(found, true), abs=1e-6)
    assert 0.05 < values["mAP50-95"] < values["mAP50"] < 0.95


def nothing_there(found: list[Item], true: list[Item]) -> None:
    true[3:9] = [item(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)) for _ in range(6)]


def nothing_found(found: list[Item], true: list[Item]) -> None:
    empty = item(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    found[2:9] = [empty for _ in range(7)]


def nothing_at_all(found: list[Item], true: list[Item]) -> None:
    nothing_found(found, true)
    found[:] = [found[2]] * len(found)


def one_score(found: list[Item], true: list[Item]) -> None:
    for each in found:
        each["scores"] = torch.full_like(each["scores"], 0.5)


def twice(found: list[Item], true: list[Item]) -> None:
    """Every object stands there twice, and every box is found twice, with one score."""
    for each in [*found, *true]:
        each.update({name: torch.cat([values, values]) for name, values in each.items()})


def only_two_classes(found: list[Item], true: list[Item]) -> None:
    for each in true:
        each["labels"] = each["labels"] % 2


def all_right(found: list[Item], true: list[Item]) -> None:
    found[:] = [item(each["boxes"], each["labels"], torch.ones(len(each["labels"]))) for each in true]


@pytest.mark.parametrize(
    "change",
    [nothing_there, nothing_found, nothing_at_all, one_score, twice, only_two_classes, all_right],
    ids=lambda change: change.__name__,
)
@pytest.mark.parametrize("whole", [False, True], ids=["parts", "whole"])
def test_hard_cases_are_as_in_torchmetrics(module: Module, change: Callable[..., None], whole: bool) -> None:
    found, true = images(11, 30, whole=whole)
    change(found, true)

    assert computed(module, found, true).compute() == pytest.approx(expected(found, true), abs=1e-6)


def test_only_the_best_hundred_boxes_of_a_class_count_in_an_image(module: Module) -> None:
    found, true = images(5, 3, most=300, classes=2)
    assert max(len(each["scores"]) for each in found) > 200

    assert computed(module, found, true).compute() == pytest.approx(expected(found, true), abs=1e-6)


def test_without_any_object_there_is_nothing_to_find(module: Module) -> None:
    found, true = images(0, 5)
    true = [item(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)) for _ in true]

    metrics = computed(module, found, true)

    assert metrics.compute() == {"mAP50": 0.0, "mAP50-95": 0.0}
    assert metrics.report().count("\n") == 0


def test_batches_and_processes_do_not_matter(module: Module) -> None:
    found, true = images(1, 41, whole=True)
    once = computed(module, found, true).compute()

    for batch in (1, 5, 41):
        assert computed(module, found, true, batch).compute() == once
    facts = {"classes": [f"class{label}" for label in range(CLASSES)]}
    others = []
    for rank in (1, 2):
        other = module("metrics").Metrics(Alone(), facts)
        for number in range(rank, len(true), 3):
            other.update([found[number]], [true[number]], torch.tensor([number]))
        others.append(other)

    class First(Alone):
        """The first of three processes, each with every third image."""

        def total(self, tensor: Tensor) -> Tensor:
            return tensor + sum(torch.from_numpy(other.objects) for other in others)

        def gather_rows(self, rows: Tensor) -> Tensor:
            return torch.cat([rows, *(torch.from_numpy(np.concatenate(other.rows)) for other in others)])

    first = module("metrics").Metrics(First(), facts)
    for number in range(0, len(true), 3):
        first.update([found[number]], [true[number]], torch.tensor([number]))
    assert first.compute() == once


def test_the_report_has_a_line_for_each_class_that_is_there(module: Module) -> None:
    found, true = images(2, 30)
    only_two_classes(found, true)

    metrics = computed(module, found, true)
    values = metrics.compute()

    title, *lines = metrics.report().splitlines()
    assert title.split() == ["class", "objects", "AP50", "AP50-95"]
    assert [line.split()[0] for line in lines] == ["class0", "class1"]
    assert sum(int(line.split()[1]) for line in lines) == sum(len(each["labels"]) for each in true)
    assert sum(float(line.split()[2]) for line in lines) / 2 == pytest.approx(values["mAP50"], abs=1e-4)


@pytest.mark.timed
def test_a_thousand_images_of_twenty_objects_take_about_a_second(module: Module) -> None:
    found, true = images(7, 1000, most=40)

    start = time.perf_counter()
    computed(module, found, true, batch=64).compute()

    assert time.perf_counter() - start < 3  # half a second on an idle core
