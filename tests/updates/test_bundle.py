"""The history of the template in its one place: damaged, cut off, of another template, newer, older."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scaffold.updates import bundle
from scaffold.updates.addresses import BUNDLE
from scaffold.updates.bundle import place_bundle, placed_bundle
from tests.conftest import Run
from tests.updates.updating import append, commit, git


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of the template's history, and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    git(tmp_path, "clone", "--quiet", str(bundle.PLAIN), "clone")
    return tmp_path / "clone"


def place(home: Path) -> Path:
    found = home / BUNDLE.removeprefix("~/")
    found.parent.mkdir(parents=True, exist_ok=True)
    return found


def pack(clone: Path, path: Path) -> bytes:
    """A bundle of the clone, at a path."""
    subprocess.run(["git", "bundle", "create", "--quiet", str(path), "--all"], cwd=clone, check=True)
    return path.read_bytes()


def ours() -> bytes:
    return bundle.PLAIN.read_bytes()


@pytest.mark.figure("A8 the bundle in its place", "a byte changed, cut off or too much, at a hundred places")
def test_a_bundle_with_any_byte_damaged_or_cut_off_is_put_right(
    clone: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    whole, target = ours(), place(tmp_path)
    size = len(whole)
    record_property("tries", 3 * len(range(0, size, size // 100)))
    for at in range(0, size, size // 100):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole + whole[:at]):
            target.write_bytes(damaged)
            place_bundle()
            assert target.read_bytes() == whole, at


def add_version(clone: Path) -> None:
    append("copier.yml", "# newer\n")(clone)
    commit(clone)
    git(clone, "tag", "--annotate", "--message", "newer", "v999.0.0")


@pytest.mark.figure("A8 the bundle in its place", "newer, older and another template's")
def test_a_newer_bundle_stays_and_one_that_is_damaged_does_not(clone: Path, tmp_path: Path) -> None:
    add_version(clone)
    newer = pack(clone, place(tmp_path))

    assert (place_bundle(), place(tmp_path).read_bytes()) == ("", newer)
    place(tmp_path).write_bytes(newer[:-1000])
    assert (place_bundle(), place(tmp_path).read_bytes()) == ("", ours())


@pytest.mark.figure("A8 the bundle in its place", "newer, older and another template's")
def test_an_older_bundle_is_replaced(clone: Path, tmp_path: Path) -> None:
    last = git(clone, "tag", "--sort=version:refname").split()[-1]
    git(clone, "tag", "--delete", last)
    pack(clone, place(tmp_path))

    assert (place_bundle(), place(tmp_path).read_bytes()) == ("", ours())
    assert len(list(place(tmp_path).parent.iterdir())) == 1


def of_a_fork(clone: Path) -> None:
    """A version of the same number that is another one, as a fork has it."""
    last = git(clone, "tag", "--sort=version:refname").split()[-1]
    append("copier.yml", "# lab\n")(clone)
    commit(clone)
    git(clone, "tag", "--force", "--annotate", "--message", "lab", last)


def with_its_own(clone: Path) -> None:
    """A version that only a fork has, and none of the last of ours."""
    git(clone, "tag", "--delete", git(clone, "tag", "--sort=version:refname").split()[-1])
    add_version(clone)


def of_somebody_else(clone: Path) -> None:
    for tag in git(clone, "tag").split():
        git(clone, "tag", "--delete", tag)
    git(clone, "tag", "--annotate", "--message", "x", "v1.0.0")


@pytest.mark.figure("A8 the bundle in its place", "newer, older and another template's")
@pytest.mark.parametrize("make", [of_a_fork, with_its_own, of_somebody_else])
def test_a_bundle_of_another_template_is_kept_apart_and_never_taken_for_ours(
    scaffold: Run, clone: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(clone)
    other = pack(clone, place(tmp_path))
    assert placed_bundle(tmp_path) == bundle.PLAIN

    said = scaffold("list", "tasks").err

    assert "had versions of another template; it is kept as template." in said
    assert place(tmp_path).read_bytes() == ours()
    (apart,) = [path for path in place(tmp_path).parent.iterdir() if path != place(tmp_path)]
    assert apart.read_bytes() == other
    assert apart.name in said
    assert scaffold("list", "tasks").err == ""
