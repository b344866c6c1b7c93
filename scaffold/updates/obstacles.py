"""What the user has where the template brings something of another kind: a folder for a file, a link, a submodule."""

import os

from scaffold.errors import Refused
from scaffold.system.git import asks
from scaffold.system.shell import join
from scaffold.updates import answers_file
from scaffold.updates.merged import Merged
from scaffold.updates.scratch import Entries, Versions, is_file, parents
from scaffold.updates.work import Work


def make_way(
    work: Work, merged: Merged, ours: Entries, base: Entries, theirs: Entries
) -> tuple[dict[str, str], dict[str, Versions]]:
    """Move aside what the user has where the template brings a folder, or a file; and leave a link that the user has
    put in the place of a file as it is. So git is never asked to merge things of two kinds. Returns where things went,
    and the links in place of files that the template has changed, which are the user's to bring together."""
    new = [name for name in theirs if name not in base]
    ignores_case = asks(work.top, "config", "--type=bool", "core.ignoreCase") == "true"

    def place(name: str) -> str:  # names of one place are one file to the file system
        return name.casefold() if ignores_case else name

    by_place = {place(name): name for name in ours}
    folders = {place(folder) for name in ours for folder in parents(name)}
    moved: dict[str, str] = {}

    def move(name: str, by: str, to: str = "") -> None:
        if name in moved or ours[name] == base.get(name):  # a file of the template's own goes as it came
            return
        if ours[name][0] == "160000":
            raise Refused(
                f"{by} comes with the template, and your submodule {name} is in the way",
                help=f"move it away   {join(['git', 'mv', name, f'{name}.mine'])}, and commit",
            )
        moved[name] = to or free_name(work, name, ours, base, theirs)
        if not to:
            merged.notes.append(f"{by} comes with the template, and you have {name}; yours is kept as {moved[name]}")

    for name in new:
        for parent in parents(name):
            if other := by_place.get(place(parent)):
                move(other, name)
        other = by_place.get(place(name))
        if other and (not is_file(ours[other]) if other == name else other not in base):
            move(other, name)
        inside = [at for at in ours if place(at).startswith(place(f"{name}/"))] if place(name) in folders else []
        if any(ours[other] != base.get(other) for other in inside):
            to = free_name(work, name, ours, base, theirs)
            merged.notes.append(f"{name} comes with the template, and you have a folder {name}; yours is kept as {to}")
            for other in inside:
                move(other, name, "/".join([to, *other.split("/")[name.count("/") + 1 :]]))
    for name, to in moved.items():
        ours[to] = ours.pop(name)
        base.pop(name, None)
    links: dict[str, Versions] = {}
    for name in [name for name in theirs if name in base and name in ours and not is_file(ours[name])]:
        if theirs[name] != base[name] and name != f"{work.prefix}{answers_file.NAME}":
            kind = "link" if ours[name][0] == "120000" else "submodule"
            merged.notes.append(f"{name} has changed in the template; you have a {kind} there, and it stays so")
            if kind == "link":
                links[name] = {1: base[name], 2: ours[name], 3: theirs[name]}
            theirs[name] = base[name]
    return {to: name for name, to in moved.items()}, links


def free_name(work: Work, name: str, *known: Entries) -> str:
    """A name beside that is nobody's, neither in git nor in the folder."""
    taken = {other for entries in known for path in entries for other in (path, *parents(path))}
    kept = f"{name}.kept"
    while kept in taken or os.path.lexists(work.top / kept):
        kept += "_"
    return kept


def tell_of_shadows(merged: Merged, ours: Entries, base: Entries, theirs: Entries) -> None:
    """Say where Python would find a folder of the one instead of a file of the other."""
    for mine, other, whose in ((ours, theirs, "yours"), (theirs, ours, "the template's")):
        packages = {parent for name in other if name.endswith(".py") for parent in parents(name)}
        old = {parent for name in base for parent in parents(name)} | set(base)
        for name in mine:
            folder = name.removesuffix(".py")
            if name.endswith(".py") and name not in other and folder in packages and not {name, folder} & old:
                merged.notes.append(f"{name} is {whose}, and Python imports the folder {folder} instead")
