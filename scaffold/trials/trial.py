"""One trial of a project: it is trained for a few steps, or its own quick tests are run."""

import contextlib
import importlib
import json
import math
import multiprocessing
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from scaffold.questions.answer_types import DISTRIBUTED, LAYER_GROUPS, PACKAGE
from scaffold.trials.trial_data import prepare

QUICK = 15  # seconds for six steps and what goes with them, up to which it is seen whether a project learns
# where processes cannot be forked each imports torch anew, which is slow and works
CONTEXT: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")


def trial(project: dict[str, Any], what: str) -> None:
    """One trial, in a process of its own, which ends with it."""
    if hasattr(os, "setsid"):
        os.setsid()  # so that all it starts can be ended together
    with open(Path(project["folder"], f"smoke-{what}.log"), "w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(project["folder"])
    sys.path.insert(0, project["folder"])
    try:
        code = train(project["answers"], project["sample"], project["from_nothing"]) if what == "train" else quick()
    except BaseException:  # noqa: BLE001  # whatever it is, it is the result of the trial
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def quick() -> int:
    """The project's own quick tests."""
    import pytest

    return int(pytest.main(["-m", "quick", "-q", "-x", "-p", "no:cacheprovider", "--tb=short"]))


def train(answers: dict[str, Any], sample: str, from_nothing: list[list[str]]) -> int:
    """Six real steps, an evaluation, a checkpoint, a prediction, each by the command that a person would type; then, unless
    it is slow, sixty steps that have to learn something, with flags for random weights."""
    package = PACKAGE.of(answers)
    images = Path("smoke-images")
    os.environ["TORCH_HOME"] = str(Path("torch-home").absolute())
    os.environ |= {"HF_HOME": str(Path("torch-home", "huggingface").absolute()), "HF_HUB_OFFLINE": "1"}
    # in a process of its own: those forked from one that had used torch were seen to die in their first step
    writer = CONTEXT.Process(target=prepare, args=(answers, images))
    writer.start()
    writer.join()
    assert writer.exitcode == 0, "data or weights could not be written"
    size = re.search(r'"batch_size": (\d+)', Path("tests", "conftest.py").read_text(encoding="utf-8"))
    assert size, "the project's tests do not say how many of their items are a batch"
    flags = ["--data-dir", str(images), "--epochs", "2", "--batch-size", size[1], "--num-workers", "0"]
    flags += ["--log-every", "2"]
    if hasattr(importlib.import_module(f"{package}.options").Options(), "per_class"):
        flags += ["--per-class", "2"]  # so that a part of a process's share holds two classes
    began = time.monotonic()
    for words in (
        ["train", *flags],
        ["evaluate", "run/1"],
        ["predict", "run/1", str(images / sample)],
    ):
        with arguments(*words):
            code = run(answers, words[0])
        if code:
            print(f"{words[0]} ended with {code}")
            return code
    rows = [json.loads(line) for line in Path("run/1/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if row["kind"] == "train"]
    rates = {f"lr/{group['name']}" for group in LAYER_GROUPS.of(answers) if group["lr"]}
    assert [row["step"] for row in steps] == [2, 4, 6], steps
    assert all(math.isfinite(row["train/loss"]) and rates <= row.keys() for row in steps), steps
    assert list(Path("run/1/checkpoints").glob("*/MANIFEST.json"))
    if time.monotonic() - began < QUICK:
        flags += ["--epochs", "20", "--eval-every", "20", "--save-every", "20"]
        assert any(learns(answers, [*flags, *more]) for more in from_nothing), "it learns no more than a constant"
    for folder in ("run", "torchrun", "torch-home", "smoke-images"):  # those of many projects would fill the disk
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def run(answers: dict[str, Any], name: str) -> int:
    """What `python -m package.name` ends with; training in two processes where the project is for several."""
    program, given = program_of(PACKAGE.of(answers), name)
    alone = name != "train" or DISTRIBUTED.is_alone(answers)
    return program(*given) if alone else in_two(program, *given)


def learns(answers: dict[str, Any], flags: list[str]) -> bool:
    """Whether a model learns, and more than a constant: the same one to which all inputs look alike ends with a higher loss."""
    module: Any = importlib.import_module(f"{PACKAGE.of(answers)}.train")
    build_model, losses = module.build_model, []
    for number, build in enumerate([build_model, lambda *given: blind(build_model(*given))], start=1):
        module.build_model = build
        folder = Path("run", str(100 + number))
        shutil.rmtree(folder, ignore_errors=True)
        with arguments("train", *flags, "--run", folder.name):
            assert run(answers, "train") == 0
        rows = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append([row["train/loss"] for row in map(json.loads, rows) if row["kind"] == "train"])
    module.build_model = build_model
    first, (last, constant) = losses[0][0], [sum(rows[-5:]) / 5 for rows in losses]
    print(f"a loss of {first:.4f} at first, {last:.4f} after 60 steps, and {constant:.4f} without seeing the inputs")
    return bool(last < min(first, constant) - 0.03)


def blind(net: Any) -> Any:
    """A model to which all inputs look alike; targets that come with the inputs, in dictionaries, it sees."""
    import torch

    def zeros(inputs: Any) -> Any:
        if isinstance(inputs, torch.Tensor):
            return torch.zeros_like(inputs)
        return type(inputs)(map(zeros, inputs)) if isinstance(inputs, list | tuple) else inputs

    net.register_forward_pre_hook(lambda _, given: zeros(given))
    return net


def program_of(package: str, name: str) -> tuple[Callable[..., int], tuple[Any, ...]]:
    """The function that `python -m package.name` calls, and with what."""
    module = importlib.import_module(f"{package}.{name}")
    if name != "train":
        return module.main, ()
    options = importlib.import_module(f"{package}.options").Options
    return importlib.import_module(f"{package}.engine").launch, (options, module.train, module.show_plan)


def in_two(program: Callable[..., int], *given: Any) -> int:
    """Runs a program as torchrun does, in two processes; they too share the import of torch."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method=CONTEXT.get_start_method(),
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir="torchrun"),
    )
    return max(map(int, elastic_launch(config, program)(*given).values()))


@contextlib.contextmanager
def arguments(*words: str) -> Iterator[None]:
    """These words as the command line."""
    before, sys.argv = sys.argv, list(words)
    try:
        yield
    finally:
        sys.argv = before
