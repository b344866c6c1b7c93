"""Full disks, numbers that are none, loader workers that die or hang: each ends in a sentence, and loses nothing."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import FLAGS, Fault, Project, checkpoints, outcome, steps, verifies

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4"]


def one_checkpoint(project: Project, work: Path) -> int:
    """The size in bytes of the largest file and of a whole checkpoint."""
    newest = checkpoints(work) / str(steps(work)[-1])
    return sum(path.stat().st_size for path in newest.iterdir())


def full_disk(project: Project, work: Path, sizes: int) -> int:
    """No file may grow beyond a limit, from nothing to more than a checkpoint needs; returns how many limits."""
    assert project.run(work / "undisturbed", *EPOCHS).code == 0
    expected = outcome(work / "undisturbed")
    largest = max(path.stat().st_size for path in (checkpoints(work / "undisturbed") / "12").iterdir())
    for number in range(sizes):
        limit = 300 + number * largest * 6 // 5 // sizes
        here = work / str(limit)
        assert project.run(here, *EPOCHS, faults=[("die_at", {"folder": str(here / "run"), "operation": 32})]).code
        before = steps(here)
        assert before

        ended = project.run(here, *EPOCHS, faults=[("file_limit", {"size": limit})])

        assert ended.code in ((0, 5) if limit > largest else (5,)), ended.said
        assert "Traceback" not in ended.said, ended.said
        if limit <= largest:
            assert "epoch 4/4" in ended.said, ended.said  # training went on
            assert re.search(r"File too large: [\d.]+ MB needed, [\d.]+ MB free", ended.said), ended.said
        assert all(verifies(checkpoints(here) / str(step)) for step in before if step in steps(here))
        assert verifies(checkpoints(here) / str(steps(here)[-1]))
        assert project.run(here, *EPOCHS).code == 0
        assert expected.differs(outcome(here)) == [], limit
    return sizes


def test_a_full_disk_costs_the_newest_checkpoint_only(project: Rendered, work: Path) -> None:
    full_disk(project("rich"), work, 3)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["single", "rich"])
def test_no_full_disk_costs_more(project: Rendered, work: Path, name: str, figure: Callable[..., None]) -> None:
    sizes = full_disk(project(name), work, 20)

    figure("B4 full disk", f"{name}: a limit to the size of files, from nothing to a checkpoint", sizes, sizes)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.nightly
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
@pytest.mark.parametrize("name", ["single", "rich"])
def test_a_disk_that_fills_up(project: Rendered, work: Path, name: str, figure: Callable[..., None]) -> None:
    trained = project(name)
    assert trained.run(work / "undisturbed", *EPOCHS).code == 0
    expected = outcome(work / "undisturbed")
    size = one_checkpoint(trained, work / "undisturbed")
    for number in range(20):
        here = work / str(number)
        with small_disk(here / "run", 40_000 + size * number // 4):
            ended = trained.run(here, *EPOCHS)
            assert ended.code in (0, 5), ended.said
            assert "Traceback" not in ended.said, ended.said
            if ended.code:
                assert "No space left on device" in ended.said
            assert all(verifies(checkpoints(here) / str(step)) for step in steps(here))
            shutil.copytree(here / "run", here / "roomy" / "run")
        shutil.copy(here / "samples.jsonl", here / "roomy")
        assert trained.run(here / "roomy", *EPOCHS).code == 0
        assert expected.differs(outcome(here / "roomy")) == [], number

    figure("B4 full disk", f"{name}: file systems from nothing to five checkpoints", 20, 20)


def poisoned(project: Project, work: Path, where: str, step: int, value: str, only_rank: int | None = None) -> None:
    """One number of one step is none: the run must stop by itself, name steps and items, and go on from before."""
    spoil: Fault = (
        "poison",
        {"package": project.package, "where": where, "step": step, "value": float(value), "only_rank": only_rank},
    )
    ended = project.run(work, *EPOCHS, faults=[spoil])

    assert set(ended.codes) == {6}, ended.said
    said = re.search(r"NaN or infinite in steps (\d+) to (\d+)", ended.said)
    assert said, ended.said
    assert int(said[1]) <= step <= int(said[2])
    log = (work / "run" / "1" / "train.log").read_text()
    assert re.search(rf"the items of steps {said[1]} to {said[2]}: \[\d", log), log
    assert "the items of steps" not in ended.said, "a thousand numbers in the terminal"
    stands = "the last good checkpoint stands" if steps(work) else "there is no checkpoint from before"
    assert stands in ended.said, ended.said
    assert all(saved < step for saved in steps(work))


@pytest.mark.parametrize(("where", "value"), [("input", "nan"), ("loss", "inf"), ("gradient", "nan")])
def test_a_number_that_is_none_stops_the_run_before_it_is_saved(
    project: Rendered, work: Path, where: str, value: str
) -> None:
    single = project("single")
    assert single.run(work / "undisturbed", *EPOCHS).code == 0

    poisoned(single, work / "run", where, 8, value)

    assert single.run(work / "run", *EPOCHS).code == 0
    assert outcome(work / "undisturbed").differs(outcome(work / "run")) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["single", "rich", "ddp", "fsdp"])
def test_no_such_number_is_ever_saved(project: Rendered, work: Path, name: str, figure: Callable[..., None]) -> None:
    trained = project(name)
    expected = None
    tried = 0
    for where in ("input", "loss", "gradient"):
        for value in ("nan", "inf"):
            for step in range(1, 13) if name == "single" else (2, 3, 7, 12):
                here = work / f"{where} {value} {step}"
                poisoned(trained, here, where, step, value, only_rank=step % 2 if trained.ranks > 1 else None)
                if step == 7:
                    if expected is None:
                        assert trained.run(work / "undisturbed", *EPOCHS).code == 0
                        expected = outcome(work / "undisturbed")
                    assert trained.run(here, *EPOCHS).code == 0
                    assert expected.differs(outcome(here)) == []
                tried += 1

    ranks = ", on one rank only" if trained.ranks > 1 else ""
    figure("B8 NaN", f"{name}: NaN or infinity in an image, the loss, one gradient{ranks}", tried, tried)


def test_a_gradient_too_large_to_square_poisons_no_optimizer(project: Rendered, work: Path) -> None:
    poisoned(project("single"), work, "gradient", 8, "1e30")


def test_a_large_number_is_no_broken_one(project: Rendered, work: Path) -> None:
    ended = project("single").run(work, *EPOCHS, faults=[("huge", {"package": project("single").package})])
    assert ended.code == 0, ended.said


def plainly(project: Project, work: Path, *flags: str, fault: Fault | None = None) -> subprocess.Popen[str]:
    """Training in a process without our server, whose end is that of an ordinary program."""
    code = f"import {project.package}.train as module, sys; from tests.reliability.crash import faults\n"
    if fault:
        code += f"faults.{fault[0]}(**{fault[1]!r})\n"
    code += "sys.exit(module.launch(module.Options, module.train, module.show_plan))"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(project.folder)]),
    }
    argv = [*FLAGS, "--data-dir", str(project.images), "--run-dir", str(work / "run"), *project.flags, *flags]
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def left_over(group: int) -> list[str]:
    """The processes of a group that are still there."""
    listed = subprocess.run(  # status 1 if there is none
        ["ps", "-o", "pid=,stat=,args=", "-g", str(group)], check=False, capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if line.split()[1][0] != "Z"]


@pytest.mark.timed
def test_a_worker_that_hangs_ends_the_run_with_a_sentence_and_leaves_no_process(project: Rendered, work: Path) -> None:
    workers = project("workers")
    hang: Fault = ("bad_worker", {"package": workers.package, "what": "hang", "number": 30})

    started = plainly(workers, work, *EPOCHS, "--loader-timeout", "2", fault=hang)
    began = time.monotonic()
    said = started.communicate(timeout=60)[1]

    assert started.returncode == 2, said
    last = f"{workers.images}/train/class2/4.png"  # of one worker; the other has read on
    assert re.search(rf"answered for 2 seconds \(read last: .*{last}.*\); raise --loader-timeout", said), said
    assert "Traceback" not in said
    assert time.monotonic() - began < 25
    assert left_over(started.pid) == []


def dead_workers(project: Project, work: Path, times: int) -> int:
    """Kills a loader worker at a random moment; returns how often that ended the run."""
    assert project.run(work / "undisturbed", *EPOCHS).code == 0
    expected = outcome(work / "undisturbed")
    dice = random.Random(3)
    hit = 0
    for number in range(times):
        here = work / str(number)
        faults: list[Fault] = [
            ("kill_a_worker", {"after": dice.uniform(0, 0.5)}),
            ("slow", {"package": project.package, "seconds": 0.05}),
        ]
        began = time.monotonic()
        ended = project.run(here, *EPOCHS, faults=faults)
        assert time.monotonic() - began < 10 + 2
        if ended.code:
            hit += 1
            assert ended.code == 2, ended.said
            assert "a loader worker died, often because memory" in ended.said
            assert "Traceback" not in ended.said, ended.said
            assert project.run(here, *EPOCHS).code == 0
        assert expected.differs(outcome(here)) == []
    return hit


@pytest.mark.timed
def test_a_dead_worker_is_a_sentence(project: Rendered, work: Path) -> None:
    assert dead_workers(project("workers"), work, 4) > 0


@pytest.mark.parametrize("fault", ["kill_a_worker_at_its_start", "kill_a_worker_in_a_fork"])
def test_a_worker_that_dies_while_others_start_is_a_sentence(project: Rendered, work: Path, fault: str) -> None:
    ended = project("workers").run(work, *EPOCHS, faults=[(fault, {})])

    assert ended.code == 2, ended.said
    assert "a loader worker died, often because memory" in ended.said
    assert "Traceback" not in ended.said, ended.said


@pytest.mark.nightly
@pytest.mark.timed
def test_dead_workers_are_sentences(project: Rendered, work: Path, figure: Callable[..., None]) -> None:
    hit = dead_workers(project("workers"), work, 50)

    figure("B6 loader workers", f"killed at random, a sentence within 10 s ({hit} before the end)", 50, 50)


@pytest.mark.parametrize(("what", "why"), [("raise", "Input/output error"), ("sizes differ", "sizes differ")])
def test_a_worker_that_raises_says_why(project: Rendered, work: Path, what: str, why: str) -> None:
    workers = project("workers")
    raises: Fault = ("bad_worker", {"package": workers.package, "what": what, "number": 30})

    ended = workers.run(work, *EPOCHS, faults=[raises])

    assert ended.code != 0
    assert why in ended.said
    assert "worker died" not in ended.said


@pytest.mark.parametrize("unnoticed", [[], [("unnoticed_workers", {})]], ids=["by signal", "by its absence"])
def test_a_worker_that_crashes_is_told_with_what_it_read(project: Rendered, work: Path, unnoticed: list[Fault]) -> None:
    workers = project("workers")
    crash: Fault = ("bad_worker", {"package": workers.package, "what": "crash", "number": 30})

    ended = workers.run(work, *EPOCHS, faults=[crash, *unnoticed])

    assert ended.code == 2, ended.said
    assert "a loader worker crashed" in ended.said
    assert "killed by signal: Segmentation fault" in ended.said
    assert f"it read {workers.images}/train/class2/4.png last" in ended.said  # the 31st by name: 0, 1, 10, 11, 2, 3, 4
    assert "memory" not in ended.said
    assert "Traceback" not in ended.said


def test_an_error_of_the_data_set_is_not_taken_for_a_dead_worker(project: Rendered, work: Path) -> None:
    workers = project("workers")
    raises: Fault = ("bad_worker", {"package": workers.package, "what": "no more", "number": 30})

    ended = workers.run(work, *EPOCHS, faults=[raises])

    assert ended.code == 1, ended.said
    assert "EOFError: no more" in ended.said
    assert "Traceback" in ended.said
    assert "worker died" not in ended.said


def test_what_a_worker_cannot_send_is_no_want_of_memory_either(project: Rendered, work: Path) -> None:
    workers = project("workers")
    length = "    def __len__(self) -> int:\n        return len(self.paths)\n"
    collate = "    def collate(self, items: Any) -> Any:\n        return items, lambda: None\n\n"
    lambdas = ("PACKAGE/data.py", length, collate + length)

    ended = workers.changed(work / "code", [lambdas]).start(work, *EPOCHS).wait(60)

    assert ended.code == 1, ended.said
    assert re.search("(PicklingError|AttributeError): Can't (get local|pickle)", ended.said), ended.said
    assert "ulimit" not in ended.said


@pytest.mark.timed
def test_a_worker_that_is_frozen_with_batches_to_hand_over_is_not_waited_for(project: Rendered, work: Path) -> None:
    workers = project("workers")
    faults: list[Fault] = [
        ("bad_worker", {"package": workers.package, "what": "freeze", "number": 30}),
        ("slow", {"package": workers.package, "seconds": 0.3}),
    ]

    began = time.monotonic()
    # of 12 batches an epoch, of which some wait while an item of another is read
    ended = workers.start(work, *EPOCHS, "--batch-size", "4", "--loader-timeout", "2", faults=faults).wait(60)

    assert ended.code == 2, ended.said
    assert re.search(r"no loader worker answered for \d+ seconds \(read last: .*\); raise --loader-timeout", ended.said)
    assert "Traceback" not in ended.said
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("what", ["hang", "freeze"])
def test_a_signal_while_waiting_for_a_worker_saves_at_once(project: Rendered, work: Path, what: str) -> None:
    workers, flags = project("workers"), [*EPOCHS, "--batch-size", "4"]
    assert workers.run(work / "whole", *flags).code == 0
    faults: list[Fault] = [
        ("bad_worker", {"package": workers.package, "what": what, "number": 30}),
        ("slow", {"package": workers.package, "seconds": 0.3}),
        ("signal_after", {"seconds": 6, "number": 15}),
    ]

    began = time.monotonic()
    stopped = workers.start(work / "run", *flags, faults=faults).wait(60)
    assert stopped.code == 143, stopped.said
    assert time.monotonic() - began < 6 + 10 + 10
    assert workers.run(work / "run", *flags).code == 0
    assert outcome(work / "whole").differs(outcome(work / "run")) == []


@pytest.mark.parametrize("name", ["ddp_plain", pytest.param("fsdp_plain", marks=pytest.mark.nightly)])
def test_a_signal_while_one_of_several_waits_for_a_worker_stops_all_before_they_are_killed(
    project: Rendered, work: Path, name: str
) -> None:
    ranks = project(name)
    flags = [*EPOCHS, "--cache-mb", "0", "--num-workers", "1"]
    assert ranks.run(work / "whole", *flags).code == 0
    one = {"package": ranks.package, "where": "step", "number": 15, "group": True}
    saved = ranks.run(work / "run", *flags, "--agree-every", "1", faults=[("signal_in", {**one, "time_": 3})])
    assert saved.code == 143, saved.said
    hang: Fault = ("bad_worker", {"package": ranks.package, "what": "hang", "number": 30})

    began = time.monotonic()
    stopped = ranks.run(work / "run", *flags, faults=[hang, ("signal_in", {**one, "time_": 1})])

    assert sorted(stopped.codes) == [1, 5], stopped.said
    assert time.monotonic() - began < 5 + 10 + 10
    assert re.search(r"stopped by a signal, not saved: no loader worker answered for \d+ seconds", stopped.said)
    assert stopped.said.count("another process was lost") == 1, stopped.said
    assert "Traceback" not in stopped.said
    again = ranks.run(work / "run", *flags)
    assert "going on after step 3" in again.said
    assert outcome(work / "whole").differs(outcome(work / "run")) == []


@pytest.mark.parametrize(
    "fault",
    [
        *(("few_files", {"count": count}) for count in (24, 28, 32, 40)),
        *(
            pytest.param(
                ("small_shm", {"size": size}), marks=pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
            )
            for size in (4096, 131072, 180224, 262144)
        ),
    ],
    ids=lambda fault: "-".join([fault[0], *map(str, fault[1].values())]),
)
def test_little_to_share_with_workers_is_told_as_that(project: Rendered, work: Path, fault: Fault) -> None:
    began = time.monotonic()
    ended = project("workers").start(work, *EPOCHS, "--image-size", "64", faults=[fault]).wait(180)

    assert ended.code == 2, f"{time.monotonic() - began} s: {ended.said}"
    assert "Traceback" not in ended.said, ended.said
    assert re.search("error: .*(ulimit|/dev/shm)", ended.said), ended.said
