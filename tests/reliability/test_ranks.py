"""Several processes: they do the work of one, hand runs to each other, and survive each other's deaths."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import FLAGS, ROOT, Fault, Project, checkpoints, make, metrics, outcome, steps

UNLIKE_RANKS = pytest.mark.figure(
    "C4 ranks that see other things",
    "options, files, classes, weights or sources of one process alone: all stop with one sentence",
)

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--keep", "99"]
LONG = ["--epochs", "60", "--keep", "99"]  # some seconds, in which something can happen
STOP: dict[str, Any] = {"where": "forward", "time_": 5, "number": 15}
HANDLED = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"


# ONE FORMAT FOR ALL


def weights(work: Path, step: int) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint."""
    loaded: dict[str, torch.Tensor] = torch.load(checkpoints(work) / str(step) / "model.pt", weights_only=True)
    return loaded


def decisive(name: str, value: torch.Tensor) -> torch.Tensor:
    """A weight without the bias of attention's keys: it changes no output, so its gradient is rounding alone."""
    if not name.endswith("qkv.bias"):
        return value
    queries, _, values = value.chunk(3)
    return torch.cat([queries, values])


def same(one: Any, other: Any) -> bool:
    """Whether two nested dictionaries of tensors are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def losses(work: Path) -> list[float]:
    """The loss of each step that was logged."""
    return [row["train/loss"] for row in metrics(work, "train")]


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
    saved = torch.load(checkpoints(here) / str(step) / "optimizer.pt", weights_only=True)["state"]

    loaded = work / "loaded.pt"
    ended = other.run(here, *flags, faults=[("note_loaded", {"package": other.package, "path": str(loaded)})])

    assert ended.code == 0, ended.said
    assert f"going on after step {step}" in ended.said
    assert same(torch.load(loaded, weights_only=True), {"model": weights(here, step), "optimizer": saved})
    assert len(losses(here)) == 12
    assert losses(here) == pytest.approx(losses(work / "whole"), abs=1e-5)
    expected = weights(work / "whole", 12)
    for name, value in weights(here, 12).items():
        torch.testing.assert_close(decisive(name, value), decisive(name, expected[name]), rtol=0, atol=1e-5)


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
    """The images of each batch of all processes together, by epoch and place in it."""
    found: dict[tuple[int, int], list[int]] = {}
    for line in (work / "samples.jsonl").read_text().splitlines():
        seen = json.loads(line)
        found.setdefault((seen["epoch"], seen["place"]), []).extend(seen["numbers"])
    return {place: sorted(numbers) for place, numbers in found.items()}


def same_batches(project: Project, work: Path, *flags: str, among: list[tuple[int, int]]) -> None:
    """Trains with so many processes, and so many loader workers for each; all must see what one sees without any."""
    seen = {}
    for world, workers in [(1, 0), *among]:
        here = work / f"{world} {workers}"
        more = ["--epochs", "2", "--cache-mb", "0", "--num-workers", str(workers)]
        ended = project.run(here, *more, *flags, ranks=world)
        assert ended.code == 0, ended.said
        seen[world, workers] = batches(here)

    alone = seen[1, 0]
    assert len(alone) == 6
    assert all(len(numbers) == 16 for numbers in alone.values())
    assert len({tuple(numbers) for numbers in alone.values()}) == 6  # chance makes them differ
    assert [pair for pair, found in seen.items() if found != alone] == []


PAIRS = {"ddp_plain": [], "ddp_sampler": ["--per-class", "2"]}


@pytest.mark.parametrize("name", PAIRS)
def test_two_processes_with_workers_see_the_batches_of_one(project: Rendered, work: Path, name: str) -> None:
    same_batches(project(name), work, *PAIRS[name], among=[(2, 2)])


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAIRS)
def test_any_number_of_processes_and_workers_sees_the_same_batches(
    project: Rendered, work: Path, name: str, figure: Callable[..., None]
) -> None:
    among = [(1, 2), (2, 0), (2, 2), (4, 0), (4, 2)]

    same_batches(project(name), work, *PAIRS[name], among=among)

    figure("B11 data order", f"{name}: 1, 2, 4 processes, 0, 2 loader workers: the same images in each batch", 6, 6)


# UNDER TORCHRUN


_begun: list[tuple[Project, subprocess.Popen[str]]] = []


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Ends what a test that failed has left behind."""
    yield
    for project, process in _begun:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pid in trainers(project):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    _begun.clear()


