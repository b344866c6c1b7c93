"""What an update or a change would bring, in lines for the user, and as a difference."""

from typing import Any

from scaffold.system.git import git
from scaffold.updates.merged import Merged
from scaffold.updates.work import Work


def diff(work: Work, merged: Merged, *, colour: bool = False) -> str:
    """The difference that it would make, as git shows it."""
    flags = ("--no-ext-diff", "--color=always" if colour else "--color=never")
    return git(work.space / "merge", "diff", *flags, *merged.trees)


def summary(merged: Merged) -> list[str]:
    """What it would change, in lines: files, answers, and whatever the user should know before."""
    width = max((len(name) for name, _, _ in merged.files), default=0)
    lines = [f"  ~ {name:<{width}}  {_counted(added, removed)}" for name, added, removed in merged.files]
    for name in {**merged.before, **merged.after}:
        before, after = merged.before.get(name), merged.after.get(name)
        if before != after:
            lines.append(f"  {name}: {shown(before)} -> {shown(after)}")
    for lost in merged.lost:
        lines.append(f"note: the answer {lost.name}: {shown(lost.before)} is given up: {lost.why}")
    lines += [f"note: {note}" for note in merged.notes]
    return lines


def _counted(added: str, removed: str) -> str:
    return "binary" if added == "-" else f"+{added} -{removed}"


def shown(value: Any) -> str:
    """An answer in a line."""
    if isinstance(value, list):
        return " ".join(
            f"{element['name']}={element.get('lr', element.get('weight'))}"
            if isinstance(element, dict)
            else str(element)
            for element in value
        )
    return "none" if value is None else str(value)
