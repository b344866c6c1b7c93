"""What grows with the data, the groups and the classes, and how fast: python -m bench.growth"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from bench import projects
from bench.loops import stand_in
from bench.measure import Result, Table, finish

Points = list[tuple[float, float]]


def write_files(folder: Path, count: int, classes: int = 10) -> None:
    """So many images of 8 x 8 in folders; those of a class are one file under many names: only reading is measured."""
    from torchvision.io import write_png

    for part, number in (("train", count), ("val", classes)):
        for image in range(number):
            first = folder / part / str(image % classes) / "0.png"
            if image < classes:
                first.parent.mkdir(parents=True)
                write_png(torch.full((3, 8, 8), 100, dtype=torch.uint8), str(first))
            else:
                os.link(first, first.with_name(f"{image // classes}.png"))


def seconds(work: Callable[[], object], least: int = 3) -> float:
    """The shortest of a few runs: what else happens on the machine only adds to it."""
    found = []
    for _ in range(least):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def slope(points: Points) -> float:
    """The power with which the last tenfold grows: 1 is linear."""
    (x0, y0), (x1, y1) = points[-2], points[-1]
    return math.log(y1 / y0) / math.log(x1 / x0)


def files(result: Result, sizes: list[int]) -> None:
    """Listing the folders and reading one epoch, by the number of files."""
    data, options, engine = (projects.module("growth", name) for name in ("data", "options", "engine"))
    process, load = engine.Process.start(options.Options()).__enter__(), engine.loader.load
    listing: Points = []
    reading: Points = []
    for size in sizes:
        folder = projects.scratch() / f"files-{size}"
        write_files(folder, size)
        opt = options.Options(data_dir=str(folder), num_workers=0, cache_mb=0, image_size=8)
        listing.append((size, seconds(partial(data.load_data, opt, process))))
        loader = data.train_loader(data.load_data(opt, process)[0], opt, process)
        reading.append((size, seconds(lambda loader=loader: [0 for _ in load(loader)], 1)))  # type: ignore[misc]  # mypy cannot type a default in a lambda
    note(
        result, "Files", "processor time over the number of images in folders", "images", listing=listing, epoch=reading
    )


def in_memory(result: Result, sizes: list[int]) -> None:
    """One epoch of training a network with nothing to compute, by the number of rows in memory."""
    points: Points = []
    for size in sizes:
        points.append((size, epoch(torch.zeros(size, 4), torch.zeros(size, dtype=torch.int64), Nothing, 1)))
    how = "processor time of an epoch over the number of rows in memory, batch 1024, a network of one layer"
    note(result, "Rows in memory", how, "rows", epoch=points)


class Nothing(nn.Module):
    """A network of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.all(x)
        return logits, logits


class Many(nn.Module):
    """A network of so many layers, each of which is a group."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for number in range(count):
            self.add_module(f"layer{number}", nn.Linear(4, 4))
        self.out = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.children():
            x = layer(x)
        return x, x


def epoch(images: Tensor, labels: Tensor, build: Callable[[], nn.Module], groups: int) -> float:
    """Seconds of processor time of one epoch in a project's own train.py, from its first step to the run's end."""
    train, optim = (projects.module("growth", name) for name in ("train", "optim"))
    layers = {f"layer{number}": [f"layer{number}"] for number in range(groups - 1)} | {"rest": ["rest"]}
    optim.LAYERS.clear()
    optim.LAYERS.update(layers)
    opt = projects.module("growth", "options").Options(
        batch_size=min(1024, len(images)), epochs=1, warmup=0, new_run=True, run_dir=str(projects.scratch() / "run"),
        groups=dict.fromkeys(layers, 1.0),
    )  # fmt: skip
    clock = stand_in("growth", build, images, labels)
    train.train(opt, projects.module("growth", "engine").Process.start(opt).__enter__())
    return time.process_time() - clock.began


def many_groups(result: Result, sizes: list[int]) -> None:
    """A hundred steps, by the number of layer groups."""
    rows = torch.zeros(100 * 32, 4), torch.zeros(100 * 32, dtype=torch.int64)
    points: Points = []
    for size in sizes:
        points.append((size, min(epoch(*rows, lambda size=size: Many(size), size) for _ in range(3))))  # type: ignore[misc]  # mypy cannot type a default in a lambda
    note(
        result,
        "Groups",
        "processor time of an epoch over the number of layer groups, a layer each",
        "groups",
        epoch=points,
    )


def many_classes(result: Result, sizes: list[int]) -> None:
    """Listing the folders, by the number of classes, with ten thousand images in all."""
    data, options = (projects.module("growth", name) for name in ("data", "options"))
    process = projects.module("growth", "engine").Process.start(options.Options()).__enter__()
    points: Points = []
    for size in sizes:
        folder = projects.scratch() / f"classes-{size}"
        write_files(folder, 10_000, size)
        opt = options.Options(data_dir=str(folder), num_workers=0, cache_mb=0, image_size=8)
        points.append((size, seconds(partial(data.load_data, opt, process))))
    note(
        result,
        "Classes",
        "processor time of listing 10,000 images over the number of classes",
        "classes",
        listing=points,
    )


def note(result: Result, title: str, how: str, what: str, **lines: Points) -> None:
    """A table and the lines of a plot, and the aim that nothing grows faster than it must."""
    first = next(iter(lines.values()))
    table = Table(title, how, [what, *(f"{name}, ms" for name in lines)], points=lines)
    for number, (size, _) in enumerate(first):
        table.rows.append([f"{size:,}", *(f"{points[number][1] * 1e3:.3g}" for points in lines.values())])
    result.tables.append(table)
    for name, points in lines.items():
        result.aim(f"{title}: exponent of the growth of {name} (1 is linear)", slope(points), most=1.15)


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    projects.make("growth")
    import logging

    from bench.loops import quiet

    train = projects.module("growth", "train")
    logging.getLogger("growth").setLevel(logging.CRITICAL)
    vars(train)["train_logger"] = quiet(train.train_logger)
    result = Result("growth")
    files(result, [100, 1000] if quick else [100, 1000, 10_000, 100_000])
    many_classes(result, [10, 100] if quick else [10, 100, 1000])
    many_groups(result, [1, 10] if quick else [1, 10, 100])
    in_memory(result, [1000, 10_000] if quick else [1000, 10_000, 100_000, 1_000_000])
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
