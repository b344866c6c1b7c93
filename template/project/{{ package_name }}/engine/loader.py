"""Loading: items in an order, and with a randomness, that follow from seed, epoch and number alone."""

from __future__ import annotations

import math
import multiprocessing.queues
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import methodcaller
from threading import Event, Thread
from typing import Any, NamedTuple, NoReturn, TypeVar
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from torch._C import _remove_worker_pids
from torch._utils import ExceptionWrapper
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate, get_worker_info

from .errors import RunError, counted
from .options import RunOptions
from .processes import Process
from .seed import draws_random_numbers, generator, mixed
from .signals import SIGNALS, Signals, Stop, signals_blocked

Set = TypeVar("Set", bound="Dataset[Any]")
UNBALANCED = 10  # times as many items of a class as of another, from which on --balance helps
Batch = tuple[int, Any]  # the epoch, and the numbers of the items in an array


class Part(NamedTuple):
    """A part of a batch: `inputs` and `targets` as the data set and `collate` make them."""

    inputs: Any
    targets: Any
    numbers: Tensor  # (n,), those of the items, on the CPU
    share: float  # of the items of the batch
    epoch_noise: Callable[[int], Tensor] | None = None

    def to(self, process: Process) -> Part:
        """The part with all tensors on the device that are in nested tuples, lists and dictionaries."""
        if process.device.type == "cpu":
            return self
        move = methodcaller("to", process.device, non_blocking=True)
        inputs, targets = tree_map_only(Tensor, move, (self.inputs, self.targets))
        return self._replace(inputs=inputs, targets=targets)

    def noise(self, count: int) -> Tensor:
        """(n, count) numbers from 0 to 1 on the CPU, which follow from seed, epoch and item: always the same ones."""
        assert self.epoch_noise is not None, "only run.batches gives noise; draw it from generator(opt.seed, number)"
        return self.epoch_noise(count).index_select(0, self.numbers)


Loader = DataLoader[list[Part]]


class Items(Dataset[list[Part]]):
    """Batches of a data set's items, with `random`, numpy and torch seeded around each item.

    A data set has `__getitem__(number) -> (input, target)`, called for every item of every epoch, or, where that is
    cheaper, `batch(numbers) -> (inputs, targets)`, whose first number stands for all; `collate` takes the place of
    torch's, and `set_epoch(epoch)` comes first. What is no pair is an input without a target. Seeding, which may take
    long, begins with the first batch that draws random numbers; with `random = False` nobody looks whether one does.
    """

    def __init__(self, dataset: Any, opt: RunOptions, parts: int) -> None:
        own = dataset.dataset if isinstance(dataset, Subset) else dataset
        by_item = getattr(type(own), "__getitem__", Dataset.__getitem__) is not Dataset.__getitem__
        for name in ("batch", "__getitems__"):
            if by_item and hasattr(own, name):
                kind = type(own).__name__
                raise RunError(f"{kind} has __getitem__ and {name}; only one can say what an item is: remove {name}")
        self.dataset, self.seed, self.parts = dataset, opt.seed, parts
        self.batch = getattr(dataset, "batch", None)
        self.collate = getattr(dataset, "collate", default_collate)
        self.watched, self.seeded = getattr(dataset, "random", True), False
        self.reading = torch.zeros(opt.num_workers, 2, dtype=torch.int64)  # of each worker: its pid, and the item
        with suppress(RuntimeError, OSError):  # where there is no room for so little, more than this will be missing
            self.reading.share_memory_()
        _all_items.add(self)

    def __getitems__(self, batch: Batch) -> list[Part]:
        """A batch, in as many parts as gradients are accumulated over."""
        epoch, numbers = batch[0], torch.from_numpy(batch[1])
        if hasattr(self.dataset, "set_epoch"):  # called here, since each worker has a data set of its own
            self.dataset.set_epoch(epoch)
        if not self.watched:
            return self._read(epoch, numbers)
        parts, drawn = draws_random_numbers(lambda: self._read(epoch, numbers))
        if drawn and not self.seeded:
            self.seeded = True
            parts, _ = draws_random_numbers(lambda: self._read(epoch, numbers))
        return parts

    def _read(self, epoch: int, numbers: Tensor) -> list[Part]:
        parts = []
        for part in numbers.chunk(self.parts) if self.parts > 1 else [numbers]:
            if self.batch is None:
                batch = self.collate([self._item(epoch, number) for number in part.tolist()])
            else:
                if self.seeded:
                    self._seed(epoch, int(part[0]))
                batch = self.batch(part)
            inputs, targets = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
            parts.append(Part(inputs, targets, part, len(part) / len(numbers)))
        return parts

    def _item(self, epoch: int, number: int) -> Any:
        if (worker := get_worker_info()) is not None:
            self.reading.numpy()[worker.id] = os.getpid(), number
        if self.seeded:
            self._seed(epoch, number)
        return self.dataset[number]

    def items_read(self, pid: int = 0) -> list[str]:
        """What its workers, or that of this `pid`, read last: the item's path, where `dataset.paths` has one."""
        paths = getattr(self.dataset, "paths", None)
        return [
            str(paths[number]) if paths is not None else f"item {number}"
            for worker, number in self.reading.tolist()
            if worker and pid in (0, worker)
        ]

    def _seed(self, epoch: int, number: int) -> None:
        key = hash((self.seed, epoch, number))  # of whole numbers: the same in every process
        random.seed(key)
        np.random.seed(key >> 32 & 0xFFFFFFFF)
        torch.default_generator.manual_seed(key & 0xFFFFFFFF)


