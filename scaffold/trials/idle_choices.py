"""Choices that change nothing."""

import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from scaffold.questions.form import Form
from scaffold.render.rendering import list_files, plain_copy, render
from scaffold.trials import pairwise


def idle_choices(template: Path, form: Form, tried: dict[str, list[Any]], jobs: int) -> list[str]:
    """The choices that give the same project as another choice of their question, but for what records the answers,
    and those that no project can have."""
    problems: list[str] = []
    couples: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for name, values in tried.items():
        rows = [pairwise.simplest(form, tried, {name: place}) for place in range(len(values))]
        problems += [
            f"{name}: no project can have {value!r}" for value, row in zip(values, rows, strict=True) if not row
        ]
        for one, two in combinations([row for row in rows if row], 2):
            # all other answers stay, as far as both choices ask for them
            common = {question: place for question, place in one.choices.items() if question in two.choices}
            other = pairwise.simplest(form, tried, {**common, name: two.choices[name]})
            if other:
                first, second = values[one.choices[name]], values[two.choices[name]]
                couples.append((f"{name}: {first!r} gives the same project as {second!r}", one.answers, other.answers))
    sets = {_key(answers): answers for _, *both in couples for answers in both}
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        source = plain_copy(template, Path(folder) / "template")
        with ProcessPoolExecutor(min(jobs, 61)) as pool:  # Windows takes no more
            trees = dict(zip(sets, pool.map(partial(_tree, source=source), sets.values()), strict=True))
    return problems + [label for label, one, two in couples if trees[_key(one)] == trees[_key(two)]]


def _key(answers: dict[str, Any]) -> str:
    return json.dumps(answers, sort_keys=True)


def _tree(answers: dict[str, Any], source: Path) -> dict[str, bytes]:
    """The files of a project without those that record its answers, and without its names."""
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        project = Path(folder) / "project"
        render(answers, project, source)
        return {
            name: (project / name).read_bytes()
            for name in list_files(project)
            if name not in ("README.md", ".copier-answers.yml")
        }