def launch(
    project: Project,
    work: Path,
    *words: str,
    module: str,
    ranks: int = 2,
    restarts: int = 0,
    fault: Fault | None = None,
) -> subprocess.Popen[str]:
    """Processes of a project by their launcher, as a person starts them; they say and print into files in `work`."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    launcher += ["--max-restarts", str(restarts), "--signals-to-handle", HANDLED, "--monitor-interval", "0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    program = ["-m", f"{project.package}.{module}"]
    work.mkdir(parents=True, exist_ok=True)
    if fault:
        script = work / f"faulty_{project.package}.py"
        script.write_text(
            f"from runpy import run_module\nfrom tests.reliability.crash import faults\n\n"
            f"faults.{fault[0]}(**{fault[1]!r})\nrun_module('{project.package}.{module}', run_name='__main__')\n"
        )
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(project.folder)])
        program = [str(script)]
    with (work / "said").open("a") as said, (work / "printed").open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, *launcher, *program, "--", *words],
            cwd=project.folder,
            env=environment,
            stdout=printed,
            stderr=said,
            text=True,
        )
    _begun.append((project, process))
    return process


def torchrun(
    project: Project, work: Path, *flags: str, restarts: int = 0, fault: Fault | None = None
) -> subprocess.Popen[str]:
    """Training in two processes."""
    words = [*FLAGS, "--data-dir", str(project.images), "--run-dir", str(work / "run"), *project.flags, *flags]
    return launch(project, work, *words, module="train", restarts=restarts, fault=fault)


def said(work: Path) -> str:
    """All that was said in a folder, by launchers and processes."""
    return (work / "said").read_text(errors="replace")


def resumed(text: str) -> list[int]:
    """The steps after which a run was gone on with, by its own words."""
    return [int(step) for step in re.findall(r"going on after step (\d+)", text)]


def trainers(project: Project) -> list[int]:
    """The processes that work in a project and are alive now, by rank; not its launchers, nor the tests' servers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            here = (folder / "cwd").readlink() == project.folder
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            here
            and project.package.encode() in words
            and not re.search(rb"torch\.distributed\.run|crash\.server", words)
        ):
            rank = next((int(word[5:]) for word in environment if word.startswith(b"RANK=")), 0)
            found.append((rank, int(folder.name)))
    return [pid for _, pid in sorted(found)]


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
    """A run in which something happens to its processes once a checkpoint is there.

    They must be started again, go on from the newest checkpoint and come to an end; returns after how many seconds the
    old ones were gone.
    """
    process = torchrun(project, work, *LONG, *flags, restarts=3)
    wait_for(lambda: steps(work) and steps(work)[-1] >= at)
    pids = trainers(project)
    newest = steps(work)[-1]
    assert len(pids) == 2
    began = time.monotonic()
    disturb(pids)
    wait_for(lambda: not set(pids) & set(trainers(project)), 180)
    seconds = time.monotonic() - began
    assert process.wait(timeout=180) == 0, said(work)
    assert len(resumed(said(work))) == 1, said(work)
    assert newest <= resumed(said(work))[0] < steps(work)[-1]
    assert trainers(project) == []
    return seconds


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
    for number in range(8):
        name = ("ddp", "fsdp")[number % 2]

        def kill(pids: list[int]) -> None:
            time.sleep(dice.uniform(0, 0.3))
            os.kill(dice.choice(pids), signal.SIGKILL)

        disturbed(project(name), work / str(number), kill, dice.randrange(3, 100))
        assert hashes(work / str(number)) == undisturbed(name), number

    figure("B7 dead or frozen rank", "DDP and FSDP: a rank killed at a random moment, started again by torchrun", 8, 8)


