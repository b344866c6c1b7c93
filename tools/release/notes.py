"""The notes of a release, out of CHANGELOG.md: `python -m tools.release.notes v0.2.0 > notes.md`."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def notes(changelog: str, tag: str, repository: str = "") -> str:
    """The changes of a version, a line for each, since GitHub breaks lines where a text does; links lead to the tag."""
    heading = rf"^## \[{re.escape(tag.removeprefix('v'))}\][^\n]*\n(.*?)(?=^## |\Z)"
    found = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise SystemExit(f"CHANGELOG.md does not say what {tag} brings")
    text = re.sub(r"(?<=[^\n])\n[ ]*(?=[^\s#|-])", " ", found[1].strip())
    text += "\n\n[How to verify what you install](docs/verify.md)\n"
    return re.sub(r"\]\((?!https?:|#)", f"]({repository}/blob/{tag}/", text) if repository else text


if __name__ == "__main__":
    name = os.environ.get("GITHUB_REPOSITORY")
    address = f"{os.environ['GITHUB_SERVER_URL']}/{name}" if name else ""
    sys.stdout.write(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), sys.argv[1], address))
