"""Before the step: what it needs is put aside, and nothing is in the way."""

import os
from pathlib import Path

from scaffold.errors import Refused
from scaffold.system.git import call, git
from scaffold.system.shell import join
from scaffold.updates.last_step.files import copy, copy_mode
from scaffold.updates.last_step.step import Change, Step, index_lines, index_of, write_index


def prepare(step: Step) -> None:
    """Put the old files and the new ones aside, and see that nothing is in the way; nothing of the user's changes."""
    _refuse_in_the_way(step)
    names = "".join(f"{change.name}\0" for change in step.changes if change.new)
    prefix = f"--prefix={step.space}/new/"
    git(step.top, "checkout-index", "-z", "--stdin", prefix, text=names, variables=index_of(step.space / "after.index"))
    for change in step.changes:
        if change.old and os.path.lexists(step.target(change)):
            copy(step.target(change), step.old(change))
        if change.old and change.new and change.old[0] == change.new[0] != "120000":
            copy_mode(step.old(change), step.new(change))  # what was set for the file, such as its group's right
    # an index of these files alone, without the marks by which the user's own may pass over a file
    write_index(step, "before.index", index_lines(Change(change.name, None, change.old) for change in step.changes))
    call(step.top, "update-index", "-q", "--refresh", variables=index_of(step.space / "before.index"))
    changed = git(step.top, "diff-files", "--name-only", "-z", variables=index_of(step.space / "before.index")).split(
        "\0"
    )
    if changed[0]:
        raise Refused(
            f"{changed[0]} is not as in your last commit",
            help="commit it, or put it back; a file that git passes over (git update-index --no-assume-unchanged,\n"
            "--no-skip-worktree, git sparse-checkout disable) has to be there as well",
        )


def _refuse_in_the_way(step: Step) -> None:
    """Refuse where a new file, or a folder for it, would come upon something that git does not keep."""
    going = {change.name for change in step.changes if change.new is None}
    for change in step.changes:
        if change.old or not change.new:
            continue
        parts = change.name.split("/")
        path = step.top
        for depth, part in enumerate(parts, 1):
            path /= _listed(path, part)
            if not os.path.lexists(path):
                break
            name = path.relative_to(step.top).as_posix()
            if path.is_dir() and not path.is_symlink():
                found = _first_other(step, path, going) if depth == len(parts) else ""
            elif name in going:
                break
            else:
                found = name
            if found:
                kind = "link" if (step.top / found).is_symlink() else "file"
                if found == change.name:
                    what = f"a {kind} of that name that git ignores"
                elif depth == len(parts):
                    what = f"a folder of that name with {found} in it, which git ignores"
                else:
                    what = f"a {kind} {found} that git ignores"
                raise Refused(
                    f"{change.name} comes with the template, and you have {what}",
                    help=f"move it away   {_move_away(path)}",
                )


def _listed(folder: Path, name: str) -> str:
    """What a folder calls a thing of this name, which a file system that ignores case finds by others as well."""
    if not os.path.lexists(folder / name):
        return name
    names = os.listdir(folder)
    return next((other for other in names if other.casefold() == name.casefold()), name) if name not in names else name


def _first_other(step: Step, folder: Path, going: set[str]) -> str:
    """The first thing in a folder that would not go away with the update."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = (Path(place) / name).relative_to(step.top).as_posix()
            if path not in going:
                return path
    return ""


def _move_away(path: Path) -> str:
    """The command that moves something away, from where the user is."""
    try:
        shown = os.path.relpath(path)
    except (OSError, ValueError):
        shown = str(path)
    return join(["mv", "--", shown, f"{shown}.mine"] if shown.startswith("-") else ["mv", shown, f"{shown}.mine"])