@pytest.mark.nightly
@pytest.mark.parametrize("where", ["step", "saving"])
def test_processes_that_fail_by_themselves_are_started_again(
    project: Rendered, work: Path, undisturbed: Callable[[str], dict[str, str]], figure: Callable[..., None], where: str
) -> None:
    dice = random.Random(where)
    cases = [(name, what) for name in ("ddp", "fsdp") for what in ("die", "exit", "raise")]
    for name, what in cases:
        ranks, here = project(name), work / f"{name} {what}"
        step, operation = dice.randrange(4, 100), dice.randrange(100, 700)
        failing: dict[str, Any] = {"package": ranks.package, "what": what, "rank": dice.randrange(2), "step": step}
        if where == "saving":
            failing |= {"rank": 0, "step": 0, "folder": str(here / "run"), "operation": operation}

        process = torchrun(ranks, here, *LONG, restarts=3, fault=("fail_once", failing))

        assert process.wait(timeout=300) == 0, said(here)
        assert trainers(ranks) == []
        assert len(resumed(said(here))) == 1, said(here)
        if where == "step":
            assert resumed(said(here)) == [(step - 1) // 3 * 3]  # an epoch of three steps ends with a checkpoint
        assert hashes(here) == undisturbed(name), here.name

    moment = {"step": "in a random step", "saving": "while rank 0 saves"}[where]
    words = f"DDP and FSDP: SIGKILL, exit(1) or an exception {moment}, started again by torchrun"
    figure("B7 dead or frozen rank", words, len(cases), len(cases))


@pytest.mark.nightly
@pytest.mark.parametrize("rank", [0, 1])
def test_a_frozen_process_is_found_within_the_timeout(
    project: Rendered,
    work: Path,
    undisturbed: Callable[[str], dict[str, str]],
    figure: Callable[..., None],
    rank: int,
) -> None:
    seconds = disturbed(project("ddp"), work, lambda pids: os.kill(pids[rank], signal.SIGSTOP), 9, "--timeout", "15")

    assert hashes(work) == undisturbed("ddp")
    assert 14 <= seconds < 15 + 30 + 10  # found by the other one, given torchrun's grace, and gone
    figure("B7 dead or frozen rank", f"rank {rank} frozen: ended within the timeout and 30 s of grace", 1, 1)


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
    saved = steps(work)[-1]
    assert saved < 180
    assert f"stopped by {number.name}; the same command goes on after step {saved}" in said(work)
    assert torchrun(ddp, work, *LONG).wait(timeout=180) == 0, said(work)

    assert resumed(said(work)) == [saved]
    assert hashes(work) == undisturbed("ddp")


def test_one_and_two_processes_measure_the_same(project: Rendered, work: Path) -> None:
    resnet = project("resnet_ddp")
    shutil.copytree(resnet.images, work / "images")
    (work / "images" / "val" / "class3" / "4.png").unlink()  # 19 images do not divide by two
    odd = replace(resnet, images=work / "images")
    assert torchrun(odd, work, "--epochs", "1").wait(timeout=180) == 0, said(work)

    printed = []
    for ranks in (1, 2):
        here = work / str(ranks)
        process = launch(odd, here, str(work / "run" / "1"), module="evaluate", ranks=ranks)
        assert process.wait(timeout=180) == 0, said(here)
        printed.append((here / "printed").read_text())

    assert re.search(r"^accuracy +\d", printed[0], re.MULTILINE), printed[0]
    assert re.search(r"^loss +\d", printed[0], re.MULTILINE), printed[0]
    assert printed[1] == printed[0]


def measured_alike(project: Project, work: Path) -> None:
    """Of two processes that train, what they log of an epoch is what one process says of its checkpoint."""
    assert project.run(work, "--epochs", "2").code == 0
    assert steps(work) == [3, 6]

    for row in metrics(work, "val"):
        ended = project.run(work, str(work / "run" / "1"), "--step", str(row["step"]), ranks=1, module="evaluate")
        assert ended.code == 0, ended.said
        logged = [f"{name[4:]:<18} {value:.4f}" for name, value in row.items() if name.startswith("val/")]
        assert len(logged) == 3
        assert set(logged) <= set(ended.said.splitlines())


@pytest.mark.parametrize("name", ["ddp_cnn", "fsdp_cnn", "fsdp_bf16"])
def test_what_is_logged_of_an_epoch_is_what_its_checkpoint_has(project: Rendered, work: Path, name: str) -> None:
    measured_alike(project(name), work)


@pytest.mark.parametrize("name", ["ddp", "fsdp", "ddp_cnn", "fsdp_cnn"])
def test_stopped_between_an_epoch_and_its_evaluation_it_goes_on(project: Rendered, work: Path, name: str) -> None:
    ranks = project(name)
    flags = [*EPOCHS, "--agree-every", "1"]
    assert ranks.run(work / "whole", *flags).code == 0
    here = work / "stopped"
    asked = ("signal_in", {"package": ranks.package, **STOP, "group": True})  # two forward passes are a step
    assert ranks.run(here, *flags, faults=[asked]).code == 128 + signal.SIGTERM
    state = json.loads((checkpoints(here) / "3" / "state.json").read_text())
    assert (state["epoch"], state["batch"]) == (0, 3)

    ended = ranks.run(here, *flags)

    assert ended.code == 0, ended.said
    assert outcome(work / "whole").differs(outcome(here)) == []


# One processor, and nobody else gets Python's lock until this process waits: so a thread of gloo is late with letting go.
LEAVE = """
import os, sys, torch
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from PACKAGE.engine import Process
from PACKAGE.options import Options
with Process.start(Options()) as process:
    net = process.prepare(torch.nn.Linear(2, 2), Options())
    net(torch.ones(1, 2)).sum().backward()
    sys.setswitchinterval(100)
    process.broadcast("the end")
"""


def test_processes_end_without_an_abort(project: Rendered, work: Path) -> None:
    ddp = project("ddp_plain")
    work.mkdir(parents=True)
    script = work / "leave.py"
    script.write_text(LEAVE.replace("PACKAGE", ddp.package))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ddp.folder)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    for _ in range(3):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


