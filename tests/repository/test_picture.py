"""The picture in the README shows the conversation as it is now."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.conftest import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def words(picture: Path) -> list[list[str]]:
    """What can be read in each frame; sizes and versions, which change with every template, as #."""
    frames = ElementTree.parse(picture).getroot().findall(f"{SVG}g")
    return [[re.sub(r"\d+ files|\d+ KB|\d+\.\d+\.\d+\w*", "#", text.text or "") for text in frame] for frame in frames]


def test_the_picture_is_up_to_date(tmp_path: Path) -> None:
    now = tmp_path / "session.svg"

    subprocess.run([sys.executable, str(ROOT / "tools" / "draw_session.py"), str(now)], check=True)

    assert words(ROOT / "docs" / "session.svg") == words(now), "draw it again:   python tools/draw_session.py"


def test_the_picture_shows_the_whole_conversation() -> None:
    frames = [" ".join(frame) for frame in words(ROOT / "docs" / "session.svg")]

    for text in ("Ask me everything", "did you mean 'stem'?", "75.1 %", "Create the project?", "Same again"):
        assert any(text in frame for frame in frames), text


def test_the_readme_shows_it_under_its_first_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    first = re.search(r"```sh\n.*?```\n\n(.*)", readme, re.DOTALL)
    assert first is not None
    assert first[1].startswith("![The conversation](docs/session.svg)")
