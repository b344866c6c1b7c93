"""Copier run by its private `Worker`, with templates from the cache, and by its public function where there is none."""

import sys
from pathlib import Path
from typing import Any

import copier
import pytest

from scaffold.questions.answers import complete, gather
from scaffold.questions.form import Form
from scaffold.render.rendering import render
from tests.conftest import tree


def test_a_copier_that_is_built_otherwise_gives_the_same_bytes(
    form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = complete(form, gather(form, {}, preset=None, answers_file=None), "p")
    render(answers, tmp_path / "private" / "p")
    runs, public = [], copier.run_copy

    def counted(*words: Any, **how: Any) -> None:
        runs.append(words)
        public(*words, **how)

    monkeypatch.setattr("copier.run_copy", counted)
    monkeypatch.setitem(sys.modules, "copier._main", None)

    render(answers, tmp_path / "public" / "p")

    assert len(runs) == 1
    assert tree(tmp_path / "public") == tree(tmp_path / "private")
    assert len(tree(tmp_path / "public")) > 20


def test_the_private_worker_is_used_where_there_is_one(
    small_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*words: object, **how: object) -> None:
        raise AssertionError("the public function was called")

    monkeypatch.setattr("copier.run_copy", unwanted)

    render({"who": "Ada"}, tmp_path / "p", small_template)

    assert (tmp_path / "p" / "a.txt").read_text() == "Ada\n"
