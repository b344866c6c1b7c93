"""What updates promise, by many cases: every released version, random edits, and a kill at every call of git."""

import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaffold import paths
from tests.conftest import ROOT, Run, tree
from tests.updates.updating import (
    SEED,
    History,
    answer_sets,
    answers_of,
    append,
    commit,
    copier,
    git,
    history,
    move,
    own_answers,
    releases,
    remove,
    some_answers,
)

__all__ = ["history", "releases"]  # fixtures


# FROM EVERY RELEASED VERSION


def after_an_update(scaffold: Run, releases: History, version: str, answers: dict[str, Any], folder: Path) -> str:
    """What is wrong with an unedited project of a version after an update, or nothing."""
    project = releases.make(folder / "p", version, answers)
    os.chdir(project)
    result = scaffold("update", "--yes")
    if result.code != 0:
        return f"ended with {result.code}: {result.err}"
    if tree(project) != releases.fresh(folder / "fresh", "v1000.0.0", own_answers(project)):
        return "is not what a new project is"
    if any(own_answers(project).get(name, value) != value for name, value in answers.items()):
        return f"has other answers: {own_answers(project)}"
    head = git(project, "rev-parse", "HEAD")
    scaffold("update", "--yes")
    return "" if git(project, "rev-parse", "HEAD") == head else "was updated twice"


def one_set(version: str, folder: Path, releases: History) -> list[dict[str, Any]]:
    return [some_answers(releases.template(version, folder), random.Random(version))]


def all_sets(version: str, folder: Path, releases: History) -> list[dict[str, Any]]:
    return answer_sets(releases.template(version, folder))


