"""Several processes: they do the work of one, hand runs to each other, and survive each other's deaths."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.crash.fixtures import Rendered
from tests.crash.projects import FLAGS, Project, checkpoints, outcome, steps

pytest_plugins = ["tests.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--keep", "99"]
STOP: dict[str, Any] = {"where": "backward", "time_": 5, "number": 15}
HANDLED = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"


# ONE FORMAT FOR ALL


def weights(work: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    loaded: dict[str, torch.Tensor] = torch.load(checkpoints(work) / str(step) / "model.pt", weights_only=True)
    return loaded


def losses(work: Path) -> list[float]:
    """The loss of each step that was logged."""
    rows = [json.loads(line) for line in (work / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows if row["kind"] == "train"]


def handed_over(one: Project, other: Project, work: Path) -> None:
    """A run that begins in one mode, is stopped in the middle of an epoch, and ends in another mode."""
    flags = [*EPOCHS, "--log-every", "1"]
    assert one.run(work / "whole", *flags).code == 0
    here = work / "handed over"
    asked = ("signal_in", {"package": one.package, **STOP, "group": True})
    more = ["--agree-every", "1"] if one.ranks > 1 else []
    assert one.run(here, *flags, *more, faults=[asked]).code == 128 + signal.SIGTERM
    step = steps(here)[-1]
    assert 3 < step < 6

    ended = other.run(here, *flags)

    assert ended.code == 0, ended.said
    assert f"going on after step {step}" in ended.said
    assert len(losses(here)) == 12
    assert losses(here) == pytest.approx(losses(work / "whole"), abs=1e-5)
    expected = weights(work / "whole", 12)
    assert all(torch.allclose(value, expected[name], atol=1e-4) for name, value in weights(here, 12).items())


@pytest.mark.parametrize(("one", "other"), [("ddp_plain", "vit_plain"), ("vit_plain", "fsdp_plain")])
def test_a_run_of_one_mode_goes_on_in_another(project: Rendered, work: Path, one: str, other: str) -> None:
    handed_over(project(one), project(other), work)


@pytest.mark.nightly
def test_a_run_of_any_mode_goes_on_in_any_other(project: Rendered, work: Path, figure: Callable[..., None]) -> None:
    pairs = list(permutations(["vit_plain", "ddp_plain", "fsdp_plain"], 2))
    for one, other in pairs:
        handed_over(project(one), project(other), work / f"{one} {other}")

    figure("B1 exact resume", "runs that begin in one of single, DDP, FSDP and end in another", len(pairs), len(pairs))


def test_one_and_two_processes_have_the_same_losses(project: Rendered, work: Path) -> None:
    flags = [*EPOCHS, "--log-every", "1"]
    for name in ("vit_plain", "ddp_plain"):
        assert project(name).run(work / name, *flags).code == 0

    alone, together = losses(work / "vit_plain"), losses(work / "ddp_plain")

    assert len(alone) == 12
    assert together == pytest.approx(alone, abs=1e-5)


def batches(work: Path) -> dict[tuple[int, int], list[int]]:
    """The images of each batch of all processes together, by epoch and place."""
    found: dict[tuple[int, int], list[int]] = {}
    for line in (work / "samples.jsonl").read_text().splitlines():
        seen = json.loads(line)
        found.setdefault((seen["epoch"], seen["place"]), []).extend(seen["numbers"])
    return {place: sorted(numbers) for place, numbers in found.items()}


@pytest.mark.parametrize("name", ["ddp_plain", "ddp_sampler"])
def test_any_number_of_processes_and_workers_sees_the_same_batches(project: Rendered, work: Path, name: str) -> None:
    ranks = project(name)
    few = ["--per-class", "2"] if name == "ddp_sampler" else []
    seen = {}
    for world, workers in ((1, 0), (2, 2), (4, 0)):
        here = work / f"{world} {workers}"
        flags = ["--epochs", "2", "--cache-mb", "0", "--num-workers", str(workers), *few]
        assert ranks.run(here, *flags, ranks=world).code == 0
        seen[world, workers] = batches(here)

    assert len(seen[1, 0]) == 6
    assert seen[1, 0] == seen[2, 2] == seen[4, 0]


# UNDER TORCHRUN


def torchrun(project: Project, work: Path, *flags: str, restarts: int = 0) -> subprocess.Popen[str]:
    """Two processes of a project by its launcher, as a person starts them."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launcher += ["--max-restarts", str(restarts), "--signals-to-handle", HANDLED, "--monitor-interval", "0.1"]
    words = [*FLAGS, "--data-dir", str(project.images), "--run-dir", str(work / "run"), *project.flags, *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    work.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", f"{project.package}.train", "--", *words],
        cwd=project.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(work / "said").open("a"),
        text=True,
    )


