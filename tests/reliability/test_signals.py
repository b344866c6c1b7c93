"""A polite signal saves and leaves, wherever it comes; a second one leaves at once; a finished run stays finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Fault, Outcome, Project, outcome, steps

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--keep", "99"]
PLACES = ["forward", "backward", "save", "evaluation", "worker start"]


def undisturbed(project: Project, work: Path, *flags: str) -> Outcome:
    assert project.run(work / "undisturbed", *EPOCHS, *flags).code == 0
    return outcome(work / "undisturbed")


def at(project: Project, here: Path, place: str, **arguments: Any) -> Fault:
    """The fault that sends a signal there."""
    if place == "save":
        where = {"folder": str(here / "run"), "operation": 30, "number": arguments["number"]}
        return "signal_at_operation", where
    time_ = {"forward": 5, "backward": 5, "evaluation": 3, "worker start": 1}[place]
    return "signal_in", {"package": project.package, "where": place, "time_": time_, **arguments}


def stop_and_go_on(project: Project, here: Path, expected: Outcome, number: int, fault: Fault, *flags: str) -> None:
    """One signal: it must save within a step, say so, and go on to the same bits."""
    ended = project.run(here, *EPOCHS, *flags, faults=[fault])
    assert ended.code == 128 + number, ended.said
    assert f"stopped by {signal.Signals(number).name}; the same command goes on after step" in ended.said
    assert "Traceback" not in ended.said
    again = project.run(here, *EPOCHS, *flags)
    assert again.code == 0, again.said
    assert expected.differs(outcome(here)) == []


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_to_the_whole_group_saves_and_leaves(project: Rendered, work: Path, place: str) -> None:
    workers = project("workers")
    expected = undisturbed(workers, work)
    fault = at(workers, work / "run", place, number=15, **({} if place == "save" else {"group": True}))

    stop_and_go_on(workers, work / "run", expected, 15, fault)


def test_a_signal_that_comes_again_on_the_way_out_changes_nothing(project: Rendered, work: Path) -> None:
    workers = project("workers")
    started = workers.start(work, *EPOCHS, faults=[("slow", {"package": workers.package, "seconds": 0.2})])
    while not (work / "run" / "1" / "metrics.jsonl").exists():
        time.sleep(0.01)

    for _ in range(40):  # within the second after which one more would end it
        os.kill(started.pids[0], signal.SIGINT)
        time.sleep(0.02)
    ended = started.wait()

    assert ended.code == 128 + signal.SIGINT
    assert "stopped by SIGINT; the same command goes on after step" in ended.said
    assert "Traceback" not in ended.said


@pytest.mark.parametrize(
    ("before", "code"), [(["env", "--default-signal=HUP"], 129), (["nohup"], 0)], ids=["closed", "nohup"]
)
def test_a_run_whose_terminal_is_closed_is_saved_and_goes_on_under_nohup(
    project: Rendered, work: Path, before: list[str], code: int
) -> None:
    single = project("single")
    work.mkdir()
    place = ["--data-dir", str(single.images), "--run-dir", str(work / "run"), "--num-workers", "0"]
    train = [sys.executable, "-m", f"{single.package}.train", *place, "--epochs", "300", "--log-every", "1"]
    terminal, inside = os.openpty()
    with (work / "nohup.out").open("w") as file:
        output = inside if code else file
        command = ["setsid", "--ctty", *before, *train]
        process = subprocess.Popen(command, cwd=single.folder, stdin=inside, stdout=output, stderr=output)
    os.close(inside)
    while not (work / "run" / "1" / "metrics.jsonl").exists():
        time.sleep(0.01)
    os.close(terminal)  # which hangs up on the leader of its session

    assert process.wait() == code
    last = work / "run" / "1" / "checkpoints" / str(steps(work)[-1])
    state = json.loads((last / "state.json").read_text())
    assert (state["stopped"], state["epoch"] == 300) == (signal.SIGHUP if code else 0, not code)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["single", "workers", "rich"])
def test_every_signal_in_every_place(project: Rendered, work: Path, name: str, figure: Callable[..., None]) -> None:
    trained = project(name)
    expected = undisturbed(trained, work)
    tried = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        for place in PLACES[: None if name == "workers" else -1]:
            for group in (False, True):
                here = work / f"{number} {place} {group}"
                extra = {} if place == "save" else {"group": group}
                stop_and_go_on(trained, here, expected, number, at(trained, here, place, number=number, **extra))
                tried += 1

    figure("B5 signals", f"{name}: TERM, INT, USR1 to process or group, in every place", tried, tried)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_a_signal_to_one_rank_or_all_stops_all_at_the_same_step(
    project: Rendered, work: Path, name: str, figure: Callable[..., None]
) -> None:
    ranks = project(name)
    expected = undisturbed(ranks, work, "--agree-every", "2")
    tried = 0
    for number in (signal.SIGTERM, signal.SIGUSR1):
        for place in ("forward", "backward", "evaluation"):
            for rank in (0, 1):
                here = work / f"{number} {place} {rank}"
                fault = at(ranks, here, place, number=number, group=rank == 0, only_rank=rank)
                ended = ranks.run(here, *EPOCHS, "--agree-every", "2", faults=[fault])
                # a rank that was not asked itself leaves as by SIGTERM
                assert set(ended.codes) <= {128 + number, 128 + signal.SIGTERM}, ended.said
                assert ranks.run(here, *EPOCHS, "--agree-every", "2").code == 0
                assert expected.differs(outcome(here)) == [], here.name
                tried += 1

    figure("B5 signals", f"{name}: TERM, USR1 to one rank or all, agreed on by both", tried, tried)


@pytest.mark.timed
def test_a_second_signal_leaves_at_once_and_tears_nothing(project: Rendered, work: Path) -> None:
    workers = project("workers")
    expected = undisturbed(workers, work)
    here = work / "run"
    slow: Fault = ("slow", {"package": workers.package, "seconds": 5.0})
    fault = at(workers, here, "worker start", number=15, again=2)  # the second comes in the slow step

    began = time.monotonic()
    ended = workers.run(here, *EPOCHS, faults=[slow, fault])

    assert ended.code == 128 + signal.SIGINT
    assert time.monotonic() - began < 1.2 + 2 + 1  # until the second one, after it, and to start
    assert workers.run(here, *EPOCHS).code == 0
    assert expected.differs(outcome(here)) == []


def test_stopped_at_every_step_of_an_epoch_it_still_ends_with_the_same_bits(project: Rendered, work: Path) -> None:
    rich = project("rich")
    expected = undisturbed(rich, work)
    here = work / "run"

    # each start makes one step, then is stopped: the second and third resume in one epoch, the exact end of an epoch
    stops = 0
    while True:
        fault = at(rich, here, "forward", number=15) if stops == 0 else None
        one = ("signal_in", {"package": rich.package, "where": "backward", "time_": 1, "number": 15})
        ended = rich.run(here, *EPOCHS, faults=[fault or one])
        if ended.code == 0:
            break
        assert ended.code == 143, ended.said
        stops += 1

    assert stops > 5
    assert expected.differs(outcome(here)) == []


def test_stopped_in_every_batch_of_an_evaluation(project: Rendered, work: Path) -> None:
    single = project("single")
    expected = undisturbed(single, work)
    here = work / "run"

    for time_ in (1, 2, 2):
        fault: Fault = (
            "signal_in",
            {"package": single.package, "where": "evaluation", "time_": time_, "number": 10},
        )
        assert single.run(here, *EPOCHS, faults=[fault]).code == 138

    assert single.run(here, *EPOCHS).code == 0
    assert expected.differs(outcome(here)) == []


def test_a_finished_run_stays_finished(project: Rendered, work: Path) -> None:
    single = project("single")
    expected = undisturbed(single, work)
    before = steps(work / "undisturbed")
    made_with = (work / "undisturbed" / "run" / "1" / "options.json").read_bytes()

    ended = single.run(work / "undisturbed", *EPOCHS)
    otherwise = single.run(work / "undisturbed", *EPOCHS, "--lr", "0.5")

    assert ended.code == otherwise.code == 0
    assert "run 1 is finished" in ended.said
    assert "run 1 is finished" in otherwise.said
    assert "--lr was" not in otherwise.said  # nothing was learned with it
    assert (work / "undisturbed" / "run" / "1" / "options.json").read_bytes() == made_with
    assert steps(work / "undisturbed") == before
    assert expected.differs(outcome(work / "undisturbed")) == []


def test_two_processes_never_work_in_one_run(project: Rendered, work: Path) -> None:
    workers = project("workers")
    slow: Fault = ("slow", {"package": workers.package, "seconds": 0.3})
    first = workers.start(work, *EPOCHS, faults=[slow])
    while not (work / "run" / "1" / "metrics.jsonl").exists():
        time.sleep(0.01)

    second = workers.run(work, *EPOCHS)
    third = workers.run(work, *EPOCHS, "--run", "None")
    os.kill(first.pids[0], signal.SIGKILL)
    again = workers.run(work, *EPOCHS)  # at once: its loader workers may still be there
    first.wait()

    assert second.code == 3
    assert "run 1 is in use" in second.said
    assert third.code == 0
    assert (work / "run" / "2" / "metrics.jsonl").exists()
    assert again.code == 0, again.said


@pytest.mark.nightly
def test_a_killed_process_lets_go_of_its_run(project: Rendered, work: Path, figure: Callable[..., None]) -> None:
    workers = project("workers")
    for number in range(20):
        here = work / str(number)
        started = workers.start(here, *EPOCHS, faults=[("slow", {"package": workers.package, "seconds": 0.05})])
        time.sleep(0.1 + number / 20)
        os.kill(started.pids[0], signal.SIGKILL)
        assert workers.run(here, *EPOCHS).code == 0
        started.wait()

    figure("B13 locks", "a run is free as soon as its process was killed, loader workers or not", 20, 20)
