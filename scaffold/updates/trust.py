"""Which templates are taken: ours, and those that the user said yes to."""

import os
from pathlib import Path

from scaffold.errors import BadAnswer, Refused
from scaffold.system.shell import join
from scaffold.updates.addresses import BUNDLE
from scaffold.updates.answers_file import Tampered
from scaffold.updates.origin import find_origin

# Addresses of templates that the user said yes to, one a line.
_CONFIRMED = "~/.local/share/torch-scaffold/addresses"


def check_address(address: str) -> None:
    """Refuse a template that is neither ours nor one that the user said yes to."""
    if address not in (BUNDLE, find_origin().record["_src_path"], *_confirmed()):
        raise Tampered(
            f"the template's address is not one that this torch-scaffold knows: {address}",
            help=f"if you trust it, say so once   {join(['scaffold', 'update', '--trust', address])}",
        )


def confirm_address(address: str, recorded: str) -> None:
    """Remember that the user trusts an address, which must be the recorded one."""
    if address != recorded:
        raise BadAnswer(f"the project's template is not at {address} but at {recorded}", at="--trust")
    if address not in _confirmed():
        path = Path(os.path.expanduser(_CONFIRMED))
        if not path.is_absolute():
            raise Refused("there is no home to remember the address in", help="set HOME")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{address}\n")


def _confirmed() -> list[str]:
    path = Path(os.path.expanduser(_CONFIRMED))
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