_all_items: WeakSet[Items] = WeakSet()


class InMemory(Dataset[Any]):
    """The items of a data set, read once and kept; whole batches of them cost next to nothing."""

    random = False

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.kept, self.nesting = tree_flatten(default_collate([dataset[number] for number in range(len(dataset))]))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        """All else, such as `facts`, is what the data set has."""
        if name == "dataset":  # it is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def batch(self, numbers: Tensor) -> Any:
        """These items, put together."""
        return tree_unflatten([rows.index_select(0, numbers) for rows in self.kept], self.nesting)


def in_memory(dataset: Set, megabytes: float) -> Set | InMemory:
    """The data set with its items kept in memory, if so many megabytes hold them and they are always the same."""
    if any(hasattr(dataset, name) for name in ("batch", "collate", "set_epoch", "__getitems__")):
        return dataset
    first, _ = draws_random_numbers(lambda: dataset[0])
    count = len(dataset)  # type: ignore[arg-type]  # a data set with numbers has a length
    if sum(leaf.nbytes for leaf in tree_leaves(first) if isinstance(leaf, Tensor)) * count > megabytes * 2**20:
        return dataset
    kept, random = draws_random_numbers(lambda: InMemory(dataset))
    if random or not all(isinstance(rows, Tensor) for rows in kept.kept):
        return dataset
    for number in range(min(8, count)):  # a transform may also draw from a generator of its own
        again = tree_leaves(default_collate([dataset[number]]))
        if not all(torch.equal(one[0], rows[number]) for one, rows in zip(again, kept.kept, strict=True)):
            return dataset
    return kept


