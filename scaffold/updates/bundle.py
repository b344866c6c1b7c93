"""The history of the template that comes with torch-scaffold, and goes where projects say that it is."""

import os
from pathlib import Path

from scaffold.paths import PACKAGE
from scaffold.system.files import write_whole
from scaffold.updates.addresses import BUNDLE


def packaged_bundle() -> Path | None:
    """The history of the template that came along, if it did."""
    bundle = PACKAGE / "template.bundle"
    return bundle if bundle.is_file() else None


def place_bundle() -> None:
    """Put the history where projects say that it is, unless one that knows more versions is there. One of as many is
    ours, so that it is put right where it differs. It is a help for later: a home where it cannot be written is no
    reason to fail."""
    # not Path.expanduser, which fails where there is no home
    source, target = packaged_bundle(), Path(os.path.expanduser(BUNDLE))
    if source is None or not os.path.isdir(os.path.expanduser("~")):
        return
    try:
        there, ours = _tags_in(target), _tags_in(source)
        if there > ours or (there == ours and target.read_bytes() == source.read_bytes()):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, source.read_bytes())
    except OSError:
        return


def _tags_in(bundle: Path) -> int:
    """How many versions a bundle holds, by its header; less than none where there is none."""
    if not bundle.is_file():
        return -1
    with bundle.open("rb") as file:
        header = file.read(1 << 20).partition(b"\n\n")[0]
    return header.count(b" refs/tags/") if header.startswith(b"# v2 git bundle") else -1
