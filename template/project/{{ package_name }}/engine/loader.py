"""Loading: items in an order, and with a randomness, that follow from seed, epoch and number alone."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate

from .errors import RunError
from .options import RunOptions
from .processes import Process
from .seed import apart, generator, mixed
from .signals import SIGNALS, held_back

Key = tuple[int, int]  # (epoch, number) of an item
FILLER = torch.tensor([0])  # the numbers of a batch that is there for company only


class Collated(NamedTuple):
    """What a loader yields for each part of a batch."""

    numbers: Tensor
    inputs: Any
    targets: Any


Loader = DataLoader[list[Collated]]


@dataclass
class Part:
    """A part of a batch on the device: `inputs` and `targets` as the data set and `collate` make them.

    `numbers` (n,) are the numbers of the items, on the CPU.
    """

    inputs: Any
    targets: Any
    numbers: Tensor
    share: float = 1.0  # of the items of its batch
    epoch_noise: Callable[[int], Tensor] | None = None

    def noise(self, count: int) -> Tensor:
        """(n, count) random numbers from 0 to 1 on the CPU; an item's follow from seed, epoch and number alone."""
        assert self.epoch_noise is not None, "an evaluation has no noise"
        return self.epoch_noise(count).index_select(0, self.numbers)


class Items(Dataset[list[Collated]]):
    """Gets the items of a data set by (epoch, number), with all global randomness seeded around each.

    A data set has `__getitem__(number) -> (input, target)`, called for every item of every epoch, or, where a whole
    batch is cheaper than its items, `batch(numbers) -> (inputs, targets)` instead. `collate`, if it has one, takes the
    place of torch's. One that draws no random numbers can say `random = False`, which saves the seeding. The first
    number of a `batch` stands for all.
    """

    def __init__(self, dataset: Any, opt: RunOptions, train: bool) -> None:
        own = dataset.dataset if isinstance(dataset, Subset) else dataset
        items = getattr(type(own), "__getitem__", Dataset.__getitem__) is not Dataset.__getitem__
        if hasattr(own, "batch") and items:
            raise RunError(
                f"{type(own).__name__} has both __getitem__ and batch, and only one can say what an item is; "
                "remove batch, which is there for speed alone"
            )
        if hasattr(own, "__getitems__"):
            raise RunError(
                f"{type(own).__name__} has __getitems__, which is not called here; say what an item is in "
                "__getitem__(number), or define batch(numbers) in its place"
            )
        self.dataset, self.seed, self.timeout = dataset, opt.seed, opt.loader_timeout
        self.parts = opt.accumulate if train else 1
        self.batch = getattr(dataset, "batch", None)
        self.collate = getattr(dataset, "collate", default_collate)
        self.random = getattr(dataset, "random", True)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, keys: Sequence[Key]) -> list[Collated]:
        """The items of a batch, asked for by a DataLoader."""
        return self.get(keys[0][0], torch.tensor([number for _, number in keys]))

    def get(self, epoch: int, numbers: Tensor) -> list[Collated]:
        """The batch of these items, in so many parts as gradients are accumulated over."""
        alone = torch.utils.data.get_worker_info() is None
        with apart() if self.random and alone else nullcontext():  # the model's randomness is not to be moved
            return [Collated(part, *self._part(epoch, part)) for part in numbers.chunk(self.parts)]

    def _part(self, epoch: int, numbers: Tensor) -> Any:
        if self.batch is None:
            return self.collate([self._item(epoch, number) for number in numbers.tolist()])
        if self.random:
            self._seed(epoch, int(numbers[0]))
        return self.batch(numbers)

    def _item(self, epoch: int, number: int) -> Any:
        if self.random:
            self._seed(epoch, number)
        return self.dataset[number]

    def _seed(self, epoch: int, number: int) -> None:
        seed = item_seed(self.seed, epoch, number)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)


