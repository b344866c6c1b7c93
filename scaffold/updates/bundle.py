"""The history of the template that comes with torch-scaffold, and goes where projects say that it is."""

import hashlib
import os
from pathlib import Path

from scaffold.paths import PACKAGE
from scaffold.system.files import write_whole
from scaffold.updates.addresses import BUNDLE


def packaged_bundle() -> Path | None:
    """The history of the template that came along, if it did."""
    bundle = PACKAGE / "template.bundle"
    return bundle if bundle.is_file() else None


def placed_bundle() -> Path | None:
    """The history where projects say that it is, if it has all that ours has; ours where it has not."""
    placed, ours = Path(os.path.expanduser(BUNDLE)), packaged_bundle()
    if not placed.is_file() or (
        ours and not versions_in(ours.read_bytes()).items() <= versions_in(placed.read_bytes()).items()
    ):
        return ours
    return placed


def place_bundle() -> str:
    """Put the history where projects say that it is, unless one that knows all of it and more is there, whole. One with
    other versions, such as a fork's, is kept apart: what is said of it. It is a help for later: a home where it cannot
    be written is no reason to fail."""
    # not Path.expanduser, which fails where there is no home
    source, target = packaged_bundle(), Path(os.path.expanduser(BUNDLE))
    if source is None or not os.path.isdir(os.path.expanduser("~")):
        return ""
    said = ""
    try:
        ours, there = source.read_bytes(), target.read_bytes() if target.is_file() else b""
        if there == ours:
            return ""
        if _is_whole(there):
            known, found = versions_in(ours).items(), versions_in(there).items()
            if known < found:
                return ""
            if not found <= known:
                apart = target.with_name(f"template.{hashlib.sha256(there).hexdigest()[:12]}.bundle")
                write_whole(apart, there)
                said = f"{target} had versions of another template; it is kept as {apart.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, ours)
    except OSError:
        return ""
    return said


def versions_in(bundle: bytes) -> dict[bytes, bytes]:
    """The versions in a bundle, and what they are, by its header."""
    lines = [line.split(b" ", 1) for line in bundle.partition(b"\n\n")[0].split(b"\n")[1:]]
    return {line[1]: line[0] for line in lines if len(line) == 2 and line[1].startswith(b"refs/tags/")}


def _is_whole(bundle: bytes) -> bool:
    """Whether a bundle is one to its last byte: what git has packed ends with its hash."""
    head, _, pack = bundle.partition(b"\n\n")
    if not head.startswith((b"# v2 git bundle\n", b"# v3 git bundle\n")) or not pack.startswith(b"PACK"):
        return False
    algorithm = "sha256" if b"@object-format=sha256" in head else "sha1"
    size = hashlib.new(algorithm).digest_size
    return hashlib.new(algorithm, pack[:-size]).digest() == pack[-size:]
