"""The wheel carries all it needs: it works with no checkout near, and gives the checkout's bytes."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from scaffold import paths
from tests.conftest import ROOT, executables, tree
from tests.render.test_same_bytes import without_origin
from tools.release.try_wheel import MOST_BYTES


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout as a busy one looks: with caches, and a file that may only be read."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("scaffold", "template", "presets"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("copier.yml", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "README.md").touch()
    (folder / "template" / "parts" / "__pycache__").mkdir(exist_ok=True)
    (folder / "template" / "parts" / "__pycache__" / "x.cpython-312.pyc").write_bytes(b"")
    (folder / "copier.yml").chmod(0o444)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of that checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an environment of its own; the dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "install",
            "--no-deps",
            "--no-compile",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
    )
    here = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (site / "dependencies.pth").write_text(f"{here}\n")
    return folder / "bin" / "python"


def test_the_wheel_has_the_template_and_nothing_else(wheel: Path, checkout: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    template = {path.relative_to(checkout).as_posix() for path in (checkout / "template").rglob("*") if path.is_file()}
    template = {name for name in template if "__pycache__" not in name}
    packaged = {
        name.removeprefix("scaffold/_template/") for name in names if name.startswith("scaffold/_template/template/")
    }
    assert packaged == template
    assert "scaffold/_template/copier.yml" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "docs", "template"))]


def test_the_wheel_is_small_and_stores_nothing_twice(wheel: Path) -> None:
    """Sample data most of all, which several kinds of projects share."""
    with zipfile.ZipFile(wheel) as archive:
        contents = [archive.read(name) for name in archive.namelist()]

    large = [content for content in contents if len(content) > 10_000]
    assert wheel.stat().st_size < MOST_BYTES
    assert len(large) > 5
    assert len(large) == len({*large})


@pytest.mark.parametrize("preset", paths.presets())
def test_the_installed_wheel_gives_the_bytes_of_the_checkout(
    installed: Path, checkout: Path, here: Path, preset: str
) -> None:
    words = ["-m", "scaffold", "new", "p", "--preset", preset, "--yes", "--no-git"]
    for name, python, found in (("wheel", str(installed), ""), ("checkout", sys.executable, str(checkout))):
        (here / name).mkdir()
        environment = {**os.environ, "PYTHONPATH": found}
        subprocess.run([python, *words], cwd=here / name, env=environment, check=True, capture_output=True)

    origin = (here / "wheel" / "p" / ".copier-answers.yml").read_text()
    assert "_src_path: ~/.local/share/torch-scaffold/template.bundle" in origin
    assert without_origin(tree(here / "wheel" / "p")) == without_origin(tree(here / "checkout" / "p"))
    assert executables(here / "wheel" / "p") == executables(here / "checkout" / "p")
