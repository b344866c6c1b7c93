"""Every file of a run folder, broken in every way at every moment: a sentence or business as usual, and nothing is lost.

Never a traceback, a hang, a false statement, or a lost checkpoint. What is put back later goes on to the same bits.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reliability.crash.faults import DAMAGES, damage
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Ended, Fault, Project, checkpoints, steps, verifies

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--keep", "9"]
STEP = "checkpoints/7"  # where the run was stopped that is to go on; the next checkpoints are 9 and 12
FILES = [
    "",
    "options.json",
    "options.json.tmp",
    "lock",
    "train.log",
    "metrics.jsonl",
    "curves.png",
    "events",
    "checkpoints",
    "checkpoints/3",
    *(f"{STEP}{name}" for name in ("", "/MANIFEST.json", "/state.json", "/model.pt", "/optimizer.pt")),
    "checkpoints/12",
    "checkpoints/.tmp-12",
    "checkpoints/.del-12",
]
START, WHILE, READERS = "the start", ["a step", "the last save", "the end"], ["evaluate", "predict", "engine.__main__"]


class Case(NamedTuple):
    """A file of the run's folder, what becomes of it, and when, or under which program."""

    file: str
    kind: str
    when: str


# Those that once hung, were a traceback, or were told as something else; the others are tried at night.
SAMPLE = [
    Case("", "unreadable", "evaluate"),
    Case("", "missing", "a step"),
    Case("", "missing", "the last save"),
    Case("", "missing", "evaluate"),
    Case("", "read-only", "evaluate"),
    Case("options.json", "FIFO", START),
    Case("options.json", "missing", "a step"),
    Case("options.json.tmp", "FIFO", "a step"),
    Case("lock", "link to nowhere", START),
    Case("train.log", "a folder", START),
    Case("train.log", "FIFO", START),
    Case("metrics.jsonl", "FIFO", START),
    Case("metrics.jsonl", "FIFO", "the end"),
    Case("metrics.jsonl", "missing", "the end"),
    Case("curves.png", "FIFO", "the end"),
    Case("curves.png", "a folder", "the end"),
    Case("events", "FIFO", "a step"),
    Case("checkpoints", "FIFO", "a step"),
    Case("checkpoints", "unreadable", "the last save"),
    Case("checkpoints/7/state.json", "FIFO", START),
    Case("checkpoints/7/model.pt", "unreadable", START),
    Case("checkpoints/12", "link to nowhere", "the last save"),
    Case("checkpoints/12", "garbage", START),
    Case("checkpoints/.tmp-12", "FIFO", "the last save"),
    Case("checkpoints/.del-12", "garbage", "a step"),
]


class Base(NamedTuple):
    """A run that was stopped in its third epoch, the same one undisturbed, and how many seconds are no hang."""

    stopped: Path
    whole: Path
    limit: float


