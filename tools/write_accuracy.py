"""Writes docs/accuracy.md: what the default projects reach, over five seeds each (an hour; needs torch).

python tools/write_accuracy.py
python tools/write_accuracy.py "classification, cnn, --ema"    only this row; the others stay as they were measured
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEEDS, THREADS = 5, 1
TITLES = ("project", "measured", "mean", "deviation", "lowest", "seconds a run", "date")
OPEN = "metric_learning, cnn, trained without 8 and 9"
# Each row, what is measured, and the flags that its project is made with.
ROWS: dict[str, tuple[str, list[str]]] = {
    **{f"classification, {model}": ("accuracy", ["--model", model]) for model in ("cnn", "resnet18", "vit")},
    "classification, cnn, --ema": ("accuracy", ["--ema"]),
    **{
        f"metric_learning, {model}": ("recall@1", ["--task", "metric_learning", "--model", model])
        for model in ("cnn", "resnet18", "vit")
    },
    "regression, cnn": ("r2", ["--task", "regression"]),
    OPEN: ("recall@1 of 8 and 9", ["--task", "metric_learning"]),
}
PAGE = ROOT / "docs" / "accuracy.md"
HEAD = [
    "# What projects reach on the digits",
    "",
    f"Written by `tools/write_accuracy.py`: {SEEDS} seeds each, from random weights, on a CPU with one thread; the value at "
    + "the final epoch, not the best one. Every fifth image of each class is held out. All questions but those named here "
    + "have their default answers. Rows of 2026-11-26 are of version 0.3.5, whose rate rose less high, with two threads; the "
    + "seconds of the others are of a machine that had other work as well.",
    "",
    f"| {' | '.join(TITLES)} |",
    "|" + len(TITLES) * "---|",
]


def train(project: Path, measured: str, *flags: str) -> tuple[list[float], float]:
    """The metric at the end of training for each seed, and the seconds that one seed took, imports included."""
    began = time.monotonic()
    command = [sys.executable, "-m", f"{project.name}.train", "--seeds", str(SEEDS), "--new-run", *flags]
    subprocess.run(
        command, cwd=project, check=True, env={**os.environ, "OMP_NUM_THREADS": str(THREADS)}, capture_output=True
    )
    seconds = (time.monotonic() - began) / SEEDS
    ends = []
    for run in sorted((project / "run").iterdir(), key=lambda path: int(path.name))[-SEEDS:]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = [row for row in rows if row["kind"] == "val"][-1]
        ends.append(last[f"val/{measured}"])
    return ends, seconds


def new(project: Path, *flags: str) -> Path:
    """Makes a project with these answers, and the default ones to all other questions."""
    command = [sys.executable, "-m", "scaffold", "new", str(project), "--yes", "--no-git", *flags]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return project


def without_two(project: Path) -> Path:
    """The digits 0 to 7 to train on, and all of 8 and 9 to validate on."""
    command = [sys.executable, "-m", f"{project.name}.train", "--plan"]  # which unpacks the digits
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    digits, folder = project / "data" / "digits", project / "data" / "open"
    for label in range(10):
        if label < 8:
            shutil.copytree(digits / "train" / str(label), folder / "train" / str(label))
        else:
            for split in ("train", "val"):
                shutil.copytree(digits / split / str(label), folder / "val" / str(label), dirs_exist_ok=True)
    return folder


def measure(name: str) -> str:
    """Trains what a row is about, and returns the row."""
    measured, flags = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        project = new(Path(folder, "digits"), *flags)
        ends, seconds = train(
            project, measured.split()[0], *(("--data-dir", str(without_two(project))) if name == OPEN else ())
        )
    mean, deviation = statistics.mean(ends), statistics.stdev(ends)
    values = (f"{mean:.2%}", f"{deviation:.2%}", f"{min(ends):.2%}", f"{seconds:.0f}", date.today())
    return f"| {' | '.join(map(str, (name, measured, *values)))} |"


def main() -> None:
    """Measures the rows that were named, or all, and writes each as soon as it is known."""
    unknown = [name for name in sys.argv[1:] if name not in ROWS]
    if unknown:
        raise SystemExit(f"there is no row {unknown[0]!r}; there are: {'; '.join(ROWS)}")
    for name in sys.argv[1:] or ROWS:
        row = measure(name)
        print(row, flush=True)
        lines = PAGE.read_text().splitlines()
        before = {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}
        rows = {**before, name: row}
        PAGE.write_text("\n".join([*HEAD, *(rows[name] for name in ROWS if name in rows)]) + "\n")


if __name__ == "__main__":
    main()
