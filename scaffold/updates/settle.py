"""What git leaves open in a merge is settled, or becomes a conflict for the user."""

from collections.abc import Mapping
from pathlib import Path

from scaffold.questions.answer_types import PACKAGE
from scaffold.questions.form import Answers
from scaffold.updates import answers_file
from scaffold.updates.merged import OURS, Merged
from scaffold.updates.obstacles import free_name
from scaffold.updates.scratch import Entries, Scratch
from scaffold.updates.work import Work


def settle(
    work: Work,
    merged: Merged,
    scratch: Scratch,
    base: Entries,
    ours: Entries,
    theirs: Entries,
    commits: Mapping[str, str],
    moved: Mapping[str, str],
    places: Mapping[str, str],
) -> None:
    """Settle what git left open: what the user deleted stays deleted, what the template deleted although the user had
    edited it is kept beside, the answers are the new ones; all else is a conflict for the user."""
    stages: dict[str, dict[int, tuple[str, str]]] = {}
    for line in scratch.git("ls-files", "--unmerged", "-z").split("\0"):
        if line:
            what, name = line.split("\t", 1)
            mode, blob, stage = what.split()
            stages.setdefault(name, {})[int(stage)] = mode, blob
    answers = f"{work.prefix}{answers_file.NAME}"
    stages.pop(answers, None)
    settled: dict[str, tuple[str, str] | None] = {answers: theirs[answers]}
    open_ = []
    for name, versions in stages.items():
        if 2 not in versions and 1 in versions:
            settled[name] = None
            if 3 in versions:
                shown = name if name in theirs else name.rpartition("~")[0]  # as some git calls it beside a folder
                merged.notes.append(f"{shown} has changed in the template; you had deleted it, and it stays so")
        elif 3 not in versions:
            if name in base:
                kept = free_name(work, name, ours, base, theirs)
                settled[name], settled[kept] = None, versions[2]
                to = places.get(name) or _moved_to(scratch, name, commits)
                where = f"goes to {to}" if to else "goes away"
                merged.notes.append(f"{name} {where}, and you had edited it; yours is kept as {kept}")
            else:  # the user's own name for it
                settled[name] = versions[2]
                if name not in moved:
                    merged.notes.append(f"the template has no {name} any more; yours stays, for you to keep or delete")
        else:
            open_.append(name)
    scratch.git("update-index", "-z", "--index-info", text=_settling(settled, len(merged.ours)))
    scratch.git("update-index", "--add", "-z", "--stdin", text="".join(f"{name}\0" for name in open_))
    for name in open_:
        merged.conflicts += _places(scratch.tree, name)
        merged.unmerged += f"0 {'0' * len(merged.ours)}\t{name}\0"
        merged.unmerged += "".join(
            f"{mode} {blob} {stage}\t{name}\0" for stage, (mode, blob) in sorted(stages[name].items())
        )


def _settling(settled: Mapping[str, tuple[str, str] | None], length: int) -> str:
    """The lines that settle these paths: all that git has of them goes, and one version comes."""
    gone = [f"0 {'0' * length}\t{name}\0" for name in settled]
    return "".join([*gone, *(f"{entry[0]} {entry[1]}\t{name}\0" for name, entry in settled.items() if entry)])


def told_moves(template: Path, answers: Answers, prefix: str) -> dict[str, str]:
    """Where files of the package went in newer versions, as the template tells it in template/moved.yml."""
    import yaml

    path = template / "template" / "moved.yml"
    if not path.is_file():  # an older template, or a fork
        return {}
    package = f"{prefix}{PACKAGE.of(answers)}"
    told: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        f"{package}/{name}": " and ".join(f"{package}/{place}" for place in to.split(" and "))
        for name, to in told.items()
    }


def _moved_to(scratch: Scratch, name: str, commits: Mapping[str, str]) -> str:
    """Where the template has moved a file, if it seems to have."""
    words = ("-r", "-z", "--name-status", "--find-renames=40%", "--diff-filter=R", commits["base"], commits["theirs"])
    said = scratch.git("diff-tree", *words).split("\0")
    return next((said[at + 2] for at in range(0, len(said) - 2, 3) if said[at + 1] == name), "")


def _places(tree: Path, name: str) -> list[str]:
    """Where the conflicts of a file are, each as file:line."""
    path = tree / name
    if path.is_symlink() or not path.is_file():
        return [name]
    lines = path.read_bytes().splitlines()
    mark = b"<<<<<<< " + OURS.encode()
    return [f"{name}:{number}" for number, line in enumerate(lines, 1) if line.startswith(mark)] or [name]