def trainers(project: Project) -> list[int]:
    """The training processes of a project that are alive now."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{project.package}.train".encode() in words and b"torch.distributed.run" not in words:
            found.append(int(folder.name))
    return sorted(found)


def wait_for(what: Callable[[], Any], seconds: float = 90) -> Any:
    """What is asked for, as soon as it is there."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)
    return found


def hashes(work: Path, run: int = 1) -> dict[str, str]:
    """SHA-256 of what the newest checkpoint holds."""
    manifest = json.loads((checkpoints(work, run) / str(steps(work, run)[-1]) / "MANIFEST.json").read_text())
    return {name: facts["sha256"] for name, facts in manifest["files"].items()}


def disturbed(project: Project, work: Path, disturb: Callable[[list[int]], None], at: int, *flags: str) -> float:
    """A run in which something happens to its processes once a checkpoint is there; returns the seconds from then."""
    process = torchrun(project, work, *LONG, *flags, restarts=3)
    wait_for(lambda: steps(work) and steps(work)[-1] >= at)
    began = time.monotonic()
    disturb(trainers(project))
    assert process.wait(timeout=180) == 0, (work / "said").read_text()
    assert trainers(project) == []
    return time.monotonic() - began


LONG = ["--epochs", "60", "--keep", "99"]  # some seconds, in which something can happen


@pytest.fixture(scope="module")
def undisturbed(project: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """What a long run of a project comes to when nobody disturbs it."""
    known: dict[str, dict[str, str]] = {}

    def found(name: str) -> dict[str, str]:
        if name not in known:
            work = tmp_path_factory.mktemp("undisturbed")
            assert project(name).run(work, *LONG).code == 0
            known[name] = hashes(work)
        return known[name]

    return found


def test_a_killed_process_is_started_again_and_loses_nothing(
    project: Rendered, work: Path, undisturbed: Callable[[str], dict[str, str]]
) -> None:
    disturbed(project("ddp"), work, lambda pids: os.kill(pids[-1], signal.SIGKILL), 9)

    assert hashes(work) == undisturbed("ddp")


@pytest.mark.nightly
def test_killed_processes_are_started_again(
    project: Rendered, work: Path, undisturbed: Callable[[str], dict[str, str]], figure: Callable[..., None]
) -> None:
    dice = random.Random(3)
    for number in range(20):
        name = ("ddp", "fsdp")[number % 2]

        def kill(pids: list[int]) -> None:
            time.sleep(dice.uniform(0, 0.3))
            os.kill(dice.choice(pids), signal.SIGKILL)

        disturbed(project(name), work / str(number), kill, dice.randrange(3, 100))
        assert hashes(work / str(number)) == undisturbed(name), number

    figure("B7 dead or frozen rank", "DDP and FSDP: a rank killed at a random step, started again by torchrun", 20, 20)


@pytest.mark.nightly
@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_process_is_found_within_the_timeout(
    project: Rendered,
    work: Path,
    undisturbed: Callable[[str], dict[str, str]],
    figure: Callable[..., None],
    rank: int,
) -> None:
    seconds = disturbed(project("ddp"), work, lambda pids: os.kill(pids[rank], signal.SIGSTOP), 9, "--timeout", "10")

    assert hashes(work) == undisturbed("ddp")
    assert 10 <= seconds < 10 + 30 + 60  # found, given its grace, and the rest of the run
    figure("B7 dead or frozen rank", f"rank {rank} frozen: found within the timeout and 30 s of grace", 1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.nightly)])
