"""The folder that a project is to appear in: nothing may be there yet."""

import contextlib
import os
import shlex
from pathlib import Path

from scaffold.errors import Refused


def check_target(target: Path) -> None:
    """Refuse a target where something is, before anything is asked or written."""
    target = Path(os.path.abspath(target))
    shown = _shown(target)
    other = target.with_name(f"{target.name}-2")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        kind = "a link" if target.is_symlink() else "a file"
        raise Refused(f"{shown} is {kind}", help=f"a new folder   scaffold new {shlex.quote(_shown(other))} --yes")
    try:
        found = sorted(path.name for path in target.iterdir()) if target.exists() else []
    except OSError as error:
        raise Refused(f"{shown} cannot be read: {error.strerror}") from error
    if found:
        count = f"{len(found)} file{'s' if len(found) > 1 else ''}"
        raise Refused(
            f"{shown} has {count} ({found[0]}{', …' if len(found) > 1 else ''})",
            help=f"a new folder   scaffold new {shlex.quote(_shown(other))} --yes",
        )
    with contextlib.suppress(OSError):  # a working folder that is gone is no reason
        if Path.cwd().is_relative_to(target):
            raise Refused(
                f"{shown} is the folder you are in, and a project appears whole, by one rename",
                help=f"from the folder above:   cd .. && scaffold new {shlex.quote(target.name)} --yes",
            )
    if not target.parent.is_dir():
        raise Refused(
            f"there is no folder {_shown(target.parent)}",
            help=f"make it first   mkdir -p {shlex.quote(str(target.parent))}",
        )


def _shown(path: Path) -> str:
    """A path as a person would write it: from here where it lies below."""
    try:
        inside = Path(os.path.abspath(path)).relative_to(Path.cwd()).as_posix()
        return inside if inside == "." else f"./{inside}"
    except (ValueError, OSError):
        return str(path)
