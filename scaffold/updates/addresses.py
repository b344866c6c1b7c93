"""Addresses and versions of templates, in each of the ways in which they are written."""

import os
import re
from pathlib import Path

# The file that any machine with torch-scaffold has: a git bundle of every released template.
BUNDLE = "~/.local/share/torch-scaffold/template.bundle"
# What a fork may add to the number of an upstream's release, as in v1.2.3+lab.1 (PEP 440).
_LOCAL = r"(\+[A-Za-z0-9]+(\.[A-Za-z0-9]+)*)?"
# What a version can look like in an answers file: a release, what `git describe` says, or a commit.
VERSION = re.compile(rf"v?\d+(\.\d+)*{_LOCAL}(-\d+-g[0-9a-f]{{4,40}})?|[0-9a-f]{{7,40}}")
# A number alone is none: it may be a commit, whose short name has no letter once in twenty-seven times.
RELEASE = re.compile(rf"(v\d+(\.\d+)*|\d+(\.\d+)+){_LOCAL}")


def for_copier(address: str) -> str:
    """An address that git takes, as one that Copier takes for a repository too."""
    known = address.endswith(".git") or address.startswith(("git@", "https://github.com/", "https://gitlab.com/"))
    return address if known or (Path(address) / ".git").exists() else f"git+{address}"


def for_git(address: str) -> str:
    """An address as git takes it: Copier's short forms written out."""
    for short, long in (("gh:", "https://github.com/"), ("gl:", "https://gitlab.com/")):
        if address.startswith(short):
            return long + address.removeprefix(short).lstrip("/")
    return os.path.expanduser(address.removeprefix("git+"))


def without_password(address: str) -> str:
    """An address without the name and password that it may hold."""
    address = re.sub(r"^((?:git\+)?https?://)[^/@]*@", r"\1", address)
    return re.sub(r"^((?:git\+)?ssh://[^/@:]*):[^/@]*@", r"\1@", address)


def as_recorded(address: str) -> str:
    """An address of an answers file as torch-scaffold records it: a shell that ran `copier copy` wrote `~` out."""
    return BUNDLE if address == str(Path(os.path.expanduser(BUNDLE))) else address
