"""Smoke tests of the template find what is wrong with it, and miss no pair of answers."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

from scaffold import paths
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy
from scaffold.trials import lint, pairwise, values
from scaffold.trials.idle_choices import idle_choices
from scaffold.trials.pairwise import Row
from scaffold.trials.quick_form import QuickForm
from tests.conftest import Run, takes

PACKAGE = "template/project/{{ package_name }}"
# Answers that forbid one another; all others go with everything.
BOUND = ["task", "losses", "model", "weights", "weights_skip", "groups_from", "layer_groups"]


@pytest.fixture(scope="module")
def form() -> Form:
    return QuickForm(paths.template_root())


@pytest.fixture(scope="module")
def tried(form: Form) -> dict[str, list[Any]]:
    return values.tried_values(form, values.facts(form.root)["values"])


@pytest.fixture(scope="module")
def rows(form: Form, tried: dict[str, list[Any]]) -> list[Row]:
    return pairwise.every(form, tried)


@pytest.fixture(autouse=True)
def shared_cache(mypy_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(mypy_cache))


def allowed(form: Form, tried: dict[str, list[Any]]) -> Iterator[dict[str, int]]:
    """Every way to answer the questions that forbid one another, as far as it is allowed, found by trying all. Of a family
    of models, the first."""
    family = values.families(form, tried)
    first = product(*(range(len(tried[name])) for name in BOUND[:3]))
    possible = {
        places
        for places in first
        if family["model", places[2]] == ("model", places[2])
        and takes(form, {name: tried[name][place] for name, place in zip(BOUND[:3], places, strict=True)})
    }
    for places in product(*(range(len(tried[name])) for name in BOUND)):
        if places[:3] not in possible:
            continue
        choices = dict(zip(BOUND, places, strict=True))
        given = {name: tried[name][place] for name, place in choices.items()}
        due = {
            "weights_skip": given["weights"] == "file",
            "layer_groups": given["groups_from"] == "own",
            **{name: is_asked(form, name, given["task"]) for name in ("losses", "model")},
        }
        for name in (name for name in due if not due[name]):
            if choices.pop(name):
                break  # not asked: once is enough
            del given[name]
        else:
            if not takes(form, {name: value for name, value in given.items() if value is not None}):
                continue
            # questions with one answer, asked with some
            asked = {"weights_file": given["weights"] == "file"}
            for model, name in {"own": "model_class", "torchvision": "torchvision_model", "timm": "timm_model"}.items():
                asked[name] = given.get("model") == model
            choices |= {name: 0 for name, due in asked.items() if due}
            if not is_asked(form, "data", given["task"]):
                yield choices
                continue
            # data go with tasks and models, whatever the other answers are
            for place, data in enumerate(tried["data"]):
                if goes_with(form, data, given["task"], given["model"]):
                    yield choices | {"data": place} | ({"data_class": 0} if data == "own" else {})


@cache
def is_asked(form: Form, name: str, task: str) -> bool:
    """Whether a question is asked for this task."""
    return form.is_due(form.questions[name], form.fill({"task": task}, "p"))


@cache
def goes_with(form: Form, data: str, task: str, model: str) -> bool:
    """Whether a task and a model can have these data."""
    return takes(form, {"task": task, "data": data, "model": model})


def test_a_quick_form_makes_the_same_of_answers_as_a_form(form: Form, rows: list[Row]) -> None:
    slow = Form(paths.template_root())

    for row in rows[::7]:
        assert form.fill(row.answers, "p") == slow.fill(row.answers, "p"), row.answers


def test_the_first_rows_hold_what_most_can_go_wrong_in(rows: list[Row]) -> None:
    def held(some: list[Row]) -> int:
        return len({pair for row in some for pair in combinations(sorted(row.choices.items()), 2)})

    ordered = pairwise.telling_first(rows)

    assert sorted(map(id, ordered)) == sorted(map(id, rows))
    assert held(ordered[:50]) > 0.8 * held(rows)
    assert {choice for row in ordered[:25] for choice in row.choices.items()} == {
        choice for row in rows for choice in row.choices.items()
    }


def test_every_allowed_pair_of_answers_is_in_some_row(form: Form, tried: dict[str, list[Any]], rows: list[Row]) -> None:
    counted = {
        (one, choices[one], two, choices[two])
        for choices in allowed(form, tried)
        for one in choices
        for two in choices
        if one < two
    }
    bound = {name for pair in counted for name in (pair[0], pair[2])}
    free = [name for name in tried if name not in bound]
    # a model counts by its family; and each of those that are tried is in some row
    family = values.families(form, tried)
    assert {*family} <= {choice for row in rows for choice in row.choices.items()}
    counted_as = [dict(family.get(choice, choice) for choice in row.choices.items()) for row in rows]
    held = {
        (one, choices[one], two, choices[two])
        for choices in counted_as
        for one in choices
        for two in choices
        if one < two
    }

    # among the questions that forbid one another, exactly what is allowed
    assert {pair for pair in held if pair[0] in bound and pair[2] in bound} == counted
    # and of the others everything, with everything that is ever allowed
    every = {(name, place) for pair in counted for name, place in (pair[:2], pair[2:])}
    every |= {(name, place) for name in free for place in range(len(tried[name]))}
    missing = [
        (one, two)
        for one in every
        for two in every
        if one[0] < two[0] and (one[0] in free or two[0] in free) and (*one, *two) not in held
    ]
    assert missing == []


def test_the_rows_are_few_and_answer_everything(form: Form, rows: list[Row]) -> None:
    assert len(rows) <= 165
    for row in rows:
        assert form.recorded(form.fill(row.answers, "p")) == row.answers


def test_three_answers_come_together(form: Form, tried: dict[str, list[Any]]) -> None:
    varied = {name: tried[name] for name in ("distributed", "precision", "optimizer", "ema")}
    # one of each family; one's own needs other answers too
    varied["model"] = ["cnn", "resnet18", "vit", "torchvision", "timm"]

    rows = pairwise.every(form, {**{name: values[:1] for name, values in tried.items()}, **varied}, 3)

    for names in combinations(varied, 3):
        held = {tuple(row.answers[name] for name in names) for row in rows}
        assert held == set(product(*(varied[name] for name in names)))
    assert len(rows) <= 75  # of 180 or more that there are; 45 have each model, mode and precision


def test_a_preset_is_rendered_checked_and_trained(scaffold: Run) -> None:
    result = scaffold("smoke", "--preset", "digits")

    assert result.code == 0, result.out
    assert "all 1 projects are fine" in result.out
    assert result.out.splitlines()[1].split()[1:10] == ["ok"] * 9


# A fault in the template, and the stage that finds it.
FAULTS: dict[str, tuple[str, Callable[[str], str]]] = {
    "ruff": (f"{PACKAGE}/engine/seed.py", lambda text: text.replace("import random\n", "import random\nimport sys\n")),
    "format": (f"{PACKAGE}/engine/pictures.py", lambda text: text + "\n\n\nx=1\n"),
    "parse": (f"{PACKAGE}/README.txt.jinja", lambda text: "{{ '{%' }} if left %}\n"),
    "types": (f"{PACKAGE}/__init__.py.jinja", lambda text: text + '\nNUMBER: int = "one"\n'),
    "dead": (f"{PACKAGE}/island.py.jinja", lambda text: '"""Nobody comes here."""\n'),
    "traces": (f"{PACKAGE}/engine/errors.py", lambda text: text + "\n# like the nesterov of SGD\n"),
    "train": ("template/parts/optimizer/adamw.py", lambda text: text.replace("fused=True", "maximize=True")),
}


def test_every_stage_finds_its_fault(scaffold: Run, tmp_path: Path) -> None:
    template = plain_copy(paths.template_root(), tmp_path / "template")
    for name, change in FAULTS.values():
        path = template / name
        path.write_text(change(path.read_text() if path.exists() else ""))

    result = scaffold("smoke", "--preset", "digits", "--template", str(template))

    assert result.code == 1
    for stage in FAULTS:
        assert f"{stage} failed   scaffold new trial-01 --yes" in result.out, stage
    assert "island.py: no module imports it" in result.out
    assert "it learns no more than a constant" in result.out
    assert "'nesterov' belongs to optimizer sgd" in result.out


def test_files_that_are_no_text_are_no_fault_of_a_fork(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert lint.parse(tmp_path) == []

    (tmp_path / "latin.md").write_bytes("Übung\n".encode("latin-1"))
    assert [line.split(":")[0] for line in lint.parse(tmp_path)] == ["latin.md"]


def test_a_choice_without_a_part_is_found(scaffold: Run, tmp_path: Path) -> None:
    template = plain_copy(paths.template_root(), tmp_path / "template")
    (template / "template/parts/optimizer/adamw.py").unlink()

    result = scaffold("smoke", "--preset", "digits", "--template", str(template))

    assert result.code == 1
    assert "render failed" in result.out
    assert "adamw" in result.out


def test_a_question_that_changes_nothing_is_found(tmp_path: Path) -> None:
    shutil.copytree(paths.template_root() / "template" / "macros", tmp_path / "template" / "macros")
    project = tmp_path / "template" / "project"
    project.mkdir()
    (project / "a.txt.jinja").write_text("{{ colour }}{{ 1 if shape == 'round' else 2 }}\n")
    (tmp_path / "copier.yml").write_text(
        "_subdirectory: template/project\n"
        "_templates_suffix: .jinja\n"
        "colour: {type: str, choices: [red, blue], default: red}\n"
        "shape: {type: str, choices: [round, flat, square], default: round}\n"
        "mood: {type: bool, default: true}\n"
    )
    form = Form(tmp_path)

    found = idle_choices(tmp_path, form, values.tried_values(form, {}), jobs=1)

    assert found == [
        "shape: 'flat' gives the same project as 'square'",
        "mood: False gives the same project as True",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pairs", "--preset", "digits"], "--pairs makes its own answers"),
        (["--pairs", "--triples"], "--pairs and --triples are two sets of answers"),
        (["--triples", "--answers", "a.yml"], "--triples makes its own answers"),
        (["--template", "nowhere"], "holds no template"),
        (["--preset", "digit"], "did you mean 'digits'?"),
    ],
)
def test_what_cannot_be_tried_is_refused(scaffold: Run, words: list[str], sentence: str) -> None:
    result = scaffold("smoke", *words)

    assert result.code == 2
    assert sentence in result.err


@pytest.mark.nightly
@pytest.mark.parametrize("which", ["--pairs", "--triples"])
def test_all_projects_train(scaffold: Run, which: str) -> None:
    result = scaffold("smoke", which, "--train", "1000")

    assert result.code == 0, result.out