def item_seed(seed: int, epoch: int, number: int) -> int:
    """One number out of three, by the steps of SplitMix64 (Steele et al., OOPSLA 2014)."""
    mix = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03 + number * 0x8CB92BA72F3D8DD7) % 2**64
    mix = (mix ^ mix >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    mix = (mix ^ mix >> 27) * 0x94D049BB133111EB % 2**64
    return (mix ^ mix >> 31) >> 1


class EpochBatchSampler(Sampler[list[Key]]):
    """The batches of this process, in an order that follows from (seed, epoch) alone.

    `start` is the batch to begin with. In training every process gets as many whole batches, of the order shuffled anew
    in each epoch, or of `dataset.order(epoch, world)` if there is one: numbers (n,), or (groups, n) that stay together,
    as many in each epoch; process i takes i, i + world and so on. In an evaluation every process gets as many batches
    too; one that has too few items gets item 0 again (a filler).
    """

    epoch = 0
    start = 0

    def __init__(self, dataset: Any, opt: RunOptions, process: Process, train: bool) -> None:
        self.dataset, self.seed, self.process, self.train = dataset, mixed(opt.seed), process, train
        self.size = max(1, opt.batch_size // process.world)
        if train and len(dataset) < opt.batch_size:
            raise RunError(f"{len(dataset)} items do not fill a batch of {opt.batch_size}; take a smaller --batch-size")
        share = len(self.order()) if train else -(-len(dataset) // process.world)
        self.batches = share // self.size if train else -(-share // self.size)
        if not self.batches:
            raise RunError(f"the items of this process do not fill a batch of {self.size}; take a smaller --batch-size")

    def __len__(self) -> int:
        return self.batches

    def order(self) -> Tensor:
        """The numbers of this process's items in this epoch."""
        rank, world = self.process.rank, self.process.world
        if not self.train:
            return torch.arange(len(self.dataset))[rank::world]
        if hasattr(self.dataset, "order"):
            order: Tensor = self.dataset.order(self.epoch, world)
        else:
            shuffle = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(self.dataset), generator=shuffle)
        return order[: len(order) // world * world][rank::world].flatten()

    def numbers(self) -> list[Tensor]:
        """The numbers of the items of each batch from `start` on."""
        return [*self.order().split(self.size), FILLER][self.start : self.batches]

    def __iter__(self) -> Iterator[list[Key]]:
        for numbers in self.numbers():
            yield [(self.epoch, number) for number in numbers.tolist()]


def loader_settings(dataset: Any, opt: RunOptions, process: Process) -> dict[str, Any]:
    """The arguments of a DataLoader that make it exact, whatever the number of workers."""
    workers = 0 if hasattr(dataset, "batch") else opt.num_workers  # there is nothing to wait for
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "timeout": min(5, opt.loader_timeout) if workers else 0,
        "pin_memory": process.device.type == "cuda",
        "collate_fn": _as_it_is,
        "generator": generator(opt.seed, 1),  # its own, so that iterating moves no other randomness
        "worker_init_fn": _leave_signals_to_the_trainer,
    }


def _as_it_is(parts: list[Collated]) -> list[Collated]:
    """`Items` has put the batch together."""
    return parts


def _leave_signals_to_the_trainer(_: int) -> None:
    """A signal to the whole group must not kill the workers before the trainer has saved."""
    torch.set_num_threads(1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def batch_sampler(loader: Loader) -> EpochBatchSampler:
    """What chooses the batches of a loader."""
    assert isinstance(loader.batch_sampler, EpochBatchSampler)
    return loader.batch_sampler


def num_items(loader: Loader) -> int:
    """The number of items that a loader draws from."""
    assert isinstance(loader.dataset, Items)
    return len(loader.dataset)


def evaluation_batches(loader: Loader, process: Process) -> Iterator[tuple[Part, bool]]:
    """The batches of an evaluation on the device, each with whether it counts: a filler is there for company only."""
    for numbers, parts in zip(batch_sampler(loader).numbers(), load(loader), strict=True):
        for part in parts:
            counts = numbers is not FILLER
            yield Part(to_device(part.inputs, process), to_device(part.targets, process), part.numbers), counts


def to_device(tree: Any, process: Process) -> Any:
    """The tensors in nested tuples, lists and dictionaries, on the device."""
    if isinstance(tree, Tensor):
        return tree.to(process.device, non_blocking=True)
    if isinstance(tree, Mapping):
        return {key: to_device(value, process) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(to_device(value, process) for value in tree)
    return tree


def load(loader: Loader) -> Iterator[list[Collated]]:
    """The batches of a loader; a worker that dies or cannot read an item ends the run with one sentence."""
    assert isinstance(loader.dataset, Items)
    if loader.num_workers == 0 and not loader.pin_memory:  # without the loader's machinery, which takes longer
        sampler = batch_sampler(loader)
        for numbers in sampler.numbers():
            yield loader.dataset.get(sampler.epoch, numbers)
        return
    patience = loader.dataset.timeout
    try:
        yield from _patiently(loader, patience)
    except RunError as problem:
        # an error of a worker comes with its traceback; the sentence is on the last line
        raise RunError(str(problem).strip().splitlines()[-1].split("RunError: ")[-1], problem.code) from None
    except (RuntimeError, ConnectionResetError, EOFError) as problem:
        text = str(problem)
        if isinstance(problem, RuntimeError) and "DataLoader" not in text:
            raise
        if "timed out" in text:
            raise RunError(
                f"no loader worker answered for {patience} seconds; raise --loader-timeout, or look at the disk"
            ) from None
        raise worker_died(problem) from None


def _patiently(loader: Loader, patience: float) -> Iterator[list[Collated]]:
    """The batches of a loader, each waited for that long; when the loader's own time is up it looks for the dead."""
    with held_back():  # a worker that a signal to the whole group meets before it is ready would die
        iterator = iter(loader)
    waited = 0.0
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except RuntimeError as problem:
            waited += loader.timeout
            if "timed out" not in str(problem) or waited >= patience:
                raise
        else:
            waited = 0.0
            yield batch


def worker_died(problem: Exception) -> RunError:
    """What to say of it."""
    reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    return RunError(
        "a loader worker died, often for want of memory (also of /dev/shm): take a smaller --num-workers; "
        f"the same command continues the run ({reason})"
    )
