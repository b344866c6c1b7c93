"""How fast images come from files: python -m bench.input"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench import projects
from bench.measure import Result, compared, finish, ratio, turns

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")  # scikit-image carries them
SIZE, BATCH = 224, 32


def write_photographs(folder: Path, count: int) -> None:
    """So many JPEGs of a few hundred KB, as a camera would make them, in four classes: parts of enlarged photographs."""
    import skimage.data
    from torchvision.io import write_jpeg
    from torchvision.transforms.v2 import functional

    dice = torch.Generator().manual_seed(0)
    for name in PHOTOGRAPHS:
        (folder / "train" / name).mkdir(parents=True)
        image = torch.as_tensor(getattr(skimage.data, name)()).permute(2, 0, 1)
        large = functional.resize(image, [1100], antialias=True)
        for number in range(count // len(PHOTOGRAPHS)):
            top, left = (int(torch.randint(edge, (1,), generator=dice)) for edge in (300, large.shape[2] - 1000))
            part = large[:, top : top + 750, left : left + 1000]
            grain = torch.randn(part.shape, generator=dice) * 6
            part = (part + grain).clamp(0, 255).to(torch.uint8)
            write_jpeg(part, str(folder / "train" / name / f"{number}.jpg"), quality=85)


class Decoded(Dataset[Tensor]):
    """Nothing but torchvision's decoder: no reader of files can be faster."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        from torchvision.io import ImageReadMode, decode_image

        return torch.tensor(decode_image(self.paths[number], mode=ImageReadMode.RGB).shape)


def classic(folder: Path, workers: int) -> DataLoader[Any]:
    """What every tutorial writes: ImageFolder with the classic transforms."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()]
    normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = ImageFolder(str(folder / "train"), transforms.Compose([*steps, normalize]))
    return DataLoader(images, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)


def generated(folder: Path, workers: int, cache: int = 0) -> tuple[Callable[[], Iterable[Any]], int]:
    """The batches of a generated project, normalised as the training loop has them, and how many they are."""
    data, options, engine = (projects.module("input", name) for name in ("data", "options", "engine"))
    opt = options.Options(
        data_dir=str(folder), batch_size=BATCH, num_workers=workers, cache_mb=cache, image_size=0 if cache else SIZE
    )
    process = engine.Process.start(opt).__enter__()
    images = data.load_folder(folder / "train", opt)
    loader = data.train_loader(images, opt, process)

    def epoch() -> Iterable[Any]:
        for (part,) in engine.loader.load(loader):
            yield data.normalise(part.to(process).inputs, images.facts)

    return epoch, len(loader)


def seconds(batches: Callable[[], Iterable[Any]]) -> Callable[[], float]:
    """The time of one pass, from the first batch on: starting workers is no reading."""

    def once() -> float:
        began = 0.0
        for _ in batches():
            began = began or time.perf_counter()
        return time.perf_counter() - began

    return once


def from_files(result: Result, rounds: int, count: int) -> None:
    """Photographs in folders, read by none, one or two workers."""
    folder = projects.scratch() / "photographs"
    write_photographs(folder, count)
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    size = sum(os.path.getsize(path) for path in paths) / len(paths) / 1000
    batches = count // BATCH - 1
    how = (
        f"{count:,} JPEGs of 1000 x 750 ({size:.0f} KB), to {SIZE} x {SIZE}, normalised, batch {BATCH}, {rounds} turns"
    )
    for workers in (0, 1, 2):
        usual = classic(folder, workers)
        ours = generated(folder, workers)[0]
        bare = DataLoader(Decoded(paths), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)
        times = turns(
            {
                "ImageFolder, classic transforms": seconds(partial(iter, usual)),
                "generated": seconds(ours),
                "decoding alone": seconds(partial(iter, bare)),
            },
            rounds,
        )
        title = f"Images from files, {workers or 'no'} worker{'s' * (workers != 1)}"
        result.tables.append(compared(title, how, times, "generated", batches * BATCH, "image"))
        faster = ratio(times, "ImageFolder, classic transforms", "generated").value
        result.aim(f"images from files, {workers} workers: times as fast as ImageFolder", faster, least=1.6)
        result.aim(
            f"images from files, {workers} workers: over decoding alone",
            ratio(times, "generated", "decoding alone").value,
            most=1.8,
        )


def from_memory(result: Result, rounds: int) -> None:
    """The digits, which are kept decoded in memory, beside indexing a tensor."""
    folder = projects.scratch() / "digits"
    data, sample_data = (projects.module("input", name) for name in ("data", "sample_data"))
    sample_data.unpack_digits(folder)
    ours, count = generated(folder, 0, cache=64)
    images = torch.randint(0, 255, (count * BATCH, 3, 8, 8), dtype=torch.uint8)
    labels = torch.zeros(count * BATCH, dtype=torch.int64)

    def indexed() -> Iterable[Any]:
        for numbers in torch.randperm(len(images)).split(BATCH):
            yield data.normalise(images[numbers], {}), labels[numbers]

    def many(batches: Callable[[], Iterable[Any]]) -> Callable[[], float]:
        return lambda: sum(seconds(batches)() for _ in range(30))

    times = turns({"generated": many(ours), "indexing a tensor": many(indexed)}, rounds)
    how = f"the digits, 8 x 8, batch {BATCH}, normalised, 30 epochs a turn, {rounds} turns"
    table = compared("Images in memory", how, times, "indexing a tensor", 30 * (count - 1), "batch")
    result.tables.append(table)
    over = ratio(times, "generated", "indexing a tensor").value
    result.aim("images in memory: over indexing a tensor", over, most=1.3)


class Arrays(Dataset[tuple[Tensor, Tensor]]):
    """Items that cost next to nothing: what is measured is what is done around each."""

    def __init__(self, count: int = 4096) -> None:
        self.features, self.targets = torch.randn(count, 192), torch.zeros(count, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return (self.features[number] - 0.5) * 2, self.targets[number]


def by_item(result: Result, rounds: int) -> None:
    """Data sets that have `__getitem__`, without workers, beside a plain DataLoader of the same data set."""
    data, options, engine, sample_data = (
        projects.module("input", name) for name in ("data", "options", "engine", "sample_data")
    )
    folder = projects.scratch() / "digits by item"
    sample_data.unpack_digits(folder)
    opt = options.Options(data_dir=str(folder), num_workers=0, cache_mb=0)
    process = engine.Process.start(opt).__enter__()
    for name, items in (("digits from files", data.MyDataset(folder / "train", opt)), ("arrays", Arrays())):
        ours = data.train_loader(items, opt, process)
        plain = DataLoader(items, batch_size=opt.batch_size, shuffle=True, drop_last=True)
        times = turns(
            {
                "generated": seconds(partial(engine.loader.load, ours)),
                "DataLoader": seconds(partial(iter, plain)),
            },
            rounds,
        )
        how = f"{len(items)} items, batch {opt.batch_size}, no workers, {rounds} turns"
        table = compared(f"Item by item: {name}", how, times, "DataLoader", (len(ours) - 1) * opt.batch_size, "item")
        result.tables.append(table)
        over = ratio(times, "generated", "DataLoader").value
        result.aim(f"{name}, item by item: over a DataLoader of the same data set", over, most=1.1)


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    projects.make("input")
    result = Result("input")
    from_files(result, 1 if quick else 3, 200 if quick else 800)
    from_memory(result, 3 if quick else 15)
    by_item(result, 3 if quick else 31)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