def test_a_signal_to_torchrun_saves_and_the_same_command_goes_on(
    project: Rendered, work: Path, undisturbed: Callable[[str], dict[str, str]], number: signal.Signals
) -> None:
    ddp = project("ddp")
    process = torchrun(ddp, work, *LONG)
    wait_for(lambda: steps(work))

    process.send_signal(number)
    assert process.wait(timeout=60) != 0
    assert trainers(ddp) == []
    assert "the same command goes on after step" in (work / "said").read_text()
    assert steps(work)[-1] < 180
    assert torchrun(ddp, work, *LONG).wait(timeout=180) == 0

    assert hashes(work) == undisturbed("ddp")


def test_one_and_two_processes_measure_the_same(project: Rendered, work: Path) -> None:
    resnet = project("resnet_ddp")
    odd = next((resnet.images / "val" / "class3").glob("4.png"))
    kept = odd.read_bytes()
    odd.unlink()  # 19 images do not divide by two
    try:
        assert resnet.run(work, "--epochs", "2").code == 0, work
        run = str(work / "run" / "1")
        said = [resnet.run(work / str(ranks), run, module="evaluate", ranks=ranks).said for ranks in (1, 2)]
    finally:
        odd.write_bytes(kept)

    measured = [re.findall(r"^(accuracy|loss|recall@1) +([\d.]+)$", text, re.MULTILINE) for text in said]
    assert len(measured[0]) >= 2
    assert measured[0] == measured[1]


# ACCIDENTS


def test_without_torchrun_it_is_one_process(project: Rendered, work: Path) -> None:
    ddp = project("ddp_plain")

    ended = ddp.run(work, "--epochs", "1", ranks=1)

    assert ended.code == 0
    assert "1 x cpu" in ended.said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--batch-size", "15"], "a batch of 15 images does not divide among 2 processes; take --batch-size 14"),
        (["--batch-size", "64"], "48 images do not fill a batch of 64; take a smaller --batch-size"),
    ],
)
def test_sizes_that_do_not_go_together_are_a_sentence(
    project: Rendered, work: Path, flags: list[str], sentence: str
) -> None:
    ended = project("ddp_plain").run(work, *flags)

    assert set(ended.codes) == {2}
    assert sentence in ended.said
    assert "Traceback" not in ended.said


def test_a_taken_port_is_a_sentence(project: Rendered, work: Path) -> None:
    ddp = project("ddp_plain")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        where = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        done = subprocess.run(
            [sys.executable, "-m", f"{ddp.package}.train", "--data-dir", str(ddp.images), "--run-dir", str(work)],
            cwd=ddp.folder,
            env={**os.environ, **where, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 2, done.stderr
    assert f"could not meet at 127.0.0.1:{port}" in done.stderr
    assert "--master-port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_of_one_process_says_so_to_torchrun(project: Rendered, work: Path) -> None:
    ended = project("vit_plain").run(work, ranks=2)

    assert set(ended.codes) == {2}
    assert "this project trains in one process, and 2 were started" in ended.said


def test_ranks_keep_equal_records(project: Rendered, work: Path) -> None:
    ddp = project("ddp")
    for name in ("one", "two"):
        assert ddp.run(work / name, *EPOCHS).code == 0

    assert outcome(work / "one").differs(outcome(work / "two")) == []
    assert len(list((work / "one" / "run").glob("[0-9]*"))) == 1
