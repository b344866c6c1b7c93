"""What tests of updates share: throwaway histories made from the real template, and projects made from them."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaffold import paths
from scaffold.render.rendering import plain_copy, render
from scaffold.trials import pairwise, values
from scaffold.trials.quick_form import QuickForm
from tests.conftest import ROOT, takes, tree

SEED = "template/project/{{ package_name }}/engine/seed.py"
TRAIN = "template/project/{{ package_name }}/train.py.jinja"
BUNDLE = ROOT / "scaffold" / "template.bundle"


def git(folder: Path, *words: str) -> str:
    """What git answers in a folder, every byte of it."""
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True).stdout.decode()


def commit(folder: Path, message: str = "Edit") -> None:
    """Commit everything in a folder."""
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


class History:
    """A repository with versions of a template."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions: list[str] = []
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main")

    def release(self, *edits: Callable[[Path], object], news: str = "- Something new") -> str:
        """Tag a version, the real template at first, then the last one with some edits."""
        if not self.versions:
            plain_copy(paths.template_root(), self.folder)
        for edit in edits:
            edit(self.folder)
        version = f"v{len(self.versions) + 1}.0.0"
        commit(self.folder, version)
        git(self.folder, "tag", "--annotate", "--cleanup=verbatim", "--message", f"{version}\n\n{news}", version)
        self.versions.append(version)
        return version

    def template(self, version: str, folder: Path) -> Path:
        """The plain files of a version."""
        folder.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", version], cwd=self.folder, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        return folder

    def make(self, project: Path, version: str, answers: Mapping[str, Any] | None = None) -> Path:
        """A project of a version, with its first commit."""
        with tempfile.TemporaryDirectory() as folder:
            template = self.template(version, Path(folder) / "template")
            render(answers or {}, project, template, {"_src_path": str(self.folder), "_commit": version})
        git(project, "init", "--quiet", "--initial-branch=main")
        commit(project, "Start")
        return project

    def fresh(self, folder: Path, version: str, answers: Mapping[str, Any]) -> dict[str, bytes]:
        """The files of a project generated anew."""
        template = self.template(version, folder / "template")
        render(answers, folder / "project", template, {"_src_path": str(self.folder), "_commit": version})
        return tree(folder / "project")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """A history with one version, the real template, at the address that this torch-scaffold is told to use."""
    found = History(tmp_path / "history")
    found.release()
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_URL", str(found.folder))
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_REF", "v1.0.0")
    monkeypatch.setenv("HOME", str(tmp_path))
    return found


@pytest.fixture
def project(history: History, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the first version with the default answers, to work in."""
    made = history.make(here / "p", "v1.0.0")
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """Every version that was released, and the template as it stands as the newest."""
    found = History(tmp_path / "releases")
    git(found.folder, "pull", "--quiet", "--tags", str(BUNDLE), "main")
    found.versions = git(found.folder, "tag", "--sort=version:refname").split()
    for name in ("copier.yml", "template"):
        path = found.folder / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    plain_copy(paths.template_root(), found.folder)
    commit(found.folder, "The newest")
    git(found.folder, "tag", "--annotate", "--message", "newest", "v1000.0.0")
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_URL", str(found.folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    return found


def answers_of(project: Path) -> dict[str, Any]:
    """The answers that a project records, with its origin."""
    content = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert isinstance(content, dict)
    return content


def own_answers(project: Path) -> dict[str, Any]:
    """The answers that a project records, without its origin."""
    return {name: value for name, value in answers_of(project).items() if not name.startswith("_")}


def replace(name: str, before: str, after: str) -> Callable[[Path], None]:
    """An edit: other text in a file, which must have the text before."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text, f"{name} has no {before!r}"
        (folder / name).write_text(text.replace(before, after, 1))

    return edit


def append(name: str, text: str) -> Callable[[Path], None]:
    """An edit: more text at the end of a file, which comes to be if it must."""

    def edit(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a") as file:
            file.write(text)

    return edit


def remove(name: str) -> Callable[[Path], None]:
    """An edit: a file less."""
    return lambda folder: (folder / name).unlink()


def move(name: str, to: str) -> Callable[[Path], None]:
    """An edit: a file under another name."""

    def edit(folder: Path) -> None:
        shutil.move(folder / name, folder / to)

    return edit


def answer_sets(template: Path) -> list[dict[str, Any]]:
    """Every preset that a template takes, and rows that between them have every value of every question of it."""
    form = QuickForm(template)
    presets = [yaml.safe_load(path.read_text()) for path in paths.presets().values()]
    rows = pairwise.every(form, values.tried_values(form, values.facts(template)["values"]))
    return [*(preset for preset in presets if takes(form, preset)), *(row.answers for row in rows)]


def some_answers(template: Path, dice: random.Random) -> dict[str, Any]:
    """Answers that a template takes, drawn at random."""
    form = QuickForm(template)
    tried = values.tried_values(form, values.facts(template)["values"])
    row = pairwise.complete(form, tried, {}, lambda name, _: dice.sample(range(len(tried[name])), len(tried[name])))
    assert row
    return row.answers


def copier(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Plain Copier, as anybody has it."""
    return subprocess.run(
        [sys.executable, "-m", "copier", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
