"""The step itself: all of it, or nothing."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from scaffold.errors import CreateFailed, Refused
from scaffold.system.git import GitFailed, call, git, reason
from scaffold.system.shell import join
from scaffold.system.signals import signals_wait
from scaffold.updates.last_step.files import is_thing, place, remove, same
from scaffold.updates.last_step.lock import release, take_lock
from scaffold.updates.last_step.step import DONE, JOURNAL, Change, Step, index_lines, index_of, write_index
from scaffold.updates.last_step.undo import undo

TOLD = {
    "nothing": "Nothing was changed.",
    "undone": "The project is as it was.",
    "edited": "The project is as it was, but for what was edited meanwhile.",
    "left": "What was changed stays, because there is a commit since.",
    "half": "Some files are changed. Type   scaffold check, which puts them back.",
}


def take(step: Step) -> None:
    """Make the changes: all, or none where one of them fails. Who presses ctrl-c now comes too late: it is done."""
    done = False
    try:
        with signals_wait():
            _take(step)
            done = True
    except KeyboardInterrupt:
        if not done:
            raise


def _take(step: Step) -> None:
    take_lock(step)
    try:
        shutil.copyfile(step.git_dir / "index", step.space / "index")
        write_index(step, "index", index_lines(step.changes) + step.unmerged)
        own_git = Path(git(step.top, "--exec-path"), "git")  # found once, so that no search for it can fail
        said = step.space / "failed"
        code = _by_itself(lambda: _change(step, str(own_git) if own_git.is_file() else "git"), said)
    except BaseException:
        undo(step)
        raise
    if code:
        try:
            outcome = undo(step)
        except (OSError, GitFailed):  # its journal is still there
            outcome = "half"
        if outcome != "done":
            reason = said.read_text(encoding="utf-8", errors="replace") if said.is_file() else f"ended with {code}"
            left = re.search(r"Unable to create '(.+?\.lock)': File exists", reason)
            help = f"wait for the other git, or, where none runs   {join(['rm', left[1]])}" if left else ""
            failed = CreateFailed(f"the files could not be changed: {reason}", help=help)
            failed.last_line = TOLD[outcome]
            raise failed


def _by_itself(work: Callable[[], None], said: Path) -> int:
    """Run something in a process of its own, which comes to its end when ours is killed; its exit status."""
    if not hasattr(os, "fork"):
        work()
        return 0
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setsid()
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001  # whatever it is, the process that waits has to tell it
            with contextlib.suppress(OSError):
                said.write_text(getattr(error, "message", None) or str(error), encoding="utf-8", errors="replace")
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1]


def _change(step: Step, own_git: str) -> None:
    """What takes the project from before to after. The commit, or the index where there is none, makes it so."""
    changes = [(change.name, change.old, change.new) for change in step.changes]
    journal = {"ours": step.ours, "commit": step.commit, "subject": step.subject, "changes": changes}
    (step.space / "journal").write_text(json.dumps(journal), encoding="utf-8")
    os.replace(step.space / "journal", step.space / JOURNAL)
    for change in step.changes:
        if change.new is None:
            _check_as_it_was(step, change)
            remove(step, change)
    for change in step.changes:
        if change.new is not None:
            _check_as_it_was(step, change)
            place(step, step.new(change), change)
    # so that git need not read every file that we wrote when it is asked next; in our copy, since a git that is killed
    # would leave its own lock
    index = step.space / "index"
    call(step.top, "update-index", "-q", "--refresh", variables=index_of(index), program=own_git)
    os.replace(index, step.git_dir / "index")
    if step.commit:
        moved = call(
            step.top, "update-ref", "-m", f"scaffold: {step.subject}", "HEAD", step.commit, step.ours, program=own_git
        )
        if moved.returncode:
            raise GitFailed(f"git update-ref failed: {reason(moved)}")
    os.replace(step.space / JOURNAL, step.space / DONE)
    release(step)


def _check_as_it_was(step: Step, change: Change) -> None:
    target = step.target(change)
    if not same(target, step.old(change)) if change.old else is_thing(target):
        raise Refused(f"{change.name} was changed meanwhile")
