"""The last step of an update: killed at any moment, alone or with the process that waits for it, it is undone or done."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaffold.errors import CreateFailed, Refused
from scaffold.updates.last_step import step as step_
from scaffold.updates.last_step import take as take_
from scaffold.updates.last_step import undo as undo_
from scaffold.updates.last_step.prepare import prepare
from scaffold.updates.last_step.step import Change, Step, index_lines
from scaffold.updates.last_step.take import take
from scaffold.updates.work import end_what_was_left
from tests.conftest import Run, tree
from tests.updates.small_template import Small, small
from tests.updates.updating import append, commit, git

__all__ = ["small"]  # a fixture

ODD = ("tab\there", "new\nline", 'a "quoted" one', "-dash", " space ", "ümlaut", "back\\slash", ":(top)x", "car\rriage")
FILES = {"changed.txt": "one\n", "gone/with/folder.txt": "gone\n", "way": "a file\n", "a folder/file": "in it\n"}


def entries(folder: Path, commit: str) -> dict[str, tuple[str, str]]:
    """The files of a commit."""
    lines = [line.split("\t", 1) for line in git(folder, "ls-tree", "-r", "-z", commit).split("\0") if line]
    return {name: (what.split()[0], what.split()[2]) for what, name in lines}


@pytest.fixture
def step(request: pytest.FixtureRequest, here: Path) -> Step:
    """A step in a small repository, which changes, adds and removes files of odd names, and turns files to folders."""
    top = here / "p"
    top.mkdir()
    git(top, "init", "--quiet", "--initial-branch=main", f"--object-format={getattr(request, 'param', 'sha256')}")
    for name, text in {**FILES, **dict.fromkeys(ODD, "odd\n")}.items():
        append(name, text)(top)
    (top / "link").symlink_to("changed.txt")
    (top / ".gitignore").write_text("ignored\n")
    commit(top, "Before")
    ours = git(top, "rev-parse", "HEAD").strip()
    for name in ODD:
        append(name, "more\n")(top)
    append("changed.txt", "two\n")(top)
    for name in ("gone/with/folder.txt", "way", "a folder/file", "link"):
        (top / name).unlink()
    (top / "a folder").rmdir()
    for name in ("way/in/a folder", "a folder", "new/of it", "link"):
        append(name, "new\n")(top)
    (top / "new" / "link").symlink_to("of it")
    (top / "changed.txt").chmod(0o755)
    commit(top, "After")
    theirs = git(top, "rev-parse", "HEAD").strip()
    git(top, "reset", "--quiet", "--hard", ours)
    append("ignored", "mine\n")(top)
    before, after = entries(top, ours), entries(top, theirs)
    changes = [Change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    changes = [change for change in changes if change.old != change.new]
    space = top / ".git" / "torch-scaffold" / "work-1"
    space.mkdir(parents=True)
    git(top, "read-tree", f"--index-output={space / 'after.index'}", theirs)
    return Step(top, top / ".git", space, ours, theirs, "A change", changes)


def with_conflict(step: Step) -> Step:
    """The same, which ends with a conflict instead of a commit."""
    before = entries(step.top, step.ours)["changed.txt"][1]
    zeros = "0" * len(step.ours)
    lines = "".join(f"100644 {before} {stage}\tchanged.txt\0" for stage in (1, 2, 3))
    return Step(
        step.top,
        step.git_dir,
        step.space,
        step.ours,
        "",
        step.subject,
        step.changes,
        f"0 {zeros}\tchanged.txt\0{lines}",
    )


def state(step: Step) -> tuple[dict[str, bytes], str, str, str, bool]:
    """All that a step changes: the files, what git says of them, the commit; and whether a lock is left."""
    return (
        tree(step.top),
        git(step.top, "status", "--porcelain", "-z"),
        git(step.top, "ls-files", "--stage", "-z"),
        git(step.top, "rev-parse", "HEAD").strip(),
        step.lock.exists(),
    )


CALLS = [(os, name) for name in ("replace", "unlink", "rmdir", "mkdir", "link", "symlink")] + [
    (module, name) for module in (step_, take_, undo_) for name in ("call", "git") if hasattr(module, name)
]


def killed_at(step: Step, moment: Callable[[int, Any], bool], *, after: bool, alone: bool) -> bool:
    """Take a step in a process that is killed at a moment, known by how many changes there were and of what the next
    is, together with the one that waits for it, or while that lives on. Whether there was such a moment."""
    process = os.fork()
    if process == 0:
        mine, count = os.getpid(), 0

        def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
            def act(*words: Any, **how: Any) -> Any:
                nonlocal count
                count += 1
                now = moment(count, words[0])
                if now and not after:
                    die()
                result = real(*words, **how)
                if now:
                    die()
                return result

            return act

        def die() -> None:
            if os.getpid() != mine and not alone:
                os.kill(mine, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

        for owner, name in CALLS:
            setattr(owner, name, deadly(getattr(owner, name)))
        try:
            take(step)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  # of a process of ours that must not go on as a test
            os._exit(7 if isinstance(error, CreateFailed) else 8)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, 7, -signal.SIGKILL)
    return code != 0


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("step", "conflict", "alone"),
    [
        pytest.param("sha1", False, False, id="commit, both killed"),
        pytest.param("sha256", True, False, id="conflict, both killed"),
        pytest.param("sha256", False, True, id="commit, one killed"),
        pytest.param("sha1", True, True, id="conflict, one killed"),
    ],
    indirect=["step"],
)
def test_a_step_that_is_killed_is_undone_or_done(
    step: Step, tmp_path: Path, conflict: bool, alone: bool, stride: int
) -> None:
    if conflict:
        step = with_conflict(step)
    prepare(step)
    kept = tmp_path / "kept"
    before = state(step)
    subprocess.run(["cp", "-a", step.top, kept], check=True)

    def write(number: int, _: Any) -> bool:
        with (tmp_path / "counts").open("a") as file:
            file.write(f"{number}\n")
        return False

    assert not killed_at(step, write, after=False, alone=alone)
    count = max(map(int, (tmp_path / "counts").read_text().split()))
    after = state(step)
    assert before != after
    assert (after[1] == "") != conflict

    outcomes, wrong = set(), []
    moments = {*range(1, count + 1, stride), *range(count - 7, count + 1)}  # at the end each is of another kind
    for moment in sorted(moments):
        for late in (False, True):
            subprocess.run(["rm", "-rf", step.top], check=True)
            subprocess.run(["cp", "-a", kept, step.top], check=True)
            # it is called before the loop goes on
            killed_at(step, lambda number, _: number == moment, after=late, alone=alone)  # noqa: B023
            told = end_what_was_left(step.top, step.git_dir, True)
            found = state(step)
            outcomes.add("undone" if found == before else "done")
            if found not in (before, after):
                wrong.append((moment, late, told))

    print(f"killed at {len(moments)} of {count} moments, twice")
    assert wrong == []
    assert outcomes == {"undone", "done"}


def left(step: Step) -> None:
    """A step that was killed where all files were changed, and the index was not."""
    prepare(step)
    assert killed_at(step, lambda _, what: what == step.space / "index", after=False, alone=False)
    assert (step.space / "journal.json").exists()


def test_what_was_edited_after_the_kill_stays(step: Step) -> None:
    left(step)
    (step.top / "changed.txt").write_text("mine\n")
    append("way/in/mine", "mine\n")(step.top)

    (told,) = end_what_was_left(step.top, step.git_dir, True)

    assert "it is undone, but for what was edited since" in told
    assert (step.top / "changed.txt").read_text() == "mine\n"
    assert (step.top / "way" / "in" / "mine").read_text() == "mine\n"
    assert (step.top / "a folder" / "file").read_text() == "in it\n"
    assert not step.lock.exists()


def test_a_commit_after_the_kill_is_left_alone(step: Step) -> None:
    left(step)
    step.lock.unlink()
    commit(step.top, "Mine")
    found = state(step)

    (told,) = end_what_was_left(step.top, step.git_dir, True)

    assert "there is a commit since" in told
    assert state(step) == found


def test_what_was_put_back_by_hand_after_the_kill_stays_so(step: Step) -> None:
    before = state(step)
    left(step)
    step.lock.unlink()
    git(step.top, "reset", "--quiet", "--hard")
    git(step.top, "clean", "--quiet", "--force", "-d")

    end_what_was_left(step.top, step.git_dir, True)

    assert state(step) == before


def test_another_git_at_work_is_not_disturbed(step: Step) -> None:
    prepare(step)
    step.lock.write_text("")
    before = state(step)

    with pytest.raises(Refused, match="another git is working in the repository"):
        take(step)

    assert state(step) == before


def test_a_file_that_changes_at_the_last_moment_is_not_lost(step: Step) -> None:
    prepare(step)
    (step.top / "way").write_text("mine\n")
    before = tree(step.top)

    with pytest.raises(CreateFailed, match="way was changed meanwhile") as failed:
        take(step)

    assert "The project is as it was, but for what was edited meanwhile." in str(failed.value)
    assert tree(step.top) == before
    assert git(step.top, "status", "--porcelain", "-z") == " M way\0"


@pytest.mark.parametrize("conflict", [False, True])
def test_a_disk_that_keeps_no_modes_is_updated_too(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, conflict: bool
) -> None:
    """As an exFAT disk that belongs to somebody else, or some shares: a mode cannot be set there."""
    project = small.project(here / "p", conflict=conflict)
    monkeypatch.chdir(project)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as disk:
        disk.setattr(os, "chmod", refuse)
        result = scaffold("update", "--yes")

    assert result.code == (3 if conflict else 0), result.err
    assert "line 3, theirs" in (project / "changed.txt").read_text()
    assert (project / "way" / "in" / "it.txt").is_file()


def test_where_the_disk_fails_twice_it_is_said_and_the_next_command_puts_it_right(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(step)
    before = state(step)

    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error", "a file")

    with monkeypatch.context() as patch:
        patch.setattr(take_, "place", failing)
        patch.setattr(undo_, "place", failing)
        with pytest.raises(CreateFailed, match="Input/output error") as failed:
            take(step)

    assert "Some files are changed. Type   scaffold check, which puts them back." in str(failed.value)
    assert state(step) != before
    (told,) = end_what_was_left(step.top, step.git_dir, True)
    assert "it is undone, and the project is as it was" in told
    assert state(step) == before


@pytest.mark.nightly
@pytest.mark.figure("A5 killed with git, put right by the next command", "killed at random, with filters that are slow")
def test_killed_with_everything_at_any_moment_of_a_slow_update(
    scaffold: Run,
    small: Small,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    slow = append(".gitattributes", "*.txt filter=slow\n*.py filter=slow\n")
    project = small.project(here / "p", edit=slow)
    for kind in ("clean", "smudge"):
        git(project, "config", f"filter.slow.{kind}", "sleep 0.05; cat")
    monkeypatch.chdir(project)
    subprocess.run(["cp", "-a", project, tmp_path / "before"], check=True)

    def now() -> tuple[dict[str, bytes], str, str]:
        return tree(project), git(project, "status", "--porcelain"), git(project, "log", "--format=%s")

    def begun() -> subprocess.Popen[bytes]:
        subprocess.run(["rm", "-rf", project], check=True)
        subprocess.run(["cp", "-a", tmp_path / "before", project], check=True)
        monkeypatch.chdir(project)  # the new one
        words = [sys.executable, "-m", "scaffold", "update", "-y"]
        how = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        return subprocess.Popen(words, cwd=project, **how)  # type: ignore[call-overload,no-any-return]

    before = now()
    began = time.monotonic()
    assert begun().wait() == 0
    whole, after = time.monotonic() - began, now()
    assert before != after
    chance, wrong, outcomes = random.Random(16), [], set()
    for number in range(30):
        moment = whole * chance.uniform(0.4, 1.0)  # the beginning is Python's
        process = begun()
        time.sleep(moment)
        kill_with_children(process.pid)  # also the last step, which is a session of its own
        process.wait()
        said = scaffold("update", "--check")
        found = now()
        outcomes.add("before" if found == before else "after")
        if found not in (before, after) or list(project.glob(".git/index.lock")):
            wrong.append((number, moment, said.err, found[1]))

    record_property("tries", 30)
    assert wrong == []
    print(outcomes)


def kill_with_children(process: int) -> None:
    """SIGKILL to a process and all below it, from the top."""
    children = subprocess.run(["pgrep", "--parent", str(process)], check=False, capture_output=True).stdout.split()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    for child in children:
        kill_with_children(int(child))


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_passes_over_is_not_written_over(step: Step, mark: str) -> None:
    git(step.top, "update-index", mark, "changed.txt")
    (step.top / "changed.txt").write_text("mine\n")

    with pytest.raises(Refused, match=r"changed\.txt is not as in your last commit"):
        prepare(step)


def test_index_lines_name_what_goes_first() -> None:
    lines = index_lines([Change("a", None, ("100644", "b" * 64)), Change("b", ("100644", "c" * 64), None)])

    assert lines == f"0 {'0' * 64}\tb\x00100644 {'b' * 64}\ta\x00"
