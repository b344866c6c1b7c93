"""What git leaves open in a merge is settled, or becomes a conflict for the user."""

from collections.abc import Mapping
from pathlib import Path

from scaffold.updates import answers_file
from scaffold.updates.merged import OURS, Merged
from scaffold.updates.moves import listed, merged_along, moved_to
from scaffold.updates.obstacles import free_name
from scaffold.updates.scratch import Entries, Scratch, Versions
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
    links: Mapping[str, Versions],
    places: Mapping[str, list[str]],
) -> None:
    """Settle what git left open: what the user deleted stays deleted; what the template moved although the user had
    edited it is merged at its new place, or kept beside; the answers are the new ones; all else is a conflict for the
    user."""
    stages = _stages(scratch)
    answers = f"{work.prefix}{answers_file.NAME}"
    stages.pop(answers, None)
    settled: dict[str, tuple[str, str] | None] = {answers: theirs[answers]}
    open_ = []
    by_git = scratch.entries()
    edited = [name for name in ours if name in base and ours[name] != base[name]]
    followed = [name for name in edited if name not in theirs and name not in stages]  # by git itself

    def place_of(name: str) -> str:
        return listed(places.get(name, [])) or moved_to(scratch, name, commits)

    renamed = (
        _renamed(scratch, commits["base"], commits["theirs"]) if any(set(at) == {3} for at in stages.values()) else {}
    )
    for name, versions in sorted(stages.items(), key=lambda item: set(item[1]) != {3}):
        if set(versions) == {3} and renamed.get(name, "") in base and renamed[name] not in ours:
            # the user has deleted it, or calls it otherwise
            own = _renamed(scratch, commits["base"], commits["ours"])
            mine = next((to for to, before in own.items() if before == renamed[name]), "")
            settled[name] = theirs[name] if mine else None
            if mine:
                settled[mine] = ours[mine]
                told = f"goes to {name}, and you call it {mine}; both are there, and the template uses its own"
            else:
                told = f"goes to {name}; you had deleted it, and it stays so"
            merged.notes.append(f"{renamed[name]} {told}")
        elif name in settled:
            continue
        elif 2 not in versions and 1 in versions:
            settled[name] = None
            if 3 in versions:
                shown = name if name in theirs else name.rpartition("~")[0]  # as some git calls it beside a folder
                merged.notes.append(f"{shown} has changed in the template; you had deleted it, and it stays so")
        elif 3 not in versions:
            if name in base:
                to = place_of(name)
                is_new = to not in base and to not in settled and by_git.get(to) == theirs.get(to, ("", ""))
                if is_new and (along := merged_along(scratch, base[name], versions[2], theirs[to])):
                    settled[name], settled[to] = None, along
                    followed.append(name)
                    continue
                kept = free_name(work, name, ours, base, theirs)
                settled[name], settled[kept] = None, versions[2]
                where = f"goes to {to}" if to else "goes away"
                merged.notes.append(f"{name} {where}, and you had edited it; yours is kept as {kept}")
            else:  # the user's own name for it
                settled[name] = versions[2]
                if name not in moved:
                    merged.notes.append(f"the template has no {name} any more; yours stays, for you to keep or delete")
        elif 2 in versions and versions[2][1] == versions[3][1]:  # only whether it can be run is not the same
            settled[name] = versions[2]
        else:
            open_.append(name)
    for name in followed:
        merged.notes.append(f"{name} goes to {place_of(name)}, and your edits with it")
    for name in open_:
        new = [place for place in places.get(name, []) if place not in base]
        if new:
            merged.notes.append(f"{name} has conflicts; much of what was in it is in {listed(new)} now")
    scratch.git("update-index", "-z", "--index-info", text=_settling(settled, len(merged.ours)))
    # as git has left them, with its marks; links are in the index as they were
    scratch.git("update-index", "--add", "-z", "--stdin", text="".join(f"{name}\0" for name in open_))
    _leave_open(merged, scratch, {**links, **{name: stages[name] for name in open_}})


def _stages(scratch: Scratch) -> dict[str, Versions]:
    """What git could not merge, by name: the versions of both sides, and the one before them."""
    stages: dict[str, Versions] = {}
    for line in scratch.git("ls-files", "--unmerged", "-z").split("\0"):
        if line:
            what, name = line.split("\t", 1)
            mode, blob, stage = what.split()
            stages.setdefault(name, {})[int(stage)] = mode, blob
    return stages


def _renamed(scratch: Scratch, base: str, other: str) -> dict[str, str]:
    """What files are called that one side has renamed, with their names before."""
    words = ("-r", "-z", "--name-status", "--find-renames=70%", "--diff-filter=R", base, other)
    said = scratch.git("diff-tree", *words).split("\0")
    return {said[at + 2]: said[at + 1] for at in range(0, len(said) - 2, 3)}


def _leave_open(merged: Merged, scratch: Scratch, stages: Mapping[str, Versions]) -> None:
    """Leave files with their conflicts to the user, as git does."""
    for name in stages:
        places = _places(scratch.tree, name)
        merged.conflicts += places
        merged.unmarked += [name] if places == [name] else []
        merged.unmerged += f"0 {'0' * len(merged.ours)}\t{name}\0"
        merged.unmerged += "".join(
            f"{mode} {blob} {stage}\t{name}\0" for stage, (mode, blob) in sorted(stages[name].items())
        )


def _settling(settled: Mapping[str, tuple[str, str] | None], length: int) -> str:
    """The lines that settle these paths: all that git has of them goes, and one version comes."""
    gone = [f"0 {'0' * length}\t{name}\0" for name in settled]
    return "".join([*gone, *(f"{entry[0]} {entry[1]}\t{name}\0" for name, entry in settled.items() if entry)])


def _places(tree: Path, name: str) -> list[str]:
    """Where the conflicts of a file are, each as file:line."""
    path = tree / name
    if path.is_symlink() or not path.is_file():
        return [name]
    lines = path.read_bytes().splitlines()
    mark = b"<<<<<<< " + OURS.encode()
    return [f"{name}:{number}" for number, line in enumerate(lines, 1) if line.startswith(mark)] or [name]
