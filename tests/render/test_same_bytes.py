"""The same answers give the same bytes, by whatever road and in whatever environment."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scaffold import paths
from scaffold.render.rendering import plain_copy
from tests.conftest import Run, executables, tree

ORIGIN = (b"_src_path:", b"_commit:")


def without_origin(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, but for the two lines that say where the template came from."""
    lines = files[".copier-answers.yml"].splitlines(keepends=True)
    return {**files, ".copier-answers.yml": b"".join(line for line in lines if not line.startswith(ORIGIN))}


@pytest.mark.parametrize("preset", paths.presets())
def test_plain_copier_gives_what_scaffold_gives(scaffold: Run, here: Path, tmp_path: Path, preset: str) -> None:
    template = plain_copy(paths.template_root(), tmp_path / "template")
    command = [
        sys.executable,
        "-m",
        "copier",
        "copy",
        "--defaults",
        "--quiet",
        "--data-file",
        str(paths.presets()[preset]),
    ]

    subprocess.run([*command, str(template), "by-copier/p"], check=True)
    result = scaffold("new", "p", "--preset", preset, "--yes", "--no-git")

    assert result.code == 0, result.err
    assert without_origin(tree(here / "by-copier" / "p")) == without_origin(tree(here / "p"))
    assert executables(here / "by-copier" / "p") == executables(here / "p")


ENVIRONMENTS = {
    "hash seed": {"PYTHONHASHSEED": "7"},
    "time zone": {"TZ": "Pacific/Kiritimati"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8"},
    "git with CRLF": {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.autocrlf", "GIT_CONFIG_VALUE_0": "true"},
    "another home": {"HOME": "/dev/null"},
    "settings of Copier": {"COPIER_SETTINGS_PATH": "settings.yml"},
}


def test_the_environment_changes_no_byte(here: Path, tmp_path: Path) -> None:
    (here / "settings.yml").write_text("defaults: {model: vit, license: mit}\n")
    strange = tmp_path / "ein Ordner 🎉"
    strange.mkdir()
    command = [sys.executable, "-m", "scaffold", "new", "p", "--preset", "retrieval", "--yes"]

    found = {}
    for name, environment in {"none": {}, **ENVIRONMENTS}.items():
        folder = here / name
        folder.mkdir()
        subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, capture_output=True)
        found[name] = tree(folder / "p")
    subprocess.run(command, cwd=strange, check=True, capture_output=True, umask=0o077)
    found["strange folder, tight umask"] = tree(strange / "p")

    assert [name for name, files in found.items() if files != found["none"]] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007])
def test_a_project_follows_the_umask_and_executables_keep_their_bit(here: Path, umask: int) -> None:
    command = [sys.executable, "-m", "scaffold", "new", "p", "--yes", "--distributed", "ddp"]

    subprocess.run(command, cwd=here, check=True, capture_output=True, umask=umask)

    files = {path.relative_to(here): stat.S_IMODE(path.stat().st_mode) for path in here.rglob("*") if path.is_file()}
    modes = {name: mode for name, mode in files.items() if ".git" not in name.parts}
    bits = {name: 0o777 if name.suffix == ".sh" else 0o666 for name in modes}
    assert 0o777 in bits.values()
    assert {name: oct(mode) for name, mode in modes.items() if mode != bits[name] & ~umask} == {}


def test_projects_say_nothing_of_this_machine(scaffold: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_URL", "https://ada:secret@example.org/template.git")
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_REF", "v1.2.3")
    scaffold("new", "p", "--yes")

    answers = yaml.safe_load((here / "p" / ".copier-answers.yml").read_text())
    assert (answers["_src_path"], answers["_commit"]) == ("https://example.org/template.git", "v1.2.3")
    assert [name for name, content in tree(here / "p").items() if str(here).encode() in content] == []
