"""Conflicts that have no marks are told as what they are, and what is advised to type never loses the owner's version."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.updates.updating import SEED, History, append, commit, git, history, move, project, remove

__all__ = ["history", "project"]  # fixtures

SEEDING = SEED.replace("seed.py", "seeding.py")


def rename_seed(project: Path) -> None:
    move("p/engine/seed.py", "p/engine/mine.py")(project)
    append("p/engine/mine.py", "# mine\n")(project)


def runs(folder: Path) -> None:
    append("tool.sh", "echo\n")(folder)
    (folder / "tool.sh").chmod(0o755)


# what the user does, what the template does, what is told, and files that then have something of the user's
SETTLED: dict[str, tuple[Callable[[Path], object], list[Callable[[Path], object]], str, dict[str, str]]] = {
    "both renamed": (
        rename_seed,
        [move(SEED, SEEDING), append(SEEDING, "# theirs\n")],
        "p/engine/seed.py goes to p/engine/seeding.py, and you call it p/engine/mine.py; both are there",
        {"p/engine/mine.py": "# mine\n", "p/engine/seeding.py": "# theirs\n"},
    ),
    "deleted and renamed": (
        remove("p/engine/seed.py"),
        [move(SEED, SEEDING), append(SEEDING, "# theirs\n")],
        "p/engine/seed.py goes to p/engine/seeding.py; you had deleted it, and it stays so",
        {},
    ),
    "renamed and deleted": (
        rename_seed,
        [remove(SEED)],
        "the template has no p/engine/mine.py any more; yours stays",
        {"p/engine/mine.py": "# mine\n"},
    ),
    "the same file, which can be run or not": (
        runs,
        [append("template/project/tool.sh", "echo\n")],
        "Updated to v2.0.0",
        {"tool.sh": "echo\n"},
    ),
}


@pytest.mark.figure(
    "A7 conflicts without marks", "renamed by both, deleted and renamed, modes, contents that are no text"
)
@pytest.mark.parametrize("case", SETTLED)
def test_what_has_no_two_contents_is_no_conflict(scaffold: Run, history: History, project: Path, case: str) -> None:
    edit, release, told, files = SETTLED[case]
    edit(project)
    commit(project)
    history.release(*release)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert told in result.err
    assert git(project, "status", "--porcelain") == ""
    for name, text in files.items():
        assert (project / name).read_text().endswith(text), name
    assert (project / "p/engine/seed.py").exists() == (case == "the same file, which can be run or not")
    assert git(project, "ls-files", "-s", "tool.sh")[:6] in ("", "100755")


def both_binary(project: Path) -> None:
    append("tool.bin", "mine\0\n")(project)


def not_text(project: Path) -> None:
    append("tool.bin", "mine\n")(project)
    append(".gitattributes", "*.bin -merge\n")(project)


@pytest.mark.figure(
    "A7 conflicts without marks", "renamed by both, deleted and renamed, modes, contents that are no text"
)
@pytest.mark.parametrize("edit", [both_binary, not_text])
def test_a_file_that_cannot_be_merged_by_lines_is_told_as_that(
    scaffold: Run, history: History, project: Path, edit: Callable[[Path], None]
) -> None:
    edit(project)
    append("tool.bin.template", "mine too\n")(project)
    commit(project)
    mine = (project / "tool.bin").read_bytes()
    history.release(append("template/project/tool.bin", "theirs\0\n"))

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "you and the template have changed tool.bin, which git cannot merge by lines; yours is there" in result.err
    assert "<<<<<<<" not in result.err
    words = ["the other     ", "edit, then    "]
    for word in words:  # following it to the letter
        subprocess.run(result.err.split(word)[1].splitlines()[0], shell=True, check=True, capture_output=True)
    assert (project / "tool.bin").read_bytes() == mine
    assert (project / "tool.bin.template").read_text() == "mine too\n"
    assert (project / "tool.bin.template_").read_bytes() == b"theirs\0\n"
    assert git(project, "status", "--porcelain") == ""
