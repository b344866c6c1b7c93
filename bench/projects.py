"""Projects to measure: rendered from the work tree, importable in this process."""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from scaffold.paths import template_root
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy, render


@cache
def scratch() -> Path:
    """A folder for this measurement, removed at its end."""
    folder = tempfile.TemporaryDirectory(prefix="torch-scaffold-bench-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def make(name: str, under: Path | None = None, **given: Any) -> Path:
    """Renders the project of these answers (in a folder of its name) and puts it on the path; returns its folder."""
    form = Form(template_root())
    answers = form.recorded(form.fill({**given, "project_name": name}, name))
    template = scratch() / "template"
    if not template.exists():
        plain_copy(template_root(), template)
    folder = (under or scratch()) / name
    render(answers, folder, template)
    sys.path.insert(0, str(folder))
    return folder


def module(project: str, name: str) -> ModuleType:
    """A module of a project; the project's words go to its train.log only."""
    logging.lastResort = None
    return importlib.import_module(f"{project}.{name}")