# ACCIDENTS


def test_without_torchrun_it_is_one_process(project: Rendered, work: Path) -> None:
    ddp = project("ddp_plain")

    ended = ddp.run(work, "--epochs", "1", ranks=1)

    assert ended.code == 0, ended.said
    assert "1 x cpu" in ended.said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--batch-size", "15"], "a batch of 15 items does not divide among 2 processes; take --batch-size 14"),
        (["--batch-size", "64"], "a batch of 64 is more than 48 items; take a smaller --batch-size"),
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


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_an_epoch_that_is_not_saved_leaves_the_same_weights(project: Rendered, work: Path, name: str) -> None:
    """After it the weights themselves are trained, not the moving average that was measured."""
    worse = ("PACKAGE/train.py", "metrics.compute(), BEST, MORE_IS_BETTER", '{"score": 1.0 * epoch}, "score", False')
    trained = project(name).changed(work / "code", (worse,))  # else each is the best, and saved
    for every in ("1", "4"):
        assert trained.run(work / every, *EPOCHS, "--save-every", every).code == 0
    often, seldom = steps(work / "1"), steps(work / "4")
    assert len(seldom) < len(often) == 4
    assert outcome(work / "1").tensors == outcome(work / "4").tensors


# ALIKE FROM THE START


def renamed(images: Path) -> None:
    """The same images by other names of classes."""
    for split in ("train", "val"):
        (images / split / "class0").rename(images / split / "zclass0")


def mostly_gone(images: Path) -> None:
    """Too few images to train on."""
    for path in (images / "train").rglob("[1-9]*.png"):
        path.unlink()