@pytest.mark.parametrize(
    "sets", [pytest.param(one_set, id="one"), pytest.param(all_sets, id="all", marks=pytest.mark.nightly)]
)
def test_from_every_released_version_an_unedited_project_becomes_a_new_one(
    scaffold: Run,
    releases: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sets: Callable[[str, Path, History], list[dict[str, Any]]],
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong, count = {}, 0
    for version in releases.versions:
        for number, answers in enumerate(sets(version, tmp_path / f"template-{version}", releases)):
            name = f"{version}-{number}"
            problem = after_an_update(scaffold, releases, version, answers, tmp_path / name)
            count += 1
            if problem:
                wrong[name] = (problem, answers)
            os.chdir(tmp_path)
            shutil.rmtree(tmp_path / name, ignore_errors=True)

    print(f"{count} updates from {', '.join(releases.versions)}")
    assert wrong == {}


def test_edits_of_files_that_the_engine_takes_in_are_kept_and_named(
    scaffold: Run, releases: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = releases.make(tmp_path / "p", "v0.3.6", {"distributed": "ddp", "ema": True})
    monkeypatch.chdir(project)
    names = sorted(path.name for path in (project / "p").glob("*.py"))
    for name in names:
        append(f"p/{name}", f"\n\nMINE = 'in {name}'\n")(project)
    commit(project)

    result = scaffold("update", "--yes")

    files = {name: content.decode(errors="replace") for name, content in tree(project).items()}
    homes = {name: [place for place, text in files.items() if f"MINE = 'in {name}'" in text] for name in names}
    assert [name for name, places in homes.items() if not places] == []
    moved = {name: places for name, places in homes.items() if f"p/{name}" not in places}
    assert {"run.py", "step.py", "seed.py", "checkpoint.py", "distributed.py", "scheduler.py"} <= {*moved}
    for name, places in moved.items():
        told = (f"yours is kept as {places[0]}", f"p/{name} goes to {places[0]}, and your edits with it")
        assert any(words in result.err for words in told), (name, places)
    assert (project / "p" / "engine" / "__init__.py").is_file()


@pytest.mark.nightly
@pytest.mark.parametrize("preset", paths.presets())
def test_an_updated_project_passes_its_tests_and_trains(
    scaffold: Run, releases: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    import yaml

    answers = yaml.safe_load(paths.presets()[preset].read_text())
    project = releases.make(tmp_path / "p", releases.versions[0], answers)
    monkeypatch.chdir(project)
    assert scaffold("update", "--yes").code == 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "quick"], cwd=project, env=environment, check=True)
    if own_answers(project)["weights"] == "none":  # others need a download
        words = ["--epochs", "1", "--num-workers", "0"]
        subprocess.run([sys.executable, "-m", "p.train", *words], cwd=project, env=environment, check=True)


# RANDOM EDITS


def busy_version(history: History) -> None:
    """A version that touches nearly every file, moves some and gives up some."""
    dice = random.Random(0)

    def everywhere(folder: Path) -> None:
        for path in sorted(path for kind in ("jinja", "py") for path in folder.glob(f"template/project/**/*.{kind}")):
            lines = path.read_text().splitlines(keepends=True)
            blank = [number for number, line in enumerate(lines) if line == "\n"]
            for number in dice.sample(blank, min(4, len(blank))):
                lines[number] = "# new in the template\n"
            path.write_text("".join(lines))

    history.release(
        everywhere,
        remove("template/project/tests/test_schedule.py.jinja"),
        remove("template/project/{{ package_name }}/engine/pictures.py"),
        move("template/project/tests/test_data.py.jinja", "template/project/tests/test_images.py.jinja"),
        append("template/project/docs/notes.md", "Notes\n"),
    )


def edit_at_random(project: Path, dice: random.Random) -> list[str]:
    """Edits as an owner might make them; returns the lines that are the owner's."""
    mine: list[str] = []

    def line() -> str:
        mine.append(f"# mine {len(mine)} {dice.random()}")
        return mine[-1] + "\n"

    names = [name for name in git(project, "ls-files").splitlines() if name.endswith((".py", ".md", ".toml"))]
    for _ in range(dice.randint(1, 12)):
        path = project / dice.choice(names)
        kind = dice.choice(
            ["insert", "insert", "delete", "change", "change", "rename", "remove", "mode", "add", "binary"]
        )
        if kind == "add":
            append(f"{dice.choice(['p', 'docs', 'tests', 'new'])}/file_{len(mine)}.py", line())(project)
        elif kind == "binary":
            (project / f"picture_{len(mine)}.png").write_bytes(dice.randbytes(300))
        elif not path.exists():
            continue
        elif kind == "rename":
            path.rename(path.with_name(f"my_{path.name}"))
        elif kind == "mode":
            path.chmod(0o755)
        elif kind == "remove":
            if not any(said in path.read_text() for said in mine):
                path.unlink()
        else:
            lines = path.read_text().splitlines(keepends=True)
            at = dice.randrange(len(lines) + 1)
            size = dice.randint(1, 3)
            if kind != "insert" and any(old.rstrip("\n") in mine for old in lines[at : at + size]):
                continue
            new = [] if kind == "delete" else [line() for _ in range(size)]
            lines[at : at if kind == "insert" else at + size] = new
            path.write_text("".join(lines))
    return mine


@pytest.mark.parametrize("count", [6, pytest.param(200, marks=pytest.mark.nightly)])
def test_after_random_edits_every_line_of_the_user_is_still_there(
    scaffold: Run, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    base = history.make(tmp_path / "base" / "p", "v1.0.0")
    busy_version(history)
    outcomes: dict[int, int] = {}
    lost = {}
    for seed in range(count):
        project = tmp_path / str(seed) / "p"
        shutil.copytree(base, project)
        mine = edit_at_random(project, random.Random(seed))
        commit(project)
        pictures = {name: content for name, content in tree(project).items() if name.endswith(".png")}
        monkeypatch.chdir(project)

        result = scaffold("update", "--yes")

        outcomes[result.code] = outcomes.get(result.code, 0) + 1
        after = tree(project)
        there = {line for content in after.values() for line in content.splitlines()}
        missing = [line for line in mine if line.encode() not in there]
        if missing or result.code not in (0, 3) or any(after.get(name) != pictures[name] for name in pictures):
            lost[seed] = (missing, result.code, result.err)
        if result.code == 0 and any(content.startswith(b"<<<<<<< ") for content in there):
            lost[seed] = (["a conflict was not said"], 0, result.err)

    print(f"{count} edit scripts: {outcomes.get(0, 0)} clean, {outcomes.get(3, 0)} with conflicts")
    assert lost == {}


# KILLED AT ANY MOMENT

# Stands before git in PATH; kills whoever calls it for the n-th time, before or after git has done its work.
SHIM = """#!/bin/bash
echo x >> "$COUNT"
n=$(wc -l < "$COUNT")
if [ "$n" = "$KILL_AT" ] && [ "$KILL_WHEN" = before ]; then kill -9 $PPID; exit 1; fi
"$REAL_GIT" "$@"
code=$?
if [ "$n" = "$KILL_AT" ]; then kill -9 $PPID; touch "$COUNT.done"; fi
exit $code
"""


class Killer:
    """Runs `scaffold update` and kills it at a call of git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        (folder / "git").write_text(SHIM)
        (folder / "git").chmod(0o755)

    def update(self, project: Path, at: int, when: str = "before") -> int:
        """How many calls of git there were."""
        count = self.folder / "count"
        for path in self.folder.glob("count*"):
            path.unlink()
        environment = {
            **os.environ,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "REAL_GIT": str(shutil.which("git")),
            "COUNT": str(count),
            "KILL_AT": str(at),
            "KILL_WHEN": when,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-m", "scaffold", "update", "--yes"],
            cwd=project,
            env=environment,
            capture_output=True,
            check=False,
        )
        calls = len(count.read_text().split())
        assert done.returncode == (-signal.SIGKILL if calls >= at else 0), done.stderr.decode()
        while when == "after" and calls >= at and not (self.folder / "count.done").exists():
            time.sleep(0.01)
        return calls


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.nightly)])
def test_an_update_that_is_killed_has_changed_nothing_or_all(history: History, tmp_path: Path, step: int) -> None:
    base = history.make(tmp_path / "base" / "p", "v1.0.0")
    append("p/engine/seed.py", "\n\nMINE = 1\n")(base)
    commit(base)
    history.release(
        append("template/project/README.md.jinja", "More\n"), append("template/project/notes.md", "Notes\n")
    )
    killer = Killer(tmp_path / "bin")
    project = tmp_path / "whole" / "p"
    shutil.copytree(base, project)
    calls = killer.update(project, 1_000_000)
    before, after = tree(base), tree(project)
    assert before != after

    wrong, trials, outcomes = [], 0, set()
    moments = [(at, when) for at in range(1, calls + 1) for when in ("before", "after")]
    for at, when in moments[::step]:
        shutil.rmtree(project)
        shutil.copytree(base, project)
        killer.update(project, at, when)
        left, dirty = tree(project), git(project, "status", "--porcelain")
        killer.update(project, 1_000_000)
        trials += 1
        outcomes.add(left == after)
        if (
            left not in (before, after)
            or dirty
            or tree(project) != after
            or git(project, "worktree", "list").count("\n") != 1
        ):
            wrong.append((at, when))

    print(f"{trials} kills at {calls} calls of git")
    assert wrong == []
    assert False in outcomes


@pytest.mark.nightly
def test_an_update_that_is_killed_at_a_random_moment_has_changed_nothing_or_all(
    history: History, tmp_path: Path
) -> None:
    base = history.make(tmp_path / "base" / "p", "v1.0.0")
    busy_version(history)
    command = [sys.executable, "-m", "scaffold", "update", "--yes"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    project = tmp_path / "whole" / "p"
    shutil.copytree(base, project)
    begin = time.monotonic()
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    seconds = time.monotonic() - begin
    before, after = tree(base), tree(project)
    dice = random.Random(1)

    wrong = []
    for _ in range(60):
        shutil.rmtree(project)
        shutil.copytree(base, project)
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(dice.uniform(0.1, seconds * 1.1))
        process.kill()
        process.wait()
        time.sleep(0.3)  # for a git that still runs
        if tree(project) not in (before, after) or git(project, "status", "--porcelain"):
            wrong.append("left")
        subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
        if tree(project) != after:
            wrong.append("again")

    assert wrong == []


# TIME


@pytest.mark.nightly
def test_it_takes_no_longer_than_plain_copier_and_half_as_much(history: History, tmp_path: Path) -> None:
    base = history.make(tmp_path / "base" / "p", "v1.0.0")
    history.release(append(SEED, "\n\nVALUE = 1\n"))
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(7):
        for times, by in ((ours, "scaffold"), (theirs, "copier")):
            project = tmp_path / f"{by}-{number}"
            shutil.copytree(base, project)
            begin = time.monotonic()
            if by == "scaffold":
                command = [sys.executable, "-m", "scaffold", "update", "--yes"]
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
            else:
                assert copier("update", "--defaults", folder=project).returncode == 0
            times.append(time.monotonic() - begin)
            assert answers_of(project)["_commit"] == "v2.0.0"

    print(f"scaffold update {statistics.median(ours):.2f} s, copier update {statistics.median(theirs):.2f} s")
    assert statistics.median(ours) <= 1.5 * statistics.median(theirs)
