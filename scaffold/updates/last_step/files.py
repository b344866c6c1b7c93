"""Files of the user's, each put in its place or removed as a whole."""

import contextlib
import os
import shutil
from pathlib import Path

from scaffold.updates.last_step.step import Change, Step


def is_thing(path: Path) -> bool:
    """Whether something is there that is more than an empty folder."""
    if path.is_dir() and not path.is_symlink():
        return any(
            files or any((Path(place) / name).is_symlink() for name in folders)
            for place, folders, files in os.walk(path)
        )
    return os.path.lexists(path)


def same(one: Path, other: Path) -> bool:
    """Whether two are the same file, or the same link."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    try:
        return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
    except FileNotFoundError:  # it went meanwhile, or a file system told of it by a name in another case
        return False


def copy(source: Path, target: Path) -> None:
    """Copy a file with its mode, or a link as a link; nothing where there is none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        os.symlink(os.readlink(source), target)
    elif source.is_file():
        shutil.copyfile(source, target)
        copy_mode(source, target)


def copy_mode(source: Path, target: Path) -> None:
    """Give a file the mode of another one, where the disk keeps modes: exFAT and some shares refuse to."""
    with contextlib.suppress(OSError):
        shutil.copymode(source, target)


def place(step: Step, source: Path, change: Change) -> None:
    """Put a file in its place, whole, by a rename."""
    target = step.target(change)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        for place, _, _ in os.walk(target, topdown=False):
            os.rmdir(place)
    beside = target.parent / f".{step.space.name}"
    beside.unlink(missing_ok=True)
    copy(source, beside)
    os.replace(beside, target)


def remove(step: Step, change: Change) -> None:
    """Remove a file, and the folders that are empty without it."""
    target = step.target(change)
    target.unlink()
    for folder in target.parents:
        if folder == step.top:
            break
        try:
            folder.rmdir()
        except OSError:
            break
