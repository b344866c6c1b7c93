"""A project that is being worked on, and the folder in which that happens.

All of it happens in a repository of ours that borrows the objects of the user's, so that looking changes no byte of
theirs; the user's files change in one step at the end (last_step), or not at all.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scaffold.errors import Refused
from scaffold.questions.form import Form
from scaffold.system.git import asks
from scaffold.system.locks import NoLocks, lock_file
from scaffold.updates import answers_file
from scaffold.updates.answers_file import Recorded
from scaffold.updates.carry import check_answers
from scaffold.updates.last_step.undo import left_behind, undo
from scaffold.updates.repository import check_clean, repository_of
from scaffold.updates.template_history import History, open_history
from scaffold.updates.trust import check_address, confirm_address

_WAIT, _LONGEST = 2, 60  # seconds
_KILLED = {
    "nothing": "before it changed anything",
    "undone": "while it changed files; it is undone, and the project is as it was",
    "edited": "while it changed files; it is undone, but for what was edited since (git status)",
    "left": "while it changed files, and there is a commit since: what it had changed stays",
    "done": "at its end, and it is done",
}


@dataclass(frozen=True)
class Work:
    """A project that is being worked on: its folder, its place in the repository, a folder for what we need, the history
    of its template, and what happened to an update that was killed before."""

    project: Path
    top: Path
    prefix: str
    git_dir: Path
    space: Path
    recorded: Recorded
    history: History
    template: Path
    told: list[str]


@contextlib.contextmanager
def opened(project: Path, *, trust: str = "", must_be_clean: bool = True) -> Iterator[Work]:
    """A project with what it takes to work on it, checked; everything that we put beside it goes away at the end. One
    that is only looked at, and need not be clean, is written to in nothing."""
    top, git_dir, prefix = repository_of(project)
    with _space(top, git_dir, to_write=must_be_clean) as (space, told):
        said = answers_file.read(project)
        if trust:
            confirm_address(trust, said.address)
        check_address(said.address)
        if must_be_clean:
            check_clean(project, prefix)
        history = open_history(said.address, said.version, space / "history", project)
        template = history.check_out(said.version, space / "template-before")
        check_answers(Form(template), said)
        yield Work(project, top, prefix, git_dir, space, said, history, template, told)


@contextlib.contextmanager
def _space(top: Path, git_dir: Path, *, to_write: bool) -> Iterator[tuple[Path, list[str]]]:
    """A folder of ours, empty at first and gone at the end, and what happened to an update that was killed before: in
    `.git` where that is to be written to, since what a kill leaves there can be found again."""
    home = git_dir / "torch-scaffold"
    told: list[str] = []
    if not to_write:
        if left_behind(top, git_dir):
            with _locked(home) as is_ours:
                told = end_what_was_left(top, git_dir, is_ours)
                if is_ours is False:
                    told = ["another update of this project is running"]
        with tempfile.TemporaryDirectory(prefix="torch-scaffold-", ignore_cleanup_errors=True) as folder:
            yield Path(folder), told
        return
    home.mkdir(exist_ok=True)
    with _locked(home) as is_ours:
        if is_ours is False:
            raise Refused("another update of this project is running", help="wait for it")
        told = end_what_was_left(top, git_dir, is_ours)
        space = Path(tempfile.mkdtemp(prefix="work-", dir=home))
        try:
            yield space, told
        finally:
            if space not in [step.space for step in left_behind(top, git_dir)]:
                shutil.rmtree(space, ignore_errors=True)


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[bool | None]:
    """Whether we alone work in a folder; None where nothing can be locked. Who is at its last step is waited for."""
    with (home / "lock").open("a") as lock:
        try:
            is_ours: bool | None = lock_file(lock.fileno())
            until = time.monotonic() + _WAIT
            while not is_ours and time.monotonic() < until:
                time.sleep(0.05)
                is_ours = lock_file(lock.fileno())
        except NoLocks:
            is_ours = None
        yield is_ours


def recover(project: Path) -> list[str]:
    """End what an update that was killed has left in a project, before anything of it is read."""
    top, git_dir, _ = repository_of(project)
    with _space(top, git_dir, to_write=False) as (_, told):
        return told


def end_what_was_left(top: Path, git_dir: Path, is_ours: bool | None) -> list[str]:
    """Undo what an update that was killed has half done, and remove what it left; what happened, in a line for each.
    Where it cannot be known whose a thing is, only after the time that a last step takes at most."""
    if is_ours is False:
        return []
    told = []
    for step in left_behind(top, git_dir):
        if is_ours or time.time() - step.space.stat().st_mtime > _LONGEST:
            what = f"'{step.subject}'" if step.subject else "an update"
            told.append(f"{what} was killed {_KILLED[undo(step)]}")
            shutil.rmtree(step.space, ignore_errors=True)
    for left in (git_dir / "torch-scaffold").glob("work-*") if is_ours else ():
        if (left / "tree" / ".git").is_file():  # a worktree, as versions before 0.3.6 made them
            shutil.rmtree(left / "tree", ignore_errors=True)
            asks(top, "worktree", "remove", "--force", "--force", left / "tree")
        shutil.rmtree(left, ignore_errors=True)
    return told
