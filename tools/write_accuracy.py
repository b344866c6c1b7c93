"""Writes docs/accuracy.md: what the default projects reach, over five seeds each (half an hour; needs torch).

python tools/write_accuracy.py
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
SEEDS = 5


def train(project: Path, *flags: str) -> tuple[list[float], float]:
    """The metric at the end of training for each seed, and the seconds that one seed took, imports included."""
    began = time.monotonic()
    command = [sys.executable, "-m", f"{project.name}.train", "--seeds", str(SEEDS), "--new-run", *flags]
    subprocess.run(command, cwd=project, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True)
    seconds = (time.monotonic() - began) / SEEDS
    ends = []
    for run in sorted((project / "run").iterdir(), key=lambda path: int(path.name))[-SEEDS:]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = [row for row in rows if row["kind"] == "val"][-1]
        ends.append(last.get("val/accuracy", last.get("val/recall@1")))
    return ends, seconds


def new(project: Path, *flags: str) -> Path:
    """Makes a project with these answers, and the default ones to all other questions."""
    command = [sys.executable, "-m", "scaffold", "new", str(project), "--yes", "--no-git", *flags]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return project


def without_two(project: Path) -> Path:
    """The digits 0 to 7 to train on, and all of 8 and 9 to validate on."""
    digits, folder = project / "data" / "digits", project / "data" / "open"
    for label in range(10):
        if label < 8:
            shutil.copytree(digits / "train" / str(label), folder / "train" / str(label))
        else:
            for split in ("train", "val"):
                shutil.copytree(digits / split / str(label), folder / "val" / str(label), dirs_exist_ok=True)
    return folder


def main() -> None:
    """Trains and writes."""
    lines = [
        "# What projects reach on the digits",
        "",
        f"Written by `tools/write_accuracy.py` on {date.today()}: {SEEDS} seeds each, from random weights, on a CPU with "
        + "two threads; the value at the final epoch, not the best one. Every fifth image of each class is held out. All "
        + "questions but the two named here have their default answers.",
        "",
        "| project | measured | mean | deviation | lowest | seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for task, measured in (("classification", "accuracy"), ("metric_learning", "recall@1")):
            for model in ("cnn", "resnet18", "vit"):
                project = new(Path(folder, f"{task}_{model}"), "--task", task, "--model", model)
                rows.append((f"{task}, {model}", measured, train(project)))
        metric = Path(folder, "metric_learning_cnn")
        open_set = ("--data-dir", str(without_two(metric)))
        rows.append(("metric_learning, cnn, trained without 8 and 9", "recall@1 of 8 and 9", train(metric, *open_set)))
    for project, measured, (ends, seconds) in rows:
        mean, deviation = statistics.mean(ends), statistics.stdev(ends)
        lines.append(f"| {project} | {measured} | {mean:.2%} | {deviation:.2%} | {min(ends):.2%} | {seconds:.0f} |")
    (ROOT / "docs" / "accuracy.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
