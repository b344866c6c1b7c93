"""Commands of git for the user to type. A repository may hold more than the project, and the rest of it is none of our
business."""

import os
import re

from scaffold.system.shell import join


def only(prefix: str) -> str:
    """What keeps a command to the project."""
    return " -- " + join([f":(top,literal){prefix}"]) if prefix else ""


def commit_all(prefix: str, subject: str) -> str:
    """How to commit everything of the project."""
    quoted = f'"{subject}"' if re.fullmatch(r"[\w .,:=/+-]*", subject) else join([subject])
    return f"git add -A{only(prefix)} && git commit -m {quoted}{only(prefix)}"


def to_see_theirs(names: list[str]) -> str:
    """Lines that say how to have the template's version beside one's own, for files that git cannot merge."""
    lines = []
    for name in names[:3]:
        beside = f"{name.rpartition('/')[2]}.template"
        while os.path.lexists(beside):
            beside += "_"
        lines.append(f"\nthe other     {join(['git', 'show', f':3:{name}'])} > {join([beside])}")
    return "".join(lines)


def to_see_edits(unmerged: str, unmarked: list[str]) -> str:
    """A line that says how to see what the user had edited in the first file with conflicts."""
    listed = [line.split("\t", 1) for line in unmerged.split("\0") if line]
    names = [
        name for what, name in listed if what.endswith(" 1") and name not in unmarked
    ]  # where there was one before both
    return f"\nyour edits    {join(['git', 'diff', f':1:{names[0]}', f':2:{names[0]}'])}" if names else ""


def give_up(prefix: str) -> str:
    """How to give up what an update left."""
    return f"git restore --source=HEAD --staged --worktree{only(prefix)}" if prefix else "git reset --hard"
