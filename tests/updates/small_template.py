"""A template of a few files, with two versions, whose updates take no time: for what is tried in many ways."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scaffold.render.rendering import render
from tests.updates.updating import commit, git

QUESTIONS = """_subdirectory: template/project
_exclude: []
project_name:
  type: str
  default: "{{ _folder_name }}"
package_name:
  type: str
  ask: false
  default: p
scheduler:
  type: str
  choices: [cosine, step]
  default: cosine
"""
ANSWERS = (
    "{{ dict(dict(_copier_answers, **(scaffold_origin | default({}))) | dictsort) | to_nice_yaml(sort_keys=False) -}}\n"
)
LINES = "".join(f"line {number}\n" for number in range(20))
FIRST = {
    "changed.txt": LINES,
    "kept.txt": LINES,
    "gone.txt": "gone\n",
    "way": "a file\n",
    "p/__init__.py": "",
    "p/code.py": "VALUE = 1\n",
    "colour.txt.jinja": "{{ scheduler }}\n",
    "run.sh": "echo\n",
}
SECOND: dict[str, str | None] = {
    "changed.txt": LINES.replace("line 3\n", "line 3, theirs\n"),
    "gone.txt": None,
    "way": None,
    "way/in/it.txt": "it\n",
    "new/a.txt": "a\n",
    "p/code.py": "VALUE = 2\n",
}


class Small:
    """The history of the template, and projects of its first version with an edit of their owner's."""

    def __init__(self, folder: Path) -> None:
        self.template = folder / "small"
        (self.template / "template" / "project").mkdir(parents=True)
        git(self.template, "init", "--quiet", "--initial-branch=main")
        (self.template / "copier.yml").write_text(QUESTIONS)
        self.write({**FIRST, "{{ _copier_conf.answers_file }}.jinja": ANSWERS})
        self.tag("v1.0.0")
        self.plain = folder / "plain"
        git(folder, "clone", "--quiet", "--branch", "v1.0.0", str(self.template), str(self.plain))
        self.write(SECOND)
        self.tag("v2.0.0")

    def write(self, files: dict[str, str] | dict[str, str | None]) -> None:
        folder = self.template / "template" / "project"
        for name, text in files.items():
            if text is None:
                (folder / name).unlink()
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def tag(self, version: str) -> None:
        commit(self.template, version)
        git(self.template, "tag", "--annotate", "--message", f"{version}\n\n- news", version)

    def project(self, folder: Path, *, conflict: bool = False, edit: Callable[[Path], object] = lambda _: None) -> Path:
        """A project with a line of its owner's, which the template changes as well where there is to be a conflict."""
        render(
            {"project_name": "p", "package_name": "p", "scheduler": "cosine"},
            folder,
            self.plain,
            {"_src_path": str(self.template), "_commit": "v1.0.0"},
        )
        git(folder, "init", "--quiet", "--initial-branch=main")
        commit(folder, "Start")
        edit(folder)
        (folder / "mine.txt").write_text("mine\n")
        text = (folder / "changed.txt").read_bytes()
        line = b"line 3" if conflict else b"line 15"
        (folder / "changed.txt").write_bytes(text.replace(line, line + b", mine"))
        if conflict:  # of another answer as well
            (folder / "colour.txt").write_text("mine\n")
        commit(folder, "Mine")
        return folder


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """The template, at the address that this torch-scaffold is told to use."""
    found = Small(tmp_path)
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_URL", str(found.template))
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_REF", "v1.0.0")
    monkeypatch.setenv("HOME", str(tmp_path))
    os.environ.pop("CI", None)
    return found
