"""The history of the template that comes with torch-scaffold, and goes where projects say that it is."""

import hashlib
import os
from pathlib import Path

from scaffold.paths import PACKAGE
from scaffold.system.files import write_whole
from scaffold.updates.addresses import BUNDLE

PLAIN, PACKED = PACKAGE / "template.bundle", PACKAGE / "template.bundle.xz"  # in a checkout, in a wheel
HEAD = 2**16  # bytes, in which the header of a bundle is


def packaged_bundle(most: int = -1) -> bytes:
    """The history of the template that came along, or so many bytes of it; none if it did not."""
    if PLAIN.is_file():
        with PLAIN.open("rb") as file:
            return file.read(most)
    if PACKED.is_file():
        import lzma

        with lzma.open(PACKED) as packed:
            return packed.read(most)
    return b""


def unpacked_bundle(folder: Path) -> Path | None:
    """The file of the history that came along, if it did; it is put into a folder where it is compressed."""
    if PLAIN.is_file():
        return PLAIN
    if not PACKED.is_file():
        return None
    path = folder / PLAIN.name
    path.write_bytes(packaged_bundle())
    return path


def placed_bundle(folder: Path) -> Path | None:
    """The history where projects say that it is, if it has all that ours has; ours where it has not, as a file that may
    be put into a folder."""
    placed, ours = Path(os.path.expanduser(BUNDLE)), versions_in(packaged_bundle(HEAD))
    if placed.is_file() and ours.items() <= versions_in(placed.read_bytes()).items():
        return placed
    return unpacked_bundle(folder)


def place_bundle() -> str:
    """Put the history where projects say that it is, unless one that knows all of it and more is there, whole. One with
    other versions, such as a fork's, is kept apart: what is said of it. It is a help for later: a home where it cannot
    be written is no reason to fail."""
    # not Path.expanduser, which fails where there is no home
    target, known = Path(os.path.expanduser(BUNDLE)), versions_in(packaged_bundle(HEAD)).items()
    if not known or not os.path.isdir(os.path.expanduser("~")):
        return ""
    said = ""
    try:
        there = target.read_bytes() if target.is_file() else b""
        if _is_whole(there):
            found = versions_in(there).items()
            if known <= found:
                return ""
            if not found <= known:
                apart = target.with_name(f"template.{hashlib.sha256(there).hexdigest()[:12]}.bundle")
                write_whole(apart, there)
                said = f"{target} had versions of another template; it is kept as {apart.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, packaged_bundle())
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
