"""Other answers for a project: merged like an update, and what follows from an answer follows it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaffold import paths
from scaffold.questions.form import Form
from scaffold.trials import values
from scaffold.updates.summary import _told_apart
from tests.conftest import Run, tree
from tests.updates.small_template import Small, small
from tests.updates.updating import History, answers_of, append, commit, git, history, own_answers, project, replace

__all__ = ["history", "project", "small"]  # fixtures


def edits(project: Path) -> None:
    """What an owner does to a project, away from what answers decide."""
    append("p/mine.py", "MINE = 1\n")(project)
    append("p/engine/run.py", "\n\ndef mine() -> int:\n    return 1\n")(project)
    replace("p/engine/seed.py", "import random\n", "import random  # mine\n")(project)
    append("README.md", "\n## Mine\n\nA line of mine.\n")(project)
    (project / "p" / "engine" / "pictures.py").chmod(0o755)


def test_steplr_becomes_cosine_under_the_owners_edits(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = history.make(here / "p", "v1.0.0", {"scheduler": "step"})
    monkeypatch.chdir(project)
    edits(project)
    commit(project)

    result = scaffold("change", "--yes", "--scheduler", "cosine")

    assert result.code == 0, result.err
    assert "  ~ p/optim.py" in result.err
    assert "  scheduler: step -> cosine" in result.err
    assert "CosineAnnealingLR" in (project / "p" / "optim.py").read_text()
    assert answers_of(project)["_commit"] == "v1.0.0"
    assert git(project, "log", "-1", "--format=%s").strip() == "Change scheduler to cosine"
    assert_fresh_with_edits(history, project, tmp_path)


def test_one_process_becomes_ddp_becomes_fsdp(scaffold: Run, history: History, project: Path, tmp_path: Path) -> None:
    edits(project)
    commit(project)

    assert scaffold("change", "--yes", "--distributed", "ddp").code == 0
    assert "DistributedDataParallel" in (project / "p" / "engine" / "processes.py").read_text()
    assert scaffold("change", "--yes", "--distributed", "fsdp").code == 0

    assert "fully_shard" in (project / "p" / "engine" / "processes.py").read_text()
    assert_fresh_with_edits(history, project, tmp_path)


def test_a_loss_is_added_to_a_project_that_was_edited(
    scaffold: Run, history: History, project: Path, tmp_path: Path
) -> None:
    edits(project)
    commit(project)

    result = scaffold("change", "--yes", "--loss", "cross_entropy=1", "--loss", "triplet=0.5")

    assert result.code == 0, result.err
    assert "  losses: cross_entropy=1 -> cross_entropy=1 triplet=0.5" in result.err
    assert (project / "p" / "losses" / "triplet.py").is_file()
    assert_fresh_with_edits(history, project, tmp_path)


def assert_fresh_with_edits(history: History, project: Path, tmp_path: Path) -> None:
    """The project is what its answers make anew, plus the edits."""
    fresh = tmp_path / "expected"
    history.make(fresh, "v1.0.0", own_answers(project))
    edits(fresh)
    assert tree(project) == tree(fresh)


def test_another_model_brings_its_own_groups(scaffold: Run, history: History, project: Path) -> None:
    result = scaffold("change", "--yes", "--model", "resnet18", "--groups-from", "fine-tune")

    assert result.code == 0, result.err
    assert answers_of(project)["layer_groups"] == [
        {"name": "backbone", "layers": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], "lr": 0.1},
        {"name": "head", "layers": ["fc"], "lr": 1.0},
    ]
    assert '"layer4"' in (project / "p" / "optim.py").read_text()
    assert scaffold("change", "--yes", "--model", "cnn").code == 0
    assert answers_of(project)["layer_groups"][0]["layers"] == ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3"]


def test_groups_that_stay_with_a_model_whose_layers_are_not_known_are_told(scaffold: Run, project: Path) -> None:
    groups = ["--group", "backbone.layer1=0.1", "--group", "rest=1"]
    assert scaffold("change", "--yes", "--model", "timm:resnet18", *groups).code == 0

    result = scaffold("change", "--yes", "--model", "timm:convnext_tiny")

    assert result.code == 0, result.err
    assert "whether they fit   scaffold inspect timm:convnext_tiny --group backbone.layer1=0.1\n" in result.err
    named = scaffold("change", "--yes", "--model", "timm:resnet34", "--group", "backbone.layer2=0.1")
    assert named.code == 0
    assert "whether they fit" not in named.err


def test_answers_that_differ_are_never_shown_alike(scaffold: Run, history: History, project: Path) -> None:
    result = scaffold("change", "--yes", "--model", "resnet18")

    pairs = [line.split(": ", 1)[1].split(" -> ") for line in result.err.splitlines() if " -> " in line]
    assert [pair for pair in pairs if pair[0] == pair[1]] == []
    assert "  layer_groups: all:conv1+bn1+conv2+bn2+conv3+bn3" in result.err
    assert _told_apart(1, 1.0) == ("1", "1.0")
    assert _told_apart("none", None) == ("'none'", "None")


def test_plain_copier_brings_the_groups_of_another_model_too(history: History, project: Path) -> None:
    from tests.updates.updating import copier

    done = copier("update", "--defaults", "--vcs-ref", ":current:", "--data", "model=resnet18", folder=project)

    assert done.returncode == 0, done.stderr
    assert "layer4" in answers_of(project)["layer_groups"][0]["layers"]


def test_an_answer_that_was_a_default_follows_and_one_that_was_given_stays(
    scaffold: Run, history: History, project: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scaffold("change", "--yes", "--optimizer", "sgd").code == 0
    assert answers_of(project)["lr"] == 0.05

    other = history.make(here / "q", "v1.0.0", {"lr": 0.123})
    monkeypatch.chdir(other)
    assert scaffold("change", "--yes", "--optimizer", "sgd").code == 0
    assert answers_of(other)["lr"] == 0.123


def test_the_difference_is_shown_and_nothing_changed(scaffold: Run, project: Path) -> None:
    before, head = tree(project), git(project, "rev-parse", "HEAD")

    result = scaffold("change", "--yes", "--scheduler", "step", "--diff")

    assert result.code == 0
    assert "+scheduler: step" in result.out
    assert tree(project) == before
    assert git(project, "rev-parse", "HEAD") == head


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheduler", "stepp"], "did you mean 'step'?"),
        (["--model", "vit", "--weights", "imagenet"], "there are no ImageNet weights for vit"),
        (["--weights-file", "x.pt"], "--weights-file has no use with these answers"),
        (["--groups-from", "own"], "--groups-from own needs the groups"),
    ],
)
def test_an_answer_that_cannot_be_is_a_sentence_and_changes_nothing(
    scaffold: Run, project: Path, words: list[str], said: str
) -> None:
    before = tree(project)

    result = scaffold("change", "--yes", *words)

    assert result.code == 2
    assert said in result.err
    assert tree(project) == before


def test_an_answer_that_only_a_newer_template_takes_is_told_with_the_update(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.project(here / "p"))

    result = scaffold("change", "--yes", "--scheduler", "one_cycle")

    assert result.code == 2
    assert "v1.0.0 made the project; to have what v2.0.0 has   scaffold update" in result.err
    assert scaffold("update", "--yes").code == 0
    result = scaffold("change", "--yes", "--scheduler", "one_cycle")
    assert result.code == 2
    assert "scaffold update" not in result.err


def test_an_answer_that_another_makes_impossible_is_named(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = history.make(here / "p", "v1.0.0", {"model": "resnet18", "weights": "imagenet"})
    monkeypatch.chdir(project)

    result = scaffold("change", "--yes", "--model", "vit")

    assert result.code == 2
    assert "--weights imagenet cannot be chosen here: there are no ImageNet weights for vit" in result.err
    assert "   at: .copier-answers.yml" in result.err


def test_the_same_answers_change_nothing(scaffold: Run, project: Path) -> None:
    result = scaffold("change", "--yes", "--scheduler", "cosine")

    assert result.code == 0
    assert "has these answers already" in result.err
    assert git(project, "log", "--format=%s").splitlines() == ["Start"]


# EVERY ANSWER TO EVERY OTHER VALUE


def every_change() -> list[tuple[str, Any]]:
    """Each question with each of its values."""
    form = Form(paths.template_root())
    tried = values.tried_values(form, values.facts(form.root)["values"])
    return [(name, value) for name, values in tried.items() for value in values if value is not None]


def words_of(name: str, value: Any) -> list[str]:
    """The flags that say a value."""
    flag = Form(paths.template_root()).questions[name].flag
    if name == "model" and value == "own":
        return [flag, "my_models.net:Net"]
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, list):
        said = [f"{item['name']}={item['weight']}" if isinstance(item, dict) else str(item) for item in value]
        return [word for item in said for word in (flag, item)]
    return [flag, str(value)]


def change_to(
    scaffold: Run, history: History, base: Path, where: Path, name: str, value: Any, chdir: Callable[[Path], None]
) -> str:
    """What is wrong after changing one answer of a project with edits, or nothing."""
    import shutil

    project = where / "p"
    shutil.copytree(base, project, symlinks=True)
    chdir(project)
    before = tree(project)
    result = scaffold("change", "--yes", *words_of(name, value))
    if result.code == 2:
        return "" if "error: " in result.err and tree(project) == before else f"refused badly: {result.err}"
    if result.code != 0:
        return f"ended with {result.code}: {result.err}"
    expected = history.make(where / "expected" / "p", "v1.0.0", own_answers(project))
    edits(expected)
    differing = [
        file for file in {**tree(project), **tree(expected)} if tree(project).get(file) != tree(expected).get(file)
    ]
    return f"differs in {differing}" if differing else ""


def some_changes() -> list[tuple[str, Any]]:
    return random.Random(4).sample(every_change(), 6)


@pytest.mark.parametrize(
    "changes", [pytest.param(some_changes, id="some"), pytest.param(every_change, id="all", marks=pytest.mark.nightly)]
)
def test_a_changed_answer_gives_what_a_new_project_has_plus_the_edits(
    scaffold: Run,
    history: History,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: Callable[[], list[tuple[str, Any]]],
) -> None:
    base = history.make(
        tmp_path / "base" / "p", "v1.0.0", {"model": "resnet18", "groups_from": "fine-tune", "ema": True}
    )
    edits(base)
    commit(base)

    wrong = {}
    for number, (name, value) in enumerate(changes()):
        problem = change_to(scaffold, history, base, tmp_path / str(number), name, value, monkeypatch.chdir)
        if problem:
            wrong[f"{name}={value}"] = problem

    print(f"{len(changes())} changes")
    assert wrong == {}
