"""What predict says where it is not told what to look at."""

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.generated.rendered import importable, render_project

# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")
TASKS = {folder.name for folder in (ROOT / "template" / "tasks").iterdir()} - {"language_model"}  # begins by itself


@pytest.mark.parametrize("task", sorted(TASKS))
def test_without_a_file_it_says_what_it_needs(
    tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "run/1"])

    with importable(render_project(tmp_path / "asked", task=task, logger="none")) as module:
        assert module("predict").main() == 2

    assert "error: name one or more images after the run" in capsys.readouterr().err
