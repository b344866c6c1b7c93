"""From the command to 98 % of the digits right: python -m bench.epochs"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import projects
from bench.measure import ROOT, Result, compared, finish, ratio, run, turns

TARGET, EPOCHS = 0.98, 20


def until(words: list[str], folder: Path) -> Callable[[], float]:
    """Seconds until a program says that it gets so many of the held-out images right."""

    def once() -> float:
        began = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                found = re.search(r"accuracy (\d\.\d+)", line)
                if found and float(found[1]) >= TARGET:
                    return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()
        raise SystemExit(f"{' '.join(words)} never got there:\n{said}")

    return once


def recipe(result: Result, folder: Path, title: str, side: int, rounds: int) -> None:
    """The default recipe at a size of images, by three."""
    peer = [sys.executable, "-m", "bench.peers"]
    rest = [str(folder), "epochs", str(side), str(EPOCHS)]
    ours = [sys.executable, "-m", "epochs.train", "--new-run", "--image-size", str(side), "--epochs", str(EPOCHS)]
    times = turns(
        {
            "generated": until(ours, folder),
            "Lightning": until([*peer, "lightning", *rest], folder),
            "Ignite": until([*peer, "ignite", *rest], folder),
        },
        rounds,
        warm=0,
    )
    how = (
        f"whole commands, imports included, from random weights to {TARGET:.0%} of the held-out images at {side} x {side};"
        f" the same network, optimizer, schedule and kind of augmentation, two cores, {rounds} turns"
    )
    result.tables.append(compared(title, how, times, "generated", 1, "run"))
    for name in ("Lightning", "Ignite"):
        result.aim(f"{title}: times as fast as {name}", ratio(times, name, "generated").value, least=1.0)


def main(quick: bool = False) -> None:
    folder = projects.make("epochs")
    run([sys.executable, "-m", "epochs.train", "--epochs", "1"], folder)  # unpacks the digits
    result = Result("epochs")
    recipe(result, folder, "The digits as they are", 8, 1 if quick else 3)
    recipe(result, folder, "Images of 28 x 28", 28, 1 if quick else 3)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