UNLIKE: dict[str, tuple[dict[str, Any], Callable[[Path], object] | None, str]] = {
    "rate": ({"lr": 0.5}, None, "--lr"),
    "steps between looks": ({"log_every": 3}, None, "--log-every"),
    "batches that do not divide": ({"batch_size": 15}, None, "--batch-size"),
    "names": ({}, renamed, "the data's classes, the training data"),
    "one image less": (
        {},
        lambda images: (images / "train" / "class1" / "3.png").unlink(),
        "the training data",
    ),
    "most images gone": (
        {},
        mostly_gone,
        "the training data",
    ),
    "another image": (
        {},
        lambda images: shutil.copy(images / "train" / "class1" / "3.png", images / "train" / "class0" / "3.png"),
        "the training data",
    ),
    "one less to validate on": (
        {},
        lambda images: (images / "val" / "class1" / "3.png").unlink(),
        "the data to evaluate",
    ),
    "no images": ({}, lambda images: shutil.rmtree(images / "train"), "there is no folder"),
    "none to validate on": ({}, lambda images: shutil.rmtree(images / "val"), "the data's held out"),
    "Python": ({}, None, "the versions"),
}


@pytest.mark.parametrize("kind", UNLIKE)
@pytest.mark.parametrize("name", ["ddp_plain", "fsdp_plain"])
@UNLIKE_RANKS
def test_processes_that_are_not_alike_stop_together(project: Rendered, work: Path, name: str, kind: str) -> None:
    ranks = project(name)
    options, change, sentence = UNLIKE[kind]
    if change:
        shutil.copytree(ranks.images, work / "images")
        change(work / "images")
        options = {"data_dir": str(work / "images")}
    arguments = {"package": ranks.package, "rank": 1, "options": options, "python": "3.1" if kind == "Python" else ""}

    began = time.monotonic()
    ended = ranks.run(work, "--epochs", "1", faults=[("otherwise", arguments)])

    assert ended.codes == [2, 2], ended.said
    assert time.monotonic() - began < 20
    first, second = sorted(ended.said.splitlines(), key=len)
    assert first.removeprefix("error: ") == second.removeprefix("error (rank 1): ")
    assert sentence in first
    assert "rank 1" in first
    assert not (work / "run").exists()


@pytest.mark.parametrize("name", ["ddp_plain", "fsdp_plain"])
def test_processes_may_have_their_images_in_places_of_their_own(project: Rendered, work: Path, name: str) -> None:
    ranks = project(name)
    shutil.copytree(ranks.images, work / "images")
    options = {"data_dir": str(work / "images"), "num_workers": 1, "cache_mb": 0}
    other = ("otherwise", {"package": ranks.package, "rank": 1, "options": options})

    ended = ranks.run(work, "--epochs", "1", faults=[other])

    assert ended.codes == [0, 0], ended.said


@UNLIKE_RANKS
def test_weights_that_one_process_lacks_stop_all(images: Path, work: Path) -> None:
    answers = {"distributed": "ddp", "logger": "none", "weights": "file", "weights_file": "weights.pt"}
    lacking = make(work, "lacking", answers, images)
    script = f"import torch\nfrom {lacking.package}.model import CNN\ntorch.save(CNN(4).state_dict(), 'weights.pt')"
    subprocess.run([sys.executable, "-c", script], cwd=lacking.folder, check=True)
    gone = ("unreadable", {"path": "weights.pt"})
    try:
        ended = lacking.run(work, "--epochs", "1", faults=[("on_rank", {"rank": 1, "fault": gone})])
    finally:
        lacking.close()

    assert ended.codes == [2, 2], ended.said
    assert ended.said.count("weights.pt cannot be read (Input/output error)") == 2
    assert "Traceback" not in ended.said


@pytest.mark.parametrize("rank", [0, 1])
@UNLIKE_RANKS
def test_one_traceback_is_enough_where_one_process_fails(project: Rendered, work: Path, rank: int) -> None:
    ranks = project("ddp_plain")
    fail: Fault = ("fail_once", {"package": ranks.package, "what": "raise", "rank": rank, "step": 3})

    ended = ranks.run(work, *EPOCHS, faults=[fail])

    assert ended.codes == [1, 1], ended.said
    assert ended.said.count("Traceback") == 1, ended.said
    assert "RuntimeError: a fault" in ended.said
    assert ended.said.count("another process was lost") == 1, ended.said
    log = "train.log" if rank == 1 else "train.rank1.log"
    assert "Traceback" in (work / "run" / "1" / log).read_text()
