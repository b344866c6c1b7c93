"""Where a project may appear: whole, by one rename, and never over anybody else's files."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scaffold.errors import CreateFailed
from scaffold.render.project import create
from tests.conftest import Run, tree


def empty(target: Path) -> None:
    target.mkdir()


def only_git(target: Path) -> None:
    subprocess.run(["git", "init", "-q", str(target)], check=True)


def two_files(target: Path) -> None:
    target.mkdir()
    (target / "README.md").write_text("mine")
    (target / "LICENSE").write_text("mine")


def hidden_file(target: Path) -> None:
    target.mkdir()
    (target / ".env").write_text("secret")


def a_file(target: Path) -> None:
    target.write_text("mine")


def link_to_folder(target: Path) -> None:
    (target.parent / "elsewhere").mkdir()
    target.symlink_to(target.parent / "elsewhere")


def link_to_nothing(target: Path) -> None:
    target.symlink_to(target.parent / "nowhere")


def link_to_itself(target: Path) -> None:
    target.symlink_to(target)


def fifo(target: Path) -> None:
    os.mkfifo(target)


TAKEN = [only_git, two_files, hidden_file, a_file, link_to_folder, link_to_nothing, link_to_itself, fifo]


def everything(folder: Path) -> list[tuple[str, int, bytes]]:
    """All that is in a folder: names, kinds and modes, bytes."""
    return [
        (
            path.relative_to(folder).as_posix(),
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in sorted(folder.rglob("*"))
    ]


@pytest.mark.parametrize("state", TAKEN, ids=lambda state: str(state.__name__))
@pytest.mark.parametrize("flags", [["--yes"], ["--yes", "--no-git"], ["--yes", "--json"], []], ids=" ".join)
def test_a_taken_place_is_left_alone(
    scaffold: Run, here: Path, state: Callable[[Path], None], flags: list[str]
) -> None:
    state(here / "thesis")
    before = everything(here)

    result = scaffold("new", "thesis", *flags)

    assert result.code == 3
    assert result.err.startswith("error: ./thesis ")
    assert "scaffold new ./thesis-2 --yes" in result.err
    assert result.err.endswith("Nothing was written.\n")
    assert everything(here) == before


def test_a_taken_folder_is_described(scaffold: Run, here: Path) -> None:
    two_files(here / "thesis")

    assert "error: ./thesis has 2 files (LICENSE, …)" in scaffold("new", "thesis", "--yes").err


def test_an_empty_folder_becomes_the_project(scaffold: Run, here: Path) -> None:
    empty(here / "p")

    assert scaffold("new", "p", "--yes", "--no-git").code == 0
    assert (here / "p" / "README.md").is_file()
    assert [path.name for path in here.iterdir()] == ["p"]


def test_neighbours_are_left_alone(scaffold: Run, here: Path) -> None:
    (here / ".p.partial-notours").mkdir()
    (here / ".p.partial-notours" / "mine").write_text("mine")
    (here / ".p.partial-abcd1234").mkdir()
    (here / ".p.partial-abcd1234" / "mine").write_text("mine")
    (here / "P2").write_text("mine")
    before = everything(here)

    assert scaffold("new", "p", "--yes").code == 0
    assert [entry for entry in everything(here) if not (entry[0] + "/").startswith("p/")] == before


@pytest.mark.parametrize("path", [".", "..", "../here", ""])
def test_the_folder_one_is_in_is_refused(scaffold: Run, here: Path, path: str) -> None:
    result = scaffold("new", path, "--yes", "--name", "p")

    assert result.code in (2, 3)
    assert result.err.startswith("error: ")
    assert list(here.iterdir()) == []


def test_a_missing_parent_is_a_sentence(scaffold: Run, here: Path) -> None:
    result = scaffold("new", "a/b/p", "--yes")

    assert (result.code, list(here.iterdir())) == (3, [])
    assert "error: there is no folder ./a/b" in result.err


def test_a_parent_that_cannot_be_written_is_a_sentence(scaffold: Run) -> None:
    result = scaffold("new", "/proc/p", "--yes")

    assert result.code == 1
    assert result.err.startswith("error: p could not be written: ")


def test_a_parent_that_is_a_file_is_a_sentence(scaffold: Run, here: Path) -> None:
    (here / "file").write_text("mine")

    assert scaffold("new", "file/p", "--yes").code == 3


def test_a_link_on_the_way_is_followed(scaffold: Run, here: Path) -> None:
    (here / "real").mkdir()
    (here / "link").symlink_to("real")

    assert scaffold("new", "link/p", "--yes", "--no-git").code == 0
    assert (here / "real" / "p" / "README.md").is_file()


def test_a_twin_in_other_letters_is_left_alone(scaffold: Run, here: Path) -> None:
    (here / "Thesis").mkdir()
    (here / "Thesis" / "paper.tex").write_text("mine")
    same = (here / "thesis").exists()  # on a disk that does not tell them apart

    result = scaffold("new", "thesis", "--yes", "--no-git")

    assert result.code == (3 if same else 0)
    assert tree(here / "Thesis") == {"paper.tex": b"mine"}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system that everybody may write to")
def test_another_file_system_is_as_good(scaffold: Run, here: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert os.stat(folder).st_dev != os.stat(here).st_dev

        result = scaffold("new", f"{folder}/p", "--yes", "--no-git")

        assert result.code == 0, result.err
        assert [path.name for path in Path(folder).iterdir()] == ["p"]
        assert (Path(folder) / "p" / "README.md").is_file()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_of_somebody_else_is_left_alone(small_template: Path, there: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        theirs, template = Path(folder) / "theirs", Path(folder) / "template"
        shutil.copytree(small_template, template)
        (theirs / "p" if there else theirs).mkdir(parents=True)
        for path in (Path(folder), theirs):
            path.chmod(0o755)
        before = everything(theirs)

        child = os.fork()
        if not child:
            code = 70
            try:
                os.setuid(65534)
                create({"who": "me"}, theirs / "p", template=template, git=False)
            except CreateFailed as error:
                code = 1 if "Permission denied" in error.message else 71
            finally:
                os._exit(code)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert everything(theirs) == before


def test_of_racing_writers_exactly_one_wins(here: Path, small_template: Path) -> None:
    for number in range(4):
        target = here / f"p{number}"
        ends: list[object] = []

        def write(target: Path = target, ends: list[object] = ends) -> None:
            code = (
                "import sys, pathlib; from scaffold import errors; from scaffold.render import project\n"
                "try: project.create({'who': str(pathlib.Path().resolve())}, pathlib.Path(sys.argv[1]),"
                " template=pathlib.Path(sys.argv[2]), git=False)\n"
                "except errors.Refused: sys.exit(3)"
            )
            words = [sys.executable, "-c", code, str(target), str(small_template)]
            ends.append(subprocess.run(words, check=False).returncode)

        writers = [threading.Thread(target=write) for _ in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()

        assert sorted(map(str, ends)) == ["0", "3", "3"]
        assert sorted(tree(target)) == [".copier-answers.yml", "a.txt", "folder/b.txt"]
        assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_created_files_are_listed(here: Path, small_template: Path) -> None:
    made = create({"who": "me"}, here / "p", template=small_template)

    assert made.files == [".copier-answers.yml", "a.txt", "folder/b.txt"]
    assert (here / "p" / "a.txt").read_text() == "me\n"
    assert made.uncommitted == ""
