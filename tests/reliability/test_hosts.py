"""Two hosts with a cable between them: they train together, and survive a cable that is pulled out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.cluster import HOSTS_NEED, Hosts
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import FLAGS, Project, steps
from tests.reliability.test_ranks import hashes, resumed, trainers, wait_for

pytest_plugins = ["tests.reliability.crash.fixtures"]
pytestmark = [pytest.mark.timed, pytest.mark.skipif(HOSTS_NEED is not None, reason=str(HOSTS_NEED))]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts, gone afterwards."""
    found = Hosts()
    yield found
    found.close()


def start(hosts: Hosts, project: Project, work: Path, *flags: str) -> list[subprocess.Popen[str]]:
    """One process on each host, by the launcher as a person starts it there."""
    settings = [*FLAGS, "--data-dir", str(project.images), "--run-dir", str(work / "run"), *project.flags, *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    work.mkdir(parents=True, exist_ok=True)
    begun = []
    for number in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29411", "--rdzv-id", "pair"]
        # both hosts bear the same name here
        launcher += ["--local-addr", f"10.77.0.{number}", "--rdzv-conf", f"is_host={int(number == 1)}"]
        words = [sys.executable, *launcher, "-m", f"{project.package}.train", "--", *settings]
        begun.append(
            subprocess.Popen(
                hosts.command(number, *words),
                cwd=project.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=(work / f"said.{number}").open("a"),
                text=True,
            )
        )
    return begun


def said(work: Path) -> str:
    """What both hosts said."""
    return "\n".join((work / f"said.{number}").read_text(errors="replace") for number in (1, 2))


def test_two_hosts_come_to_the_same_bits_as_one(hosts: Hosts, project: Rendered, work: Path) -> None:
    ddp = project("ddp")
    assert ddp.run(work / "one", "--epochs", "4").code == 0

    ends = [process.wait(timeout=180) for process in start(hosts, ddp, work / "two", "--epochs", "4")]

    assert ends == [0, 0], said(work / "two")
    assert hashes(work / "two") == hashes(work / "one")


@pytest.mark.nightly
def test_a_cable_pulled_out_ends_both_and_the_same_command_goes_on(
    hosts: Hosts, project: Rendered, work: Path, figure: Callable[..., None]
) -> None:
    ddp = project("ddp")
    flags = ["--epochs", "150", "--timeout", "10", "--keep", "999"]
    assert ddp.run(work / "one", *flags).code == 0

    here = work / "two"
    begun = start(hosts, ddp, here, *flags)
    wait_for(lambda: steps(here))
    began = time.monotonic()
    hosts.cable("down")
    wait_for(lambda: not trainers(ddp))
    seconds = time.monotonic() - began
    hosts.cable("up")
    for process in begun:  # the launcher of a host waits much longer for the other; srun would end both
        process.kill()
        process.wait()

    assert 10 <= seconds < 10 + 30  # the time-out, and torchrun's grace
    newest = steps(here)[-1]
    assert newest < 450
    assert [process.wait(timeout=180) for process in start(hosts, ddp, here, *flags)] == [0, 0], said(here)
    assert resumed((here / "said.1").read_text(errors="replace")) == [newest]
    assert hashes(here) == hashes(work / "one")
    figure("B7 dead or frozen rank", "two hosts: the cable between them pulled out, then plugged in again", 1, 1)
