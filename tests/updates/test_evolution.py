"""A template may grow: questions and choices come, go and change their names, and no project is worse for it."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, tree
from tests.updates.updating import History, answers_of, append, commit, copier, git, history, own_answers, replace

__all__ = ["history"]  # a fixture

METRICS = "template/project/{{ package_name }}/metrics.py.jinja"
NEW_QUESTION = """
---
note:
  type: str
  help: A note at the end of metrics.py?
  default: ""
"""
SAYS_NOTE = "{% if note %}\n\nNOTE = {{ note | to_json }}\n{% endif %}\n"


def made(history: History, here: Path, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Path:
    """A project of the first version, to work in."""
    project = history.make(here / "p", "v1.0.0", answers)
    monkeypatch.chdir(project)
    return project


@pytest.mark.parametrize("by", ["scaffold", "copier"])
def test_the_default_of_a_new_question_changes_nothing(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    project = made(history, here, monkeypatch)
    before = {name: content for name, content in tree(project).items() if name != ".copier-answers.yml"}
    history.release(append("copier.yml", NEW_QUESTION), append(METRICS, SAYS_NOTE))

    if by == "scaffold":
        assert scaffold("update", "--yes").code == 0
    else:
        assert copier("update", "--defaults", folder=project).returncode == 0

    assert {name: content for name, content in tree(project).items() if name != ".copier-answers.yml"} == before
    assert answers_of(project)["note"] == ""


@pytest.mark.parametrize("by", ["scaffold", "copier"])
def test_a_renamed_question_keeps_its_answer(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    project = made(history, here, monkeypatch, license="mit")
    used = [path for path in history.folder.glob("template/**/*.jinja") if "license" in path.name + path.read_text()]

    def rename(folder: Path) -> None:
        for path in used:
            path.write_text(path.read_text().replace("license", "licence"))
            path.rename(path.with_name(path.name.replace("license", "licence")))
        (folder / "template" / "parts" / "license").rename(folder / "template" / "parts" / "licence")

    text = (history.folder / "copier.yml").read_text()
    block = text[text.index("\nlicense:\n") :]
    renamed = block.replace("\nlicense:\n", "\nlicence:\n").replace(
        "  default: none", "  default: \"{{ license | default('none') }}\""
    )
    history.release(replace("copier.yml", block, renamed), rename)

    if by == "scaffold":
        result = scaffold("update", "--yes")
        assert result.code == 0, result.err
    else:
        assert copier("update", "--defaults", folder=project).returncode == 0

    assert answers_of(project)["licence"] == "mit"
    assert "license" not in answers_of(project)
    assert "MIT" in (project / "LICENSE").read_text()


def test_a_removed_choice_becomes_the_default_and_is_said(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(history, here, monkeypatch, scheduler="multistep")
    text = (history.folder / "copier.yml").read_text()
    choice = next(at for at in text.splitlines(keepends=True) if at.rstrip().endswith(": multistep"))
    history.release(replace("copier.yml", choice, ""))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert answers_of(project)["scheduler"] == "cosine"
    assert "note: the answer scheduler: multistep is given up: '--scheduler' has no 'multistep'" in result.err
    assert "  scheduler: multistep -> cosine" in result.err


def test_a_removed_choice_of_a_list_leaves_the_others(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losses = [
        {"name": "cross_entropy", "weight": 2.0},
        {"name": "mse", "weight": 0.5},
        {"name": "triplet", "weight": 3.0},
    ]
    project = made(history, here, monkeypatch, losses=losses)
    history.release(replace("copier.yml", "hinge_embedding, mse]", "hinge_embedding]"))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert answers_of(project)["losses"] == [losses[0], losses[2]]
    assert (
        "note: the answer losses: cross_entropy=2 mse=0.5 triplet=3 is given up: there is no loss 'mse'" in result.err
    )
    assert tree(project) == history.fresh(tmp_path / "fresh", "v2.0.0", own_answers(project))


def test_a_changed_default_leaves_the_answers_alone(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(history, here, monkeypatch)
    history.release(replace("copier.yml", "  default: cosine", "  default: step"))

    assert scaffold("update", "--yes").code == 0

    assert answers_of(project)["scheduler"] == "cosine"


def test_a_removed_question_takes_its_answer_along(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.release(append("copier.yml", NEW_QUESTION), append(METRICS, SAYS_NOTE))
    project = history.make(here / "p", "v2.0.0", {"note": "mine"})
    monkeypatch.chdir(project)
    history.release(replace("copier.yml", NEW_QUESTION, ""), replace(METRICS, SAYS_NOTE, ""))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert "note" not in answers_of(project)
    assert "  note: mine -> none" in result.err
    assert "NOTE" not in (project / "p" / "metrics.py").read_text()


def test_a_version_without_a_part_of_the_files_that_were_edited_says_so_before(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(history, here, monkeypatch, logger="tensorboard")
    append("p/engine/tensorboard.py", "\nMINE = 1\n")(project)
    commit(project)
    head = git(project, "rev-parse", "HEAD")

    result = scaffold("change", "--yes", "--logger", "none", "--diff")

    assert "p/engine/tensorboard.py.kept" in result.out
    assert git(project, "rev-parse", "HEAD") == head
