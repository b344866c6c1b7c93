"""Killed anywhere and started again, a run ends with the very bits of an undisturbed one."""

from __future__ import annotations

import os
import random
import re
import signal
import struct
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests.reliability.crash.faults import POWER_CUTS
from tests.reliability.crash.fixtures import LARGE_NETWORKS, Rendered
from tests.reliability.crash.projects import (
    Fault,
    Outcome,
    Project,
    checkpoints,
    fresh,
    metrics,
    outcome,
    steps,
    verifies,
)

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4"]  # four checkpoints, of which one is purged
KILLED = -signal.SIGKILL
TRIES = 100  # starts of one run, until its kills have hit
MODES = ["single", "rich", "sampler", "workers", "ddp", "fsdp", "ddp_cnn", "fsdp_cnn"]


def undisturbed(project: Project, work: Path, *flags: str) -> Outcome:
    """What the run comes to when nobody disturbs it."""
    assert project.run(work / "undisturbed", *flags).code == 0
    return outcome(work / "undisturbed")


def operations(project: Project, work: Path, *flags: str) -> list[str]:
    """What the run does to the disk, one line each (of process 0, which alone writes)."""
    log = work / "operations"
    counting: Fault = ("count", {"folder": str(work / "counted" / "run"), "log": str(log)})
    assert project.run(work / "counted", *flags, faults=[counting]).code == 0
    return log.read_text().splitlines()


def safe_before(operations: list[str]) -> list[int]:
    """For each operation, the newest step whose saving was over before it (0 if none): nothing may take that back."""
    renamed, safe, steps_ = 0, 0, []
    for line in operations:
        if re.search(r"os\.mkdir .*/\.tmp-\d+$", line):  # the next one begins
            safe = renamed
        if found := re.search(r"rename .*/\.tmp-(\d+) to", line):
            renamed = int(found[1])
        steps_.append(safe)
    return steps_


def newest_good(work: Path) -> int:
    """The newest step whose checkpoint is whole, 0 if none."""
    return max((step for step in steps(work) if verifies(checkpoints(work) / str(step))), default=0)


def crash_everywhere(project: Project, work: Path, every: int = 1) -> int:
    """Dies at every operation in turn, starts again, compares; returns the number of points."""
    expected = undisturbed(project, work, *EPOCHS)
    safe = safe_before(operations(project, work, *EPOCHS))
    points = range(1, len(safe) + 1, every)
    for point in points:
        here = work / str(point)
        died = project.run(here, *EPOCHS, faults=[("die_at", {"folder": str(here / "run"), "operation": point})])
        assert died.code == KILLED, died.said
        newest = newest_good(here)
        assert newest >= safe[point - 1], f"died at operation {point}"
        again = project.run(here, *EPOCHS)
        assert again.code == 0, again.said
        assert (f"going on after step {newest}," in again.said) == (newest > 0), again.said
        assert expected.differs(outcome(here)) == [], f"died at operation {point}"
    return len(points)


def kill_at_random(project: Project, work: Path, runs: int, seed: int, *flags: str) -> int:
    """Kills each run one to three times at a random moment of its life; returns the number of kills."""
    expected = undisturbed(project, work, *flags)
    began = time.monotonic()
    assert project.run(work / "measured", *flags).code == 0  # by now nothing is done for the first time
    length = time.monotonic() - began
    dice = random.Random(seed)
    kills = 0
    for number in range(runs):
        here = work / str(number)
        wanted, hits = dice.randint(1, 3), 0
        for _ in range(TRIES):
            started = project.start(here, *flags)
            time.sleep(dice.uniform(0, length))
            os.kill(dice.choice(started.pids), signal.SIGKILL)  # not yet waited for, so the number is still its own
            # one that has come to its end cannot be killed any more, so another takes its place
            hits = hits + 1 if KILLED in started.wait().codes else 0
            if hits == wanted:
                break
            if not hits:
                fresh(here)
        assert hits == wanted, f"run {number} came to its end {TRIES} times"
        kills += hits
        again = project.run(here, *flags)
        assert again.code == 0, again.said
        assert expected.differs(outcome(here)) == [], f"run {number}"
    return kills


def curves(work: Path) -> dict[str, list[tuple[int, float]]]:
    """The numbers that TensorBoard shows, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(work / "run" / "1"), size_guidance={"scalars": 0})
    shown.Reload()
    return {name: [(point.step, point.value) for point in shown.Scalars(name)] for name in shown.Tags()["scalars"]}


def rows(work: Path) -> dict[str, list[tuple[int, float]]]:
    """The numbers of `metrics.jsonl`, by name, as exact as TensorBoard keeps them."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in metrics(work):
        for name in row.keys() - {"step", "epoch", "kind"}:
            found.setdefault(name, []).append((row["step"], struct.unpack("f", struct.pack("f", row[name]))[0]))
    return found


