"""A package that its owner has moved as a whole, as to src/, is followed: by updates, changes and the check."""

from pathlib import Path

import pytest

from tests.conftest import Run
from tests.updates.small_template import Small, small
from tests.updates.updating import append, commit, git

__all__ = ["small"]  # a fixture


@pytest.mark.figure(
    "A11 what was moved, and which version", "a package in src/, and versions that would not be rendered"
)
@pytest.mark.parametrize("place", ["src/p", "lib/deep/p"])
def test_a_package_that_was_moved_is_followed(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("scaffold.health.check.ask_python", lambda *_: {"python": "3.13.0"})
    small.write({"p/code.py": "VALUE = 3\n", "p/new.py": "NEW = 1\n"})
    small.tag("v3.0.0")

    def move(project: Path) -> None:
        (project / place).parent.mkdir(parents=True)
        git(project, "mv", "p", place)

    project = small.project(here / "p", edit=move)
    monkeypatch.chdir(project)

    checked = scaffold("check").out
    assert f"the package p is at {place}" in checked
    assert "you deleted" not in checked
    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert f"you have moved p to {place}, and what the template has in it goes there" in result.err
    assert not (project / "p").exists()
    assert (project / place / "code.py").read_text() == "VALUE = 3\n"
    assert (project / place / "new.py").read_text() == "NEW = 1\n"
    assert git(project, "status", "--porcelain") == ""
    append(f"{place}/code.py", "# mine\n")(project)
    commit(project)
    assert scaffold("change", "--yes", "--scheduler", "step").code == 0
    assert (project / place / "code.py").read_text() == "VALUE = 3\n# mine\n"
