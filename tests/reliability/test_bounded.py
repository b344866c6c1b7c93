"""Within an epoch as well, a kill costs no more than an interval, and an evaluation may come wherever it likes."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Change, Fault, Project, metrics, outcome, steps
from tests.reliability.test_ranks import wait_for

BOUNDED = pytest.mark.figure(
    "C7 work lost by a kill",
    "kills, time limits and patience within an epoch and in an evaluation",
)

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--batch-size", "2", "--agree-every", "1"]  # of 24 steps each
SECONDS = 0.05  # that a step takes at least
INTERVAL = 0.3
OFTEN = ["--save-minutes", str(INTERVAL / 60)]
IN_STEPS = ["--epochs", "3", "--eval-steps", "2", "--agree-every", "1"]  # of three steps an epoch


def slow(project: Project) -> list[Fault]:
    return [("slow", {"package": project.package, "seconds": SECONDS})]


def lines(work: Path) -> int:
    """How many batches were begun, those that were begun twice included."""
    samples = work / "samples.jsonl"
    return len(samples.read_text().splitlines()) if samples.exists() else 0


def wait_for_more(work: Path, begun: int) -> None:
    """Until another batch was begun."""
    wait_for(lambda: lines(work) > begun)


def lose_at_most_an_interval(project: Project, work: Path, runs: int, seed: int) -> int:
    """Kills runs of slow epochs at random, counts what is done twice, compares; returns the number of kills."""
    assert project.run(work / "undisturbed", *EPOCHS).code == 0
    expected, dice, kills = outcome(work / "undisturbed"), random.Random(seed), 0
    for number in range(runs):
        here = work / str(number)
        for _ in range(3):
            begun = lines(here)
            started = project.start(here, *EPOCHS, *OFTEN, faults=slow(project))
            wait_for_more(here, begun)
            time.sleep(dice.uniform(0, 1.2))
            os.kill(dice.choice(started.pids), signal.SIGKILL)
            started.wait()
            newest = max(steps(here), default=0)
            done = len({*(here / "samples.jsonl").read_text().splitlines()}) // project.ranks
            # steps of this length in an interval, one that is late, and one that had just begun
            assert done - newest <= math.ceil(INTERVAL / SECONDS) + 2, f"{done} steps were begun, {newest} are safe"
            kills += 1
        again = project.run(here, *EPOCHS, *OFTEN)
        assert again.code == 0, again.said
        assert expected.differs(outcome(here)) == [], f"run {number}"
    return kills


@pytest.mark.parametrize("name", ["single", "ddp"])
@BOUNDED
def test_a_kill_in_a_long_epoch_costs_no_more_than_the_interval(project: Rendered, work: Path, name: str) -> None:
    lose_at_most_an_interval(project(name), work, 2, 1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["single", "rich", "workers", "ddp", "fsdp"])
def test_killed_at_random_in_a_long_epoch(
    project: Rendered, work: Path, name: str, figure: Callable[..., None]
) -> None:
    kills = lose_at_most_an_interval(project(name), work, 10, 2)

    figure("B1 exact resume", f"{name}: kills in a slow epoch, no more than --save-minutes is done twice", kills, kills)


@BOUNDED
def test_by_default_nothing_is_saved_within_a_short_epoch(project: Rendered, work: Path) -> None:
    assert project("single").run(work, *EPOCHS, "--keep", "99").code == 0

    assert steps(work) == [24, 48, 72, 96]


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp"])
@BOUNDED
def test_when_the_minutes_are_over_all_processes_save_and_stop(project: Rendered, work: Path, name: str) -> None:
    trained = project(name)
    assert trained.run(work / "undisturbed", *EPOCHS).code == 0

    ended = trained.run(work / "run", *EPOCHS, "--max-minutes", "0.02", faults=slow(trained))
    again = trained.run(work / "run", *EPOCHS)

    assert set(ended.codes) == {128 + signal.SIGTERM}, ended.said
    assert "the time limit of --max-minutes 0.02 is reached" in ended.said
    assert "stopped by SIGTERM; the same command goes on after step" in ended.said
    assert again.code == 0, again.said
    assert outcome(work / "undisturbed").differs(outcome(work / "run")) == []


@pytest.mark.parametrize("name", ["rich", "ddp"])
@BOUNDED
def test_an_evaluation_within_an_epoch_is_made_once_whatever_happens(project: Rendered, work: Path, name: str) -> None:
    trained = project(name)
    batches = 2  # of an evaluation: 20 images
    assert trained.run(work / "undisturbed", *IN_STEPS).code == 0
    expected = outcome(work / "undisturbed")
    assert [row["step"] for row in metrics(work / "undisturbed", "val")] == [2, 3, 4, 6, 8, 9]
    # in the first and the third evaluation, and just after the checkpoint that the first one chose as the best
    stops: list[tuple[int, str, dict[str, Any]]] = [
        (number, "signal_in", {"where": "evaluation", "time_": time_, "number": signal.SIGTERM})
        for number, time_ in ((128 + signal.SIGTERM, 1), (128 + signal.SIGTERM, 3 * batches))
    ]
    stops.append((-signal.SIGKILL, "fail_once", {"what": "die", "rank": 0, "step": 3}))
    for code, fault, arguments in stops:
        here = work / f"{fault} {arguments}"
        stopped = trained.run(here, *IN_STEPS, faults=[(fault, {"package": trained.package, **arguments})])
        assert stopped.codes[0] == code, stopped.said

        again = trained.run(here, *IN_STEPS)

        assert again.code == 0, again.said
        assert expected.differs(outcome(here)) == [], fault


@BOUNDED
def test_patience_may_end_a_run_within_an_epoch_and_more_of_it_goes_on_there(project: Rendered, work: Path) -> None:
    single, still = project("single"), ["--epochs", "4", "--eval-steps", "2", "--lr", "1e-12", "--keep", "99"]
    assert single.run(work / "undisturbed", *still).code == 0

    ended = single.run(work / "run", *still, "--patience", "2")
    finished = single.run(work / "run", *still, "--patience", "2")
    stood = steps(work / "run")
    more = single.run(work / "run", *still, "--patience", "99")

    assert ended.code == finished.code == more.code == 0, more.said
    assert "finished before 4 epochs: no better accuracy in 2 evaluations" in ended.said
    assert stood == [2, 3, 4]  # the fourth step is the first of the second epoch
    assert "run 1 is finished" in finished.said
    one, two = outcome(work / "undisturbed"), outcome(work / "run")
    assert (one.tensors, one.rows, one.samples) == (two.tensors, two.rows, two.samples)


# An evaluation that draws random numbers and counts what it has seen.
MOVING: list[Change] = [
    (
        "PACKAGE/model.py",
        "from torch import Tensor, nn\n",
        "import torch\nfrom torch import Tensor, nn\n",
    ),
    (
        "PACKAGE/model.py",
        "        super().__init__()\n",
        '        super().__init__()\n        self.register_buffer("seen", torch.zeros(()))\n',
    ),
    (
        "PACKAGE/evaluate.py",
        "            with process.autocast(opt):\n",
        "            net.bn1.num_batches_tracked += 1\n            with process.autocast(opt):\n",
    ),
    (
        "PACKAGE/evaluate.py",
        "            if counts:\n",
        "            net.seen = net.seen + images.mean().new_empty(()).uniform_()\n            if counts:\n",
    ),
]


@BOUNDED
def test_stopped_in_an_evaluation_that_moves_something_it_goes_on_from_before_it(project: Rendered, work: Path) -> None:
    moving = project("single").changed(work / "moving", MOVING)
    flags = ["--epochs", "3", "--ema-decay", "0.9"]
    assert moving.run(work / "undisturbed", *flags).code == 0
    where = {"package": moving.package, "where": "evaluation", "number": signal.SIGTERM}

    for time_ in (2, 4):
        here = work / str(time_)
        assert moving.run(here, *flags, faults=[("signal_in", {**where, "time_": time_})]).code == 143
        again = moving.run(here, *flags)

        assert again.code == 0, again.said
        assert outcome(work / "undisturbed").differs(outcome(here)) == [], time_
