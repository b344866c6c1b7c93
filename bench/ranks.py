"""What several processes gain, and what FSDP and parts of a batch cost: python -m bench.ranks"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

from bench import projects
from bench.measure import Result, compared, finish, ratio, run, turns

SIDE, BATCH = 112, 64

# Runs in every process: a project's own train.py on images made up in memory; process 0 prints seconds per step.
WORKER = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
from importlib import import_module
import torch
torch.set_num_threads(1)
package, data, steps = sys.argv[2], sys.argv[3], int(sys.argv[4])
train, run = (import_module(package + name) for name in (".train", ".engine.run"))
step, times = run.Run.step, []
def timed(*words, **named):
    step(*words, **named)
    times.append(time.perf_counter())
    if len(times) > steps:
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps((times[-1] - times[2]) / (len(times) - 3)), flush=True)
        os._exit(0)
run.Run.step = timed
sys.argv = ["train", "--data-dir", data, "--new-run", "--num-workers", "0", "--batch-size", sys.argv[5], "--epochs", "99"]
train.launch(train.Options, train.train, train.show_plan)
"""


def write_images(folder: Path) -> None:
    """Noise in two classes, enough for ten steps an epoch."""
    import torch
    from torchvision.io import write_png

    dice = torch.Generator().manual_seed(0)
    for part, count in (("train", 160), ("val", 8)):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = torch.randint(0, 255, (3, SIDE, SIDE), dtype=torch.uint8, generator=dice)
                write_png(image, str(folder / part / name / f"{number}.png"))


def contender(package: str, data: Path, steps: int, ranks: int, batch: int = BATCH) -> Callable[[], float]:
    """Seconds per step of a project in so many processes of one thread."""
    script = projects.scratch() / "worker.py"
    script.write_text(WORKER)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    words = [str(script), str(projects.scratch() / package), package, str(data), str(steps), str(batch)]

    def once() -> float:
        said = run([sys.executable, *launcher, *words], projects.scratch() / package, CUDA_VISIBLE_DEVICES="")
        return float(json.loads(said.splitlines()[-1]))

    return once


def apart(package: str, data: Path, steps: int) -> Callable[[], float]:
    """Seconds per step of two processes that know nothing of each other, with half the batch each: what is to be had."""
    one = contender(package, data, steps, 1, BATCH // 2)

    def both() -> float:
        with ThreadPoolExecutor(2) as pool:
            return mean(pool.map(lambda _: one(), range(2)))

    return both


def main(quick: bool = False) -> None:
    common: dict[str, Any] = {"model": "resnet18", "logger": "none", "optimizer": "sgd"}
    projects.make("one", **common)
    projects.make("ddp", **common, distributed="ddp")
    projects.make("fsdp", **common, distributed="fsdp")
    projects.make("parts", **common, distributed="ddp", accumulate=4)
    data = projects.scratch() / "noise"
    write_images(data)
    rounds, steps = (1, 4) if quick else (5, 4)
    times = turns(
        {
            "one process": contender("one", data, steps, 1),
            "two processes apart": apart("one", data, steps),
            "DDP, two processes": contender("ddp", data, steps, 2),
            "FSDP2, two processes": contender("fsdp", data, steps, 2),
            "DDP, the batch in four parts": contender("parts", data, steps, 2),
        },
        rounds,
        warm=0,
    )
    result = Result("ranks")
    how = f"resnet18 on {SIDE} x {SIDE}, batch {BATCH} over all processes, one core each, gloo, {steps} steps, {rounds} turns"
    result.tables.append(compared("Several processes", how, times, "one process", 1, "step"))
    result.aim(
        "two processes: times as fast as one", ratio(times, "one process", "DDP, two processes").value, least=1.8
    )
    result.aim(
        "DDP over two processes that do not speak",
        ratio(times, "DDP, two processes", "two processes apart").value,
        most=1.2,
    )
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
