"""After a step that was killed, or that failed: it is undone, unless it had come to its end."""

import contextlib
import json
import os
from pathlib import Path

from scaffold.system.git import call, git
from scaffold.updates.last_step.files import is_thing, place, remove, same
from scaffold.updates.last_step.lock import has_lock, release
from scaffold.updates.last_step.step import DONE, JOURNAL, Change, Step, index_lines


def left_behind(top: Path, git_dir: Path) -> list[Step]:
    """The steps that were begun in a worktree and not ended, or whose lock is still there."""
    found = []
    for space in sorted((git_dir / "torch-scaffold").glob("work-*")):
        step = Step(top, git_dir, space, "", "", "", [])
        if (space / JOURNAL).is_file():
            said = json.loads((space / JOURNAL).read_text(encoding="utf-8"))
            changes = [
                Change(name, *(tuple(entry) if entry else None for entry in (old, new)))
                for name, old, new in said.pop("changes")
            ]
            found.append(Step(top, git_dir, space, **said, changes=changes))
        elif has_lock(step):
            found.append(step)
    return found


def undo(step: Step) -> str:
    """End a step that was begun: undo it unless it had come to its end. Returns what was done about it."""
    if not (step.space / JOURNAL).is_file():
        release(step)
        return "done" if (step.space / DONE).is_file() else "nothing"
    head = git(step.top, "rev-parse", "HEAD")
    outcome = "done" if head == step.commit else "left"
    if head == step.ours:
        outcome = "undone" if _put_back(step) else "edited"
    release(step)
    if head == step.ours:
        _put_index_back(step)
    os.replace(step.space / JOURNAL, step.space / DONE)
    return outcome


def _put_back(step: Step) -> bool:
    """Put the files back as they were; whether that is all, since what somebody edited meanwhile stays."""
    whole = True
    for change in step.changes:
        with contextlib.suppress(OSError):
            (step.target(change).parent / f".{step.space.name}").unlink()
    for change in step.changes:
        target = step.target(change)
        if not change.old and os.path.lexists(target):
            if same(target, step.new(change)):
                remove(step, change)
            elif is_thing(target) and not target.is_dir():
                whole = False
    for change in step.changes:
        target = step.target(change)
        if not change.old or same(target, step.old(change)):
            continue
        if is_thing(target) and not (change.new and same(target, step.new(change))):
            whole = False
            continue
        try:
            place(step, step.old(change), change)
        except (FileExistsError, NotADirectoryError):  # something is now where its folder was
            whole = False
    return whole


def _put_index_back(step: Step) -> None:
    """Let the index say of these files what it said, where it says what we wrote."""
    said: dict[str, list[tuple[str, str, str]]] = {}
    for line in git(step.top, "ls-files", "--stage", "-z").split("\0"):
        if line:
            what, name = line.split("\t", 1)
            mode, blob, stage = what.split()
            said.setdefault(name, []).append((mode, blob, stage))
    changes = []
    for change in step.changes:
        found = said.get(change.name, [])
        if found == ([(*change.new, "0")] if change.new else []) or any(stage != "0" for _, _, stage in found):
            changes.append(change)
    if changes:
        git(step.top, "update-index", "-z", "--index-info", text=index_lines(changes, back=True), alone=True)
        call(step.top, "update-index", "-q", "--refresh", alone=True)
