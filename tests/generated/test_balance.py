"""With --balance every class comes equally often, in an order that follows from seed and epoch alone."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from tests.generated.rendered import importable, render_project, write_images

COUNTS = [100, 30, 2]  # items of each class


class Parts(NamedTuple):
    """The modules of a project."""

    train: ModuleType
    options: ModuleType
    loader: ModuleType
    engine: ModuleType


class Data(torch.utils.data.Dataset[Any]):
    """Items of three classes."""

    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))

    def __len__(self) -> int:
        return len(self.labels)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    project = render_project(tmp_path_factory.mktemp("balance") / "digits")
    with importable(project) as module:
        yield Parts(module("train"), module("options"), module("engine.loader"), module("engine"))


def numbers(parts: Parts, epoch: int, rank: int = 0, world: int = 1, data: Any = None, **settings: Any) -> torch.Tensor:
    """The items of a process in an epoch."""
    opt = parts.options.Options(**{"batch_size": 12, "balance": True, **settings})
    sampler = parts.loader.EpochBatchSampler(data or Data(), opt, SimpleNamespace(rank=rank, world=world), train=True)
    sampler.epoch = epoch
    return torch.cat([torch.as_tensor(batch) for _, batch in sampler])


def test_every_class_comes_equally_often_and_every_item_as_often_as_others_of_its_class(parts: Parts) -> None:
    order = numbers(parts, 0)

    assert len(order) == 132
    assert Data.labels[order].bincount().tolist() == [44, 44, 44]
    times = order.bincount(minlength=132)
    assert sorted({*times[:100].tolist()}) == [0, 1]
    assert sorted({*times[100:130].tolist()}) == [1, 2]
    assert times[130:].tolist() == [22, 22]
    assert not torch.equal(Data.labels[order], Data.labels[order].sort().values)


def test_the_order_follows_from_seed_and_epoch_and_is_shared_out_among_processes(parts: Parts) -> None:
    assert torch.equal(numbers(parts, 3), numbers(parts, 3))
    assert not torch.equal(numbers(parts, 3), numbers(parts, 4))
    assert not torch.equal(numbers(parts, 3), numbers(parts, 3, seed=1))
    both = torch.stack([numbers(parts, 3, rank, 2) for rank in (0, 1)], dim=1).flatten()
    assert torch.equal(both, numbers(parts, 3))


def test_data_without_classes_or_with_an_order_of_their_own_are_refused(parts: Parts) -> None:
    class Values(Data):
        labels = torch.rand(132)

    class Ordered(Data):
        def order(self, epoch: int, world: int) -> torch.Tensor:
            return torch.arange(132)

    for data, words in ((Values(), "needs the class of each item"), (Ordered(), "an order of their own")):
        with pytest.raises(parts.engine.RunError, match=words):
            numbers(parts, 0, data=data)


def test_an_order_that_becomes_shorter_is_refused(parts: Parts) -> None:
    class Shrinking(Data):
        def order(self, epoch: int, world: int) -> torch.Tensor:
            return torch.arange(132 - 5 * epoch)

    assert len(numbers(parts, 0, data=Shrinking(), balance=False)) == 132
    with pytest.raises(parts.engine.RunError, match="as many in each"):
        numbers(parts, 1, data=Shrinking(), balance=False)


def test_a_run_says_that_classes_are_of_very_different_sizes(parts: Parts, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", train=20)
    for path in sorted((images / "train" / "class0").iterdir())[2:]:
        path.unlink()
    opt = parts.options.Options(data_dir=str(images), run_dir=str(tmp_path / "run"), num_workers=0, epochs=1)
    told = "classes have from 2 to 20 items; --balance learns from them equally often"
    with parts.engine.Process.start(opt) as process:
        parts.train.train(opt, process)
        assert told in (tmp_path / "run/1/train.log").read_text()

        parts.train.train(replace(opt, balance=True), process)
    assert told not in (tmp_path / "run/2/train.log").read_text()
    assert json.loads((tmp_path / "run/2/options.json").read_text())["options"]["balance"] is True
