"""A real Slurm cluster: jobs come back by themselves, and end with the bits of an undisturbed one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.cluster import SLURM_NEEDS, Slurm
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Project, steps
from tests.reliability.test_ranks import hashes, resumed, wait_for

pytest_plugins = ["tests.reliability.crash.fixtures"]
pytestmark = [pytest.mark.timed, pytest.mark.skipif(SLURM_NEEDS is not None, reason=str(SLURM_NEEDS))]
LONG = ["--epochs", "150", "--keep", "999"]  # some seconds, in which something can happen


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Two nodes."""
    found = Slurm(tmp_path_factory.mktemp("slurm"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def undisturbed(project: Rendered, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the job comes to when nobody disturbs it."""
    work = tmp_path_factory.mktemp("undisturbed")
    ended = project("ddp").run(work, *LONG)
    assert ended.code == 0, ended.said
    return hashes(work)


def submit(cluster: Slurm, project: Project) -> str:
    """Hands in the project's own script, as a person does; returns the job's number."""
    settings = [*LONG, "--batch-size", "16", "--log-every", "2", "--data-dir", str(project.images), *project.flags]
    environment = {
        **cluster.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = ["sbatch", "--parsable", "launch/slurm.sh", *settings]
    return subprocess.check_output(command, cwd=project.folder, env=environment, text=True).strip()


def log(project: Project, job: str) -> str:
    """All that a job has said."""
    path = project.folder / f"slurm-{job}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def underway(project: Project, job: str) -> bool:
    """Whether a job has saved something."""
    return bool(steps(project.folder, int(job)))


def ends(cluster: Slurm, project: Project, job: str) -> None:
    """Waits for the end of a job, which must be a good one."""

    def done() -> bool:
        state = cluster.state(job)
        if state == "PENDING":  # a job that comes back waits for two minutes; some seconds are enough
            time.sleep(4)
            cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
        assert state in ("PENDING", "RUNNING", "COMPLETING", "COMPLETED", "REQUEUED"), log(project, job)
        time.sleep(0.5)
        return state == "COMPLETED"

    wait_for(done, 240)


def test_a_job_that_is_asked_to_stop_comes_back_and_ends_with_the_same_bits(
    cluster: Slurm, project: Rendered, undisturbed: dict[str, str]
) -> None:
    ddp = project("ddp")
    job = submit(cluster, ddp)
    wait_for(lambda: underway(ddp, job))

    # to the steps and not to the script, as Slurm sends it 120 s before the time is over
    cluster.ask("scancel", "--signal=USR1", job)
    ends(cluster, ddp, job)

    assert cluster.nodes(job) == "n[1-2]"
    assert log(ddp, job).count("2 x cpu") == 2
    assert cluster.restarts(job) == 1
    stopped = re.findall(r"stopped by SIGUSR1; the same command goes on after step (\d+)", log(ddp, job))
    assert resumed(log(ddp, job)) == [int(step) for step in set(stopped)]
    assert hashes(ddp.folder, int(job)) == undisturbed


@pytest.mark.nightly
@pytest.mark.parametrize("accident", ["requeued", "node"])
def test_a_job_survives_an_accident(
    cluster: Slurm, project: Rendered, undisturbed: dict[str, str], figure: Callable[..., None], accident: str
) -> None:
    ddp = project("ddp")
    job = submit(cluster, ddp)
    wait_for(lambda: underway(ddp, job))

    newest = steps(ddp.folder, int(job))[-1]
    if accident == "requeued":
        cluster.ask("scontrol", "requeue", job)
    else:
        cluster.kill_node("n2")
        wait_for(lambda: cluster.state(job) != "RUNNING", 120)
        cluster.start_node("n2")
    ends(cluster, ddp, job)

    assert cluster.restarts(job) >= 1
    assert newest <= resumed(log(ddp, job))[0] < steps(ddp.folder, int(job))[-1]
    assert hashes(ddp.folder, int(job)) == undisturbed
    words = {"requeued": "a running job requeued", "node": "a node killed under a running job"}[accident]
    figure("B7 dead or frozen rank", f"Slurm, two nodes: {words}", 1, 1)
