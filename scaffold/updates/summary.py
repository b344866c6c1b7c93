"""What an update or a change would bring, in lines for the user, and as a difference."""

from typing import Any

from scaffold.questions.numbers import number
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
    for name, (before, after) in _answers(merged).items():
        change = (
            " -> ".join(_told_apart(before, after)) if name in merged.before else f"{shown(after)} (a new question)"
        )
        lines.append(f"  {name}: {change}")
    for lost in merged.lost:
        lines.append(f"note: the answer {lost.name}: {shown(lost.before)} is given up: {lost.why}")
    lines += [f"note: {note}" for note in merged.notes]
    return lines


def as_data(merged: Merged) -> dict[str, Any]:
    """The same for a program."""
    return {
        "files": [
            {
                "path": name,
                "added": None if added == "-" else int(added),
                "removed": None if added == "-" else int(removed),
            }
            for name, added, removed in merged.files
        ],
        "answers": {name: {"before": before, "after": after} for name, (before, after) in _answers(merged).items()},
        "lost": [{"answer": lost.name, "before": lost.before, "why": lost.why} for lost in merged.lost],
        "conflicts": merged.conflicts,
    }


def _answers(merged: Merged) -> dict[str, tuple[Any, Any]]:
    """The answers that become others, as they were and as they are to be."""
    pairs = {name: (merged.before.get(name), merged.after.get(name)) for name in {**merged.before, **merged.after}}
    return {name: (before, after) for name, (before, after) in pairs.items() if before != after}


def _counted(added: str, removed: str) -> str:
    return "binary" if added == "-" else f"+{added} -{removed}"


def shown(value: Any) -> str:
    """An answer in a line."""
    return _line(value, in_full=False)


def _told_apart(before: Any, after: Any) -> tuple[str, str]:
    """Two answers, in lines that are not the same."""
    short, full = (tuple(_line(value, in_full=long) for value in (before, after)) for long in (False, True))
    best = short if short[0] != short[1] else full
    return (best[0], best[1]) if best[0] != best[1] else (repr(before), repr(after))


def _line(value: Any, *, in_full: bool) -> str:
    if isinstance(value, list):
        return " ".join(_element(element, in_full=in_full) for element in value) or "none"
    return "none" if value is None else str(value)


def _element(element: Any, *, in_full: bool) -> str:
    """A loss or a group as one types it; in full, a group with its layers."""
    if not isinstance(element, dict):
        return str(element)
    size = element.get("lr", element.get("weight"))
    layers = f":{'+'.join(element['layers'])}" if in_full and "layers" in element else ""
    return f"{element['name']}{layers}={number(size) if isinstance(size, float) else size}"
