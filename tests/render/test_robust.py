"""The project appears whole or not at all: whatever happens, at whatever moment."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier  # noqa: F401  # loaded once here, not in every child
import pytest

from scaffold.errors import CreateFailed
from scaffold.questions.form import Form
from scaffold.render.project import create
from tests.conftest import tree

EVENTS = ("open", "os.", "shutil.", "subprocess.Popen", "tempfile.", "fcntl.")
Fault = Callable[[], None]


def kill(number: int) -> Fault:
    """Die, or be asked to, by a signal."""
    return lambda: os.kill(os.getpid(), number)


def fail(number: int) -> Fault:
    """Have the operation fail, and every one after it too when the disk is full."""

    def fault() -> None:
        raise OSError(number, os.strerror(number))

    return fault


FAULTS: dict[str, Fault] = {
    "SIGKILL": kill(signal.SIGKILL),
    "SIGTERM": kill(signal.SIGTERM),
    "SIGINT": kill(signal.SIGINT),
    "ENOSPC": fail(errno.ENOSPC),
    "EIO": fail(errno.EIO),
}


def die_at(number: int, fault: Fault, make: Callable[[], Any], place: Path) -> tuple[int, int]:
    """Make a project in a child process with a fault at its n-th operation on files of the place. The child's status,
    and how many operations there were."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        status = os.waitpid(child, 0)[1]
        with os.fdopen(reader) as counted:
            return status, int(counted.read() or 0)

    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event.startswith(EVENTS) and str(place) in str(arguments):
            count += 1
            if count == number:
                fault()

    code = 70
    try:
        sys.addaudithook(watch)
        make()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except KeyboardInterrupt:
        code = 130
    except CreateFailed:
        code = 1
    finally:
        os.write(writer, str(count).encode())
        os._exit(code)


@pytest.mark.parametrize("name", FAULTS)
def test_at_every_operation_the_project_is_whole_or_absent(
    here: Path, tmp_path: Path, small_template: Path, name: str
) -> None:
    foreign = here / "foreign.txt"
    foreign.write_text("mine")
    create({"who": "me"}, here / "whole", template=small_template, git=False)
    whole = tree(here / "whole")

    number, ended = 0, {}
    while True:
        number += 1
        place = tmp_path / f"place-{number}"
        place.mkdir()
        status, operations = die_at(
            number,
            FAULTS[name],
            lambda place=place: create({"who": "me"}, place / "p", template=small_template, git=False),  # type: ignore[misc]  # bound now
            place,
        )
        left = [path.name for path in place.iterdir()]
        assert tree(place / "p") in ({}, whole), (number, left)
        assert not (place / "p").exists() or tree(place / "p") == whole
        if name == "SIGKILL":
            assert len([path for path in left if path.startswith(".p.partial-")]) <= 1
        elif name in ("SIGTERM", "SIGINT"):
            assert [path for path in left if path != "p"] == [], number
        if not (place / "p").exists():
            create({"who": "me"}, place / "p", template=small_template, git=False)
            assert tree(place / "p") == whole
            assert [path.name for path in place.iterdir()] == ["p"], (number, left)
        ended[number] = status
        if status == 0 and operations < number:
            break

    assert number > 20
    assert foreign.read_text() == "mine"


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "ENOSPC"])
def test_the_real_template_is_whole_or_absent_too(here: Path, tmp_path: Path, form: Form, name: str) -> None:
    answers = form.recorded(form.fill({"project_name": "p"}, "p"))
    create(answers, here / "p", origin={"_src_path": "x"}, git=False)
    whole = tree(here / "p")

    for number in range(5, 400, 45):
        place = tmp_path / f"place-{number}"
        place.mkdir()
        die_at(
            number,
            FAULTS[name],
            lambda place=place: create(answers, place / "p", origin={"_src_path": "x"}),  # type: ignore[misc]  # bound now
            place,
        )
        assert tree(place / "p") in ({}, whole)
        if not (place / "p").exists():
            assert create(answers, place / "p", origin={"_src_path": "x"}, git=False).files == sorted(whole)
            assert [path.name for path in place.iterdir()] == ["p"]


def test_a_template_that_cannot_be_rendered_leaves_nothing(here: Path, small_template: Path) -> None:
    (small_template / "template" / "project" / "bad.txt.jinja").write_text("{{ nobody_knows.this }}")

    with pytest.raises(CreateFailed, match="the template cannot be rendered"):
        create({"who": "me"}, here / "p", template=small_template)

    assert list(here.iterdir()) == []


def test_odd_modes_and_caches_of_a_template_do_not_land_in_projects(here: Path, small_template: Path) -> None:
    source = small_template / "template" / "project"
    (source / "a.txt.jinja").chmod(0o400)
    (source / "folder" / "b.txt").chmod(0o777)
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "c.pyc").write_bytes(b"")
    (source / "c.pyc").write_bytes(b"")

    made = create({"who": "me"}, here / "p", template=small_template)

    assert made.files == [".copier-answers.yml", "a.txt", "folder/b.txt"]
    assert [(here / "p" / name).stat().st_mode & 0o777 for name in made.files] == [0o644, 0o644, 0o755]