@pytest.fixture(scope="module")
def base(project: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Base:
    files, work = project("files"), tmp_path_factory.mktemp("base")
    stop: Fault = ("signal_in", {"package": files.package, "where": "forward", "time_": 7, "number": 15})
    assert files.run(work / "stopped", *EPOCHS, faults=[stop]).code == 143
    began = time.monotonic()
    assert files.run(work / "whole", *EPOCHS, faults=[("picture", {"package": files.package})]).code == 0
    seconds = time.monotonic() - began
    found = {path.relative_to(work / "whole/run/1").as_posix() for path in (work / "whole/run/1").rglob("*")}
    found = {re.sub(r"checkpoints/\d+", STEP, name) for name in found}
    assert {re.sub("events.*", "events", name) for name in found} <= {*FILES}, "a file of a run that is not in the list"
    assert steps(work / "stopped") == [3, 6, 7]
    return Base(work / "stopped", work / "whole", 10 + 4 * seconds)


def good(work: Path) -> set[int]:
    """The steps whose checkpoints verify."""
    return {step for step in steps(work) if verifies(checkpoints(work) / str(step))}


def weights(work: Path) -> dict[str, str]:
    """The hashes of the tensors of the last checkpoint, which are those in its files."""
    assert 12 in good(work), "finished without its last checkpoint"
    files = json.loads((checkpoints(work) / "12" / "MANIFEST.json").read_text())["files"]
    return {name: facts["sha256"] for name, facts in files.items() if name.endswith(".pt")}


def told_truly(ended: Ended, work: Path) -> None:
    """It is a sentence, and it is so."""
    for words in ("Traceback", "Exception ignored", "[Errno"):
        assert words not in ended.said, ended.said
    no_run = "is not the folder of a run" in ended.said and not (work / "run/1/options.json").exists()
    assert ended.code in ((2,) if no_run else (0, 4, 5)), ended.said
    if "the ones before stand" in ended.said:
        assert good(work), ended.said
    if ended.code:
        assert ended.said.splitlines()[-1].startswith("error: "), ended.said
    for step in re.findall(r"checkpoint (\d+) could not be saved", ended.said):
        assert int(step) not in good(work), ended.said
    for path in re.findall(r"done: .*; (/.*png)", ended.said):
        assert Path(path).read_bytes().startswith(b"\x89PNG")
    for path in re.findall(r"(\S+) is neither a folder nor a link to one", ended.said):
        assert not Path(path).is_dir()
        assert not Path(path).name.endswith((".json", ".jsonl", ".log", "lock", ".png"))


def broken(project: Project, base: Base, work: Path, case: Case) -> None:
    """Breaks a run, looks at what is said and left; what is then put back goes on to the same bits."""
    shutil.copytree(base.stopped, work)
    name = case.file if case.file != "events" else next(path.name for path in (work / "run/1").glob("events*"))
    path, aside, before = work / "run/1" / name, work / "aside", good(work)
    change = {"path": str(path), "kind": case.kind, "aside": str(aside)}
    faults: list[Fault] = [("bound_by_permissions", {})]
    if case.when == "the end" or case.file in ("", "curves.png"):
        faults.append(("picture", {"package": project.package}))
    module, words = "train", EPOCHS
    if case.when in WHILE:
        faults.append(("damage_when", {"package": project.package, "when": case.when, **change}))
    else:
        damage(**change)
    if case.when in READERS:
        module, words = case.when, [str(work / "run/1")]
        words += [str(project.images / "val/class0/0.png")] * (module == "predict")

    ended = project.start(work, *words, faults=faults, module=module).wait(base.limit)
    assert ended.code >= 0, f"it hangs: {ended.said}"
    told_truly(ended, work)
    if module != "train":
        return
    if case.file in ("", "checkpoints"):
        before = set()  # they are kept aside
    lost = {step for step in before - good(work) if case.file.split("/")[1:2] != [str(step)]}
    assert not lost, f"lost {lost}: {ended.said}"
    if ended.code or case.when == "the end":
        put_back(path, aside, case)
        again = project.start(work, *EPOCHS).wait(base.limit)
        assert again.code == 0, f"{ended.said}\nwhen it was put back: {again.said}"
    assert weights(work) == weights(base.whole)


def put_back(path: Path, aside: Path, case: Case) -> None:
    """What was there is there again, unless it is there all the same."""
    if case.kind in ("unreadable", "read-only") and path.exists():
        path.chmod(0o755 if path.is_dir() else 0o644)
    elif aside.exists():
        remove(path)
        aside.rename(path)
    else:
        remove(path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def name_of(case: Case) -> str:
    return f"{case.file or 'folder'} {case.kind} {case.when}"


@pytest.mark.parametrize("case", SAMPLE, ids=name_of)
@pytest.mark.figure("C2 broken files of a run", "one damage of each file, before, in and at the end of a run")
def test_a_broken_file_of_a_run_is_a_sentence_or_nothing(project: Rendered, base: Base, work: Path, case: Case) -> None:
    broken(project("files"), base, work, case)


@pytest.mark.nightly
@pytest.mark.parametrize("file", FILES)
def test_every_broken_file_of_a_run_is_a_sentence_or_nothing(
    project: Rendered, base: Base, work: Path, file: str, figure: Callable[..., None]
) -> None:
    tried, failed = 0, {}
    for kind in DAMAGES:
        for when in [START, *WHILE, *READERS]:
            here, tried = work / str(tried), tried + 1
            try:
                broken(project("files"), base, here, Case(file, kind, when))
            except (AssertionError, OSError) as problem:
                failed[f"{kind} {when}"] = str(problem)
            shutil.rmtree(here)

    assert not failed
    name = file.replace("7", "N").replace("12", "N") or "the folder of the run"
    what = f"{name}: {len(DAMAGES)} damages, before, in and at the end of a run"
    figure("C2 broken files of a run", what, tried, tried)