def logged_once(project: Project, work: Path, runs: int, seed: int) -> None:
    """Dies up to three times at random operations; then every number of every step must be in both places once."""
    assert project.run(work / "undisturbed", *EPOCHS).code == 0
    expected = rows(work / "undisturbed")
    assert len(expected) >= 4
    assert curves(work / "undisturbed") == expected
    dice = random.Random(seed)
    for number in range(runs):
        here = work / str(number)
        for _ in range(dice.randint(1, 3)):
            where = {"folder": str(here / "run"), "operation": dice.randint(25, 60)}
            project.run(here, *EPOCHS, faults=[("die_at", where)])
        assert project.run(here, *EPOCHS).code == 0
        assert rows(here) == expected, number
        assert curves(here) == expected, number


def test_every_number_is_logged_once(project: Rendered, work: Path) -> None:
    logged_once(project("rich"), work, 2, 5)


@pytest.mark.nightly
def test_every_number_is_logged_once_whenever_it_dies(
    project: Rendered, work: Path, figure: Callable[..., None]
) -> None:
    logged_once(project("rich"), work, 20, 6)

    figure(
        "B10 logged once",
        "runs that died up to three times: metrics.jsonl and TensorBoard have each number once",
        20,
        20,
    )


def test_dead_at_any_operation_on_the_disk_nothing_is_lost(project: Rendered, work: Path) -> None:
    crash_everywhere(project("single"), work, 3)


@pytest.mark.parametrize("name", ["rich", "sampler"])
def test_killed_at_random_nothing_is_lost(project: Rendered, work: Path, name: str) -> None:
    kill_at_random(project(name), work, 3, 1, "--epochs", "6")


@pytest.mark.nightly
@pytest.mark.parametrize("name", MODES)
def test_dead_at_any_operation_in_every_mode(
    project: Rendered, work: Path, name: str, figure: Callable[..., None]
) -> None:
    points = crash_everywhere(project(name), work)

    figure("B1 exact resume", f"{name}: dead at the n-th operation on the disk, every n", points, points)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "runs"), [("single", 100), *((name, 20) for name in [*MODES[1:], "words", "angles", "labels", "triplets"])]
)
def test_killed_at_random_in_every_mode(
    project: Rendered, work: Path, name: str, runs: int, figure: Callable[..., None]
) -> None:
    kills = kill_at_random(project(name), work, runs, 2, "--epochs", "12")

    figure("B1 exact resume", f"{name}: runs killed one to three times at random ({kills} kills)", runs, runs)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "runs"), [("boxes", 20), ("detector", 5), ("masks", 20), *((name, 3) for name in LARGE_NETWORKS)]
)
def test_killed_at_random_with_boxes_and_masks(
    project: Rendered, work: Path, name: str, runs: int, figure: Callable[..., None]
) -> None:
    kills = kill_at_random(project(name), work, runs, 3, "--epochs", "3")

    figure("B1 exact resume", f"{name}: runs killed one to three times at random ({kills} kills)", runs, runs)


def cut_power(project: Project, work: Path, every: int) -> int:
    """Each of so many of the states that a power cut may leave at every operation; returns how many were tried."""
    expected = undisturbed(project, work, *EPOCHS)
    safe = safe_before(operations(project, work, *EPOCHS))
    states = [*product(range(1, len(safe) + 1), POWER_CUTS, (False, True))][::every]
    for point, kind, undo in states:
        here = work / f"{point} {kind} {undo}"
        where = {"folder": str(here / "run"), "operation": point, "kind": kind, "undo_renames": undo}
        assert project.run(here, *EPOCHS, faults=[("power_cut_at", where)]).code == KILLED
        assert newest_good(here) >= safe[point - 1], here.name
        again = project.run(here, *EPOCHS)
        assert again.code == 0, f"{here.name}: {again.said}"
        assert expected.differs(outcome(here)) == [], here.name
    return len(states)


def test_a_power_cut_is_like_a_kill(project: Rendered, work: Path) -> None:
    cut_power(project("single"), work, 41)  # at one operation in three or four, every kind in turn


@pytest.mark.nightly
def test_a_power_cut_at_any_operation_is_like_a_kill(
    project: Rendered, work: Path, figure: Callable[..., None]
) -> None:
    states = cut_power(project("single"), work, 1)

    figure("B3 power cut", "states of the disk: what was not made safe is lost or torn, renames undone", states, states)
