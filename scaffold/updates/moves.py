"""Files that the template moved, and what becomes of the user's edits in them."""

import ast
import posixpath
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from scaffold.system.git import call
from scaffold.updates.scratch import Entries, Scratch, is_file


def told_moves(template: Path, package: str, theirs: Entries) -> dict[str, list[str]]:
    """Where files of the package went in newer versions, as the template tells it in template/moved.yml, as far as
    this project has these places."""
    import yaml

    path = template / "template" / "moved.yml"
    if not path.is_file():  # an older template, or a fork
        return {}
    told: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    places = {
        f"{package}/{name}": [place for to in told[name].split(" and ") if (place := f"{package}/{to}") in theirs]
        for name in told
    }
    return {name: there for name, there in places.items() if there}


def package_at(package: str, known: Iterable[str], there: Iterable[str]) -> str:
    """Where the user has moved the folder of the package as a whole, such as to src/; nothing where it has stayed."""
    files, there = [name.removeprefix(f"{package}/") for name in known if name.startswith(f"{package}/")], set(there)
    if not files or any(name.startswith(f"{package}/") for name in there):
        return ""
    ends = [name.removesuffix(f"/{file}") for file in files for name in there if name.endswith(f"/{file}")]
    place, count = Counter(ends).most_common(1)[0] if ends else ("", 0)
    return place if 2 * count > len(files) else ""


def moved_behind_links(scratch: Scratch, ours: Entries, base: Entries, theirs: Entries) -> dict[str, str]:
    """Where the user has moved a file or a folder of the template's within the project, with a link in its place."""
    found = {}
    for link in [name for name, (mode, _) in ours.items() if mode == "120000" and within(base, name)]:
        leads = scratch.git("cat-file", "blob", ours[link][1])
        to = posixpath.normpath(posixpath.join(posixpath.dirname(link), leads))
        there = within(ours, to)
        if there and there != [link] and not within(base, to) and not within(theirs, to):
            found[link] = to
    return found


def follow(entries: Entries, place: str, to: str) -> None:
    """Have a file, or the files of a folder, where the user has moved it."""
    for name in within(entries, place):
        entries[f"{to}{name.removeprefix(place)}"] = entries.pop(name)


def within(names: Iterable[str], place: str) -> list[str]:
    """The file of that name, or the files in the folder of that name."""
    return [name for name in names if name == place or name.startswith(f"{place}/")]


def moved_to(scratch: Scratch, name: str, commits: Mapping[str, str]) -> str:
    """Where the template has moved a file, if it seems to have."""
    words = ("-r", "-z", "--name-status", "--find-renames=40%", "--diff-filter=R", commits["base"], commits["theirs"])
    said = scratch.git("diff-tree", *words).split("\0")
    return next((said[at + 2] for at in range(0, len(said) - 2, 3) if said[at + 1] == name), "")


def broken_imports(
    scratch: Scratch, base: Entries, theirs: Entries, commits: Mapping[str, str], places: Mapping[str, list[str]]
) -> list[str]:
    """Where the user's own code imports modules that the template has moved or given up, in a line for each place."""
    after, prefix = scratch.entries(), scratch.work.prefix
    gone = {name for name in base if name.endswith(".py") and not {name, f"{name[:-3]}/__init__.py"} & after.keys()}
    modules = {name.removeprefix(prefix)[:-3].replace("/", "."): name for name in gone}
    if not modules:
        return []
    words = [word for module in modules for word in ("-e", module.rpartition(".")[2])]
    said = scratch.git("grep", "--cached", "-z", "--files-with-matches", "-wF", *words, allowed=(0, 1)).split("\0")
    lines = []
    for file in said:
        if not file.endswith(".py") or file not in after or after[file] == theirs.get(file):
            continue
        package = file.removeprefix(prefix).split("/")[:-1]
        for number, name in _imports(scratch.git("cat-file", "blob", after[file][1]), package):
            if name in modules:
                to = listed(places.get(modules[name], [])) or moved_to(scratch, modules[name], commits)
                what = f"which is now {to}" if to else "which the template has no more"
                lines.append(f"{file}:{number} imports {modules[name]}, {what}")
    return lines


def _imports(code: str, package: list[str]) -> list[tuple[int, str]]:
    """The lines and names of the modules that may be imported by code in a package; of what is no Python, nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the user writes
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError):
            return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found += [(node.lineno, module), *((node.lineno, f"{module}.{alias.name}") for alias in node.names)]
    return sorted(found)


def merged_along(
    scratch: Scratch, base: tuple[str, str], ours: tuple[str, str], theirs: tuple[str, str]
) -> tuple[str, str] | None:
    """A file that has moved with what the user had edited in it, where at least half of its lines have moved along and
    git merges them without a conflict."""
    if not (is_file(base) and is_file(ours) and is_file(theirs)):
        return None
    files = [scratch.git("unpack-file", blob) for _, blob in (ours, base, theirs)]
    counted = scratch.git("diff", "--no-ext-diff", "--numstat", base[1], theirs[1])
    removed = (counted or "0\t0").split("\t")[1]  # "-" in a binary file
    lines = (scratch.tree / files[1]).read_bytes().count(b"\n")
    if removed == "-" or 2 * int(removed) > lines or call(scratch.tree, "merge-file", "--quiet", *files).returncode:
        return None
    mode = ours[0] if ours[0] != base[0] else theirs[0]
    return mode, scratch.git("hash-object", "-w", "--no-filters", files[0])


def listed(names: list[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