class EpochBatchSampler(Sampler[Batch]):
    """The batches of this process, from `start` to `stop`, in an order that follows from (seed, epoch) alone.

    In training they are whole, of the order shuffled anew in each epoch (with `--balance` by `dataset.labels`), or of
    `dataset.order(epoch, world)` if there is one: numbers (n,), or (groups, n) that stay together, as many in each
    epoch; process i takes i, i + world and so on. Every process gets as many batches; in an evaluation, one that has
    too few items gets item 0 again (a filler).
    """

    epoch = 0
    start = 0
    stop: int | None = None  # all of them

    def __init__(self, dataset: Any, opt: RunOptions, process: Process, train: bool) -> None:
        self.dataset, self.opt, self.process, self.train = dataset, opt, process, train
        self.seed, self.size = mixed(opt.seed), max(1, (opt.batch_size or 64) // process.world)
        share = len(self.order()) if train else -(-len(dataset) // process.world)
        self.batches = share // self.size if train else -(-share // self.size)
        if not self.batches:
            items = counted(share * process.world, "item")
            raise RunError(f"a batch of {opt.batch_size} is more than {items}; take a smaller --batch-size")
        if len(dataset) < process.world:
            items = counted(len(dataset), "item")
            raise RunError(f"{process.world} processes are too many for {items}; start fewer of them")

    def __len__(self) -> int:
        return self.batches

    def order(self) -> Tensor:
        """The numbers of this process's items in this epoch."""
        rank, world = self.process.rank, self.process.world
        if not self.train:
            return torch.arange(len(self.dataset))[rank::world]
        if hasattr(self.dataset, "order"):
            if self.opt.balance:
                raise RunError("--balance does not go with data that have an order of their own; leave it out")
            order, drawn = draws_random_numbers(lambda: torch.as_tensor(self.dataset.order(self.epoch, world)))
            if drawn:
                raise RunError("MyDataset.order draws from global generators; take generator(opt.seed, 6, epoch)")
        elif self.opt.balance:
            order = balanced(class_labels(self.dataset), generator(self.opt.seed, 5, self.epoch))
        else:
            shuffle = torch.Generator().manual_seed(self.seed + self.epoch)
            order = torch.randperm(len(self.dataset), generator=shuffle)
        return order[: len(order) // world * world][rank::world].flatten()

    def __iter__(self) -> Iterator[Batch]:
        order = self.order().numpy()
        stop = self.batches if self.stop is None else self.stop
        if self.train and len(order) < self.batches * self.size:
            raise RunError("MyDataset.order gives fewer numbers in a later epoch; it has to give as many in each")
        for place in range(self.start * self.size, stop * self.size, self.size):
            numbers = order[place : place + self.size]
            yield self.epoch, numbers if len(numbers) else np.array([0])


def class_labels(dataset: Any) -> Tensor:
    """The number of the class of each item, if the data set says it; it has none if its items are of no class."""
    labels = getattr(dataset, "labels", None)
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point() or len(labels) != len(dataset):
        return torch.empty(0, dtype=torch.int64)
    return labels


def balanced(labels: Tensor, noise: torch.Generator) -> Tensor:
    """As many numbers as there are items, equally many of each class, each of which deals its items round by round."""
    if not len(labels):
        raise RunError("--balance needs the class of each item, and these data tell none or several; leave it out")
    classes = labels.unique()
    each, picked = -(-len(labels) // len(classes)), []
    for number in classes.tolist():
        items = (labels == number).nonzero().flatten()
        rounds = range(-(-each // len(items)))
        turns = [items[torch.randperm(len(items), generator=noise)] for _ in rounds]
        picked.append(torch.cat(turns)[:each])
    order = torch.cat(picked)
    return order[torch.randperm(len(order), generator=noise)[: len(labels)]]


def imbalance(dataset: Any, opt: RunOptions) -> list[str]:
    """What to tell of classes of very different sizes."""
    counts = class_labels(dataset).unique(return_counts=True)[1].tolist()
    if opt.balance or hasattr(dataset, "order") or not counts or max(counts) < UNBALANCED * min(counts):
        return []
    return [f"classes have from {min(counts)} to {max(counts)} items; --balance learns from them equally often"]


def loader_settings(sampler: EpochBatchSampler) -> dict[str, Any]:
    """The arguments of a DataLoader that make it exact, whatever the number of workers."""
    dataset, opt = sampler.dataset, sampler.opt
    workers = 0 if hasattr(dataset, "batch") else opt.num_workers  # there is nothing to wait for
    return {
        "dataset": Items(dataset, opt, opt.accumulate if sampler.train else 1),
        "batch_sampler": sampler,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": sampler.process.device.type == "cuda",
        "collate_fn": list,  # of the parts, which are put together
        "generator": generator(opt.seed, 1),  # its own, so that iterating moves no other randomness
        "worker_init_fn": _prepare_worker,
    }


def _prepare_worker(_: int) -> None:
    """A signal to the whole group must not kill a worker before the trainer has saved; what it cannot send is told."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # Python would print a traceback, and the trainer wait for the batch for ever
    multiprocessing.queues.Queue._on_queue_feeder_error = _send_error  # type: ignore[attr-defined]  # not documented
    # and one for each time that a thread which hands over files has none left; the trainer says what is missing
    sys.excepthook = lambda kind, *more: None if issubclass(kind, OSError) else sys.__excepthook__(kind, *more)


def _send_error(queue: Any, problem: Exception, batch: tuple[int, Any]) -> None:
    """In the place of a batch that cannot be sent."""
    try:
        if isinstance(problem, OSError) or any(words in str(problem) for words in NO_RESOURCES):
            no_resources(problem)
        raise problem  # such as an input that cannot be pickled
    except Exception:
        queue.put((batch[0], ExceptionWrapper(where="in DataLoader worker process")))


def no_resources(problem: Exception) -> NoReturn:
    """Raises what to say if files or memory that are shared with a worker could not be had."""
    reason = str(problem).strip().splitlines()[-1].split(". Communication")[0]
    raise RunError(
        f"loader workers could not work ({reason}); raise the limit on files (ulimit -n) or processes (ulimit -u), "
        "or the size of /dev/shm, or take a smaller --num-workers or --batch-size"
    ) from None


def batch_sampler(loader: Loader) -> EpochBatchSampler:
    """What chooses the batches of a loader."""
    if not isinstance(loader.batch_sampler, EpochBatchSampler):
        raise RunError("a DataLoader takes loader_settings(EpochBatchSampler(...)); for another order see that class")
    return loader.batch_sampler


def evaluation_batches(loader: Loader, process: Process) -> Iterator[tuple[Part, bool]]:
    """The batches of an evaluation on the device, each with whether it counts; fillers only keep processes in step."""
    sampler = batch_sampler(loader)
    count = len(sampler.order())
    for place, (part,) in enumerate(load(loader)):
        yield part.to(process), place * sampler.size < count


def load(loader: Loader) -> Iterator[list[Part]]:
    """The batches of a loader; a worker that hangs, dies or cannot read an item ends the run with one sentence."""
    assert isinstance(loader.dataset, Items)
    if loader.num_workers == 0 and not loader.pin_memory:  # without the loader's machinery, which takes longer
        yield from map(loader.dataset.__getitems__, batch_sampler(loader))
        return
    with signals_blocked():  # a worker that a signal to the whole group meets before it is ready would die
        try:
            iterator = iter(loader)
        except OSError as problem:
            no_resources(problem)
    watch = Watch(iterator, batch_sampler(loader).opt.loader_timeout)
    if loader.num_workers:
        watch.start()
    try:
        while True:
            watch.began = time.monotonic()
            parts = _next(loader, iterator, watch)
            watch.began = math.inf
            if parts is None:
                return
            yield parts
    finally:
        watch.ended.set()


def _next(loader: Loader, iterator: Any, watch: Watch) -> list[Part] | None:
    """The next batch; None after the last."""
    try:
        parts: list[Part] | None = next(iterator, None)
        return parts
    except RunError as problem:  # with a worker's traceback; the sentence is on its last line
        raise RunError(str(problem).strip().splitlines()[-1].split("RunError: ")[-1], problem.code) from None
    except (OSError, EOFError, RuntimeError) as problem:
        said = str(problem)
        if watch.waited:
            raise _no_answer(loader, watch.waited) from None
        if any(words in said for words in NO_RESOURCES):
            no_resources(problem)
        raised = "DataLoader worker process" in said  # by the data set
        lost = isinstance(problem, ConnectionResetError | EOFError) and not raised
        if lost or "exited unexpectedly" in said:  # its end was seen before torch was told by a signal
            raise worker_died(_how_workers_ended(iterator) or problem) from None
        raise


def _no_answer(loader: Loader, seconds: int) -> BaseException:
    """What to raise where workers were waited for in vain."""
    assert isinstance(loader.dataset, Items)
    if Signals.asked and batch_sampler(loader).process.world == 1:
        return Stop()
    reason = f"no loader worker answered for {seconds} seconds (read last: {', '.join(loader.dataset.items_read())})"
    if Signals.asked:  # several processes would have to agree on what to save
        return RunError(f"stopped by a signal, not saved: {reason}; the same command continues the run", 5)
    return RunError(f"{reason}; raise --loader-timeout, or look at the disk")


class Watch(Thread):
    """Kills workers that keep the trainer waiting, even one that hangs while it hands over a batch."""

    def __init__(self, iterator: Any, timeout: int) -> None:
        super().__init__(daemon=True)
        self.iterator, self.timeout, self.ended = iterator, timeout, Event()
        self.began = math.inf  # when the trainer began to wait
        self.waited = 0  # seconds it had waited when they were killed

    def run(self) -> None:
        while not self.ended.wait(0.5):
            seconds = time.monotonic() - self.began
            # after a signal launchers kill within 30 seconds
            if seconds > self.timeout or (Signals.asked and min(seconds, time.monotonic() - Signals.asked) > 10):
                self.waited = int(seconds)
                _remove_worker_pids(id(self.iterator))  # or torch would raise at their end, wherever Python is by then
                self.iterator._worker_pids_set = False
                for worker in self.iterator._workers:
                    worker.kill()
                return


def _how_workers_ended(iterator: Any) -> str:
    """As torch says it, of a worker that died in the middle of an answer."""
    for worker in iterator._workers:
        if worker.exitcode and worker.exitcode < 0:
            return f"DataLoader worker (pid {worker.pid}) is killed by signal: {signal.strsignal(-worker.exitcode)}"
    return ""


NO_RESOURCES = ("Too many open files", "items of ancdata", "shared memory(shm)")
CRASHES = ("Segmentation fault", "Aborted", "Illegal instruction", "Floating point exception")


def worker_died(problem: Exception | str) -> RunError:
    """The error for a loader worker that is gone."""
    reason = str(problem).splitlines()[0].strip() if str(problem) else type(problem).__name__
    pid = re.search(r"\(pid(?:\(s\))? (\d+)", reason)
    read = [name for items in _all_items for name in items.items_read(int(pid[1]) if pid else -1)]
    where = f"; it read {read[0]} last" if read else ""
    why = "died, often because memory (or /dev/shm) ran out: take a smaller --num-workers"
    if any(words in reason for words in CRASHES):
        why = "crashed: repair or remove what it read, or update the library that reads it"
    return RunError(f"a loader worker {why}; the same command continues the run ({reason}{where})")
