"""What a checkpoint costs, and a start: python -m bench.saving"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bench import projects
from bench.measure import Result, Table, compared, finish, ratio, run, timed, turns

# Runs a project's training with the words after the first three, and stops it at the first step.
TO_FIRST_STEP = """
import os, sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
train, run = (import_module(sys.argv[2] + name) for name in (".train", ".engine.run"))
def stop(*_):
    os._exit(0)
run.Run.parts = stop
sys.argv = ["train", *sys.argv[3:]]
train.launch(train.Options, train.train, train.show_plan)
"""


def saving(result: Result, rounds: int) -> None:
    """A whole verified save of resnet18 with AdamW beside `torch.save` and fsync of the same tensors."""
    import torchvision

    checkpoint, state = (projects.module("saving", f"engine.{name}") for name in ("checkpoint", "state"))
    net = torchvision.models.resnet18()
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    folder = projects.scratch() / "saved"
    folder.mkdir()

    def tensors() -> dict[str, Any]:
        return {"model": state.model_state(net), "optimizer": {"state": state.optimizer_state(net, optimizer)}}

    def plain() -> None:
        with (folder / "plain.pt").open("wb") as file:
            torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())

    def verified() -> None:
        checkpoint.save(folder, 1, tensors(), {"step": 1}, {})

    def once(work: Callable[[], None]) -> Callable[[], float]:
        def seconds() -> float:
            shutil.rmtree(folder / "1", ignore_errors=True)
            return timed(work)

        return seconds

    times = turns({"torch.save and fsync": once(plain), "generated": once(verified)}, rounds)
    size = sum(path.stat().st_size for path in (folder / "1").iterdir()) / 2**20
    how = f"resnet18 with AdamW, {size:.0f} MB, written to this machine's disk, {rounds} turns"
    result.tables.append(compared("A checkpoint", how, times, "torch.save and fsync", 1, "save"))
    over = ratio(times, "generated", "torch.save and fsync").value
    result.aim("a verified save over torch.save and fsync", over, most=1.4)


# Runs a project's training, and says how many seconds went into checkpoints and how many into the whole.
SHARE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from importlib import import_module
train, run = (import_module(sys.argv[2] + name) for name in (".train", ".engine.run"))
save, spent = run.Run._save, 0.0
def watched(*words):
    global spent
    began = time.perf_counter()
    try:
        return save(*words)
    finally:
        spent += time.perf_counter() - began
run.Run._save = watched
sys.argv = ["train", *sys.argv[3:]]
train.launch(train.Options, train.train, train.show_plan)
print(spent)
"""


def share(result: Result, rounds: int) -> None:
    """How much of a default run goes into its checkpoints."""
    folder = projects.scratch() / "saving"
    parts = []
    for _ in range(rounds):
        began = time.perf_counter()
        words = [sys.executable, "-c", SHARE, str(folder), "saving", "--new-run"]
        spent = float(run(words, folder, OMP_NUM_THREADS=str(os.cpu_count())))
        parts.append(100 * spent / (time.perf_counter() - began))
    how = (
        f"the default project on the digits as its command is typed, on all {os.cpu_count()} cores, a checkpoint after each "
        f"of 20 epochs, {rounds} runs"
    )
    result.tables.append(
        Table("The share of saving", how, ["", "per cent of the run"], [["a default run", f"{median(parts):.1f}"]])
    )
    result.aim("share of a default run spent saving, per cent", median(parts), most=2)


def starting(result: Result, rounds: int) -> None:
    """From the command to the first step, new and resumed, beside importing torch and torchvision."""
    folder = projects.scratch() / "start"
    shutil.copytree(projects.scratch() / "saving", folder)
    words = [sys.executable, "-c", TO_FIRST_STEP, str(folder), "saving"]
    run([sys.executable, "-m", "saving.train", "--epochs", "1", "--run", "100"], folder)

    def imported(names: str) -> Callable[[], float]:
        # ended as abruptly as the other contenders
        return lambda: timed(lambda: run([sys.executable, "-c", f"import os, {names}; os._exit(0)"]))

    def command(*more: str) -> Callable[[], float]:
        return lambda: timed(lambda: run([*words, *more], folder))

    times = turns(
        {
            "import torch, torchvision": imported("torch, torchvision"),
            "import torch": imported("torch"),
            "a new run": command("--new-run"),
            "a resumed run": command("--run", "100", "--epochs", "20"),
        },
        rounds,
    )
    how = f"whole processes to their first step on the digits, {rounds} turns"
    base = "import torch, torchvision"
    result.tables.append(compared("The start of a run", how, times, base, 1, "start"))
    new, resumed = (ratio(times, name, base).value for name in ("a new run", "a resumed run"))
    result.aim("a new run's first step over importing torch and torchvision", new, most=1.15)
    result.aim("a resumed run's first step over importing torch and torchvision", resumed, most=1.25)
    left = list(Path(folder, "run", "100", "checkpoints").iterdir())
    assert len(left) == 1  # the stopped runs have gone no further


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    projects.make("saving")
    result = Result("saving")
    saving(result, 3 if quick else 15)
    share(result, 1 if quick else 5)
    starting(result, 2 if quick else 9)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
