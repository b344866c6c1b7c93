"""copier.yml read by us and by Copier: what we accept it records unchanged, what it refuses we refuse."""

from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaffold.errors import BadAnswer
from scaffold.questions.answers import Given, complete
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy

FORM_FACTS = ("reserved", "torchvision_models")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, form: Form) -> Path:
    """The template with its questions, and of its files only the one that records the answers."""
    folder = plain_copy(form.root, tmp_path_factory.mktemp("template"))
    for path in sorted((folder / "template" / "project").rglob("*"), reverse=True):
        if path.is_file() and "answers_file" not in path.name:
            path.unlink()
        elif path.is_dir():
            path.rmdir()
    return folder


def recorded_by_copier(bare: Path, folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """What Copier makes of these answers, as it writes them down."""
    copier.run_copy(str(bare), folder, data=data, defaults=True, quiet=True, overwrite=True, settings=copier.Settings())
    answers: dict[str, Any] = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    return {name: value for name, value in answers.items() if not name.startswith("_")}


def test_the_included_facts_are_there(form: Form) -> None:
    assert all(form.questions[fact].is_fact for fact in FORM_FACTS)


def test_what_is_asked_is_shown_as_it_is_written(form: Form) -> None:
    shown = {name: [question.about, *question.choices] for name, question in form.questions.items()}

    assert not [name for name, texts in shown.items() if "{{" in "".join(texts) or "{%" in "".join(texts)]


def test_the_defaults_are_copiers_defaults(form: Form, bare: Path, tmp_path: Path) -> None:
    ours = complete(form, Given({"project_name": "p"}), "p")

    assert ours == recorded_by_copier(bare, tmp_path / "p", {"project_name": "p"})


def test_the_order_is_copiers_order(form: Form) -> None:
    keys = [
        event.value
        for event in yaml.parse((form.root / "copier.yml").read_text())
        if isinstance(event, yaml.ScalarEvent) and event.value in form.questions
        if event.start_mark and event.start_mark.column == 0
    ]

    assert [name for name in form.questions if name not in FORM_FACTS] == keys


def free(form: Form) -> st.SearchStrategy[dict[str, Any]]:
    """Answers of all kinds: most of them plausible, some of them not."""
    text = st.one_of(
        st.sampled_from(
            ["p", "weights.pt", "a.b:C", "é", "a b", "x\ny", "${{ a }}", "{{ a }}", "🎉", "", " ", "class", "1"]
        ),
        st.text(max_size=8),
    )
    numbers = st.one_of(st.integers(-3, 2000), st.floats(), st.sampled_from([0.1, 1.0, "1e-3", "5", True]))
    layer = st.sampled_from(["conv1", "fc", "head", "layer4", "layer4.1", "rest", "blocks", "nope", "a b"])
    group = st.fixed_dictionaries(
        {"name": st.sampled_from(["a", "head", "-"]), "layers": st.lists(layer), "lr": numbers}
    )
    loss = st.fixed_dictionaries(
        {
            "name": st.sampled_from(["cross_entropy", "mse", "triplet", "nope"]),
            "weight": st.one_of(numbers, st.just(0.5)),
        }
    )
    typed = st.lists(
        st.sampled_from(["backbone=0.1", "head=1", "rest=freeze", "layer4.1=2", "e:conv1=0.5", "x"]), max_size=3
    )
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "layer_groups": st.one_of(st.lists(group, max_size=3), typed, text),
        "losses": st.one_of(st.lists(loss, max_size=3), st.sampled_from([["mse"], ["triplet=0.5", "cross_entropy"]])),
        "weights_skip": st.one_of(st.lists(layer, max_size=2), text),
    }
    own: dict[str, st.SearchStrategy[Any]] = {}
    for name, question in form.questions.items():
        if question.is_fact or name == "project_name":
            continue
        if question.choices:
            own[name] = st.sampled_from([*question.values, *question.values, "nope", 3, None])
        elif question.type == "bool":
            own[name] = st.sampled_from([True, False, "yes", "off", "maybe", 2])
        elif question.type in ("int", "float"):
            own[name] = numbers
        else:
            own[name] = kinds.get(name, text)
    return st.fixed_dictionaries({}, optional=own).map(
        lambda chosen: {name: chosen[name] for name in sorted(chosen, key=lambda name: hash(str(chosen[name])) % 7)[:4]}
    )


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_we_accept_copier_records_unchanged(
    form: Form, bare: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    answers = {"project_name": "p", **data.draw(free(form))}
    ours, refusal = answer(form, answers)

    if refusal:
        assert str(refusal).startswith("error: ")
        assert refusal.question
        return
    assert recorded_by_copier(bare, tmp_path_factory.mktemp("p"), ours) == ours


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_copier_refuses_we_refuse_first(
    form: Form, bare: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    answers = {"project_name": "p", **data.draw(free(form))}
    ours, refusal = answer(form, answers)
    if refusal:
        return

    # our own grammars are not Copier's to know, and an answer that no question asks for is nothing to us
    as_given = {name: value for name, value in answers.items() if name in ours and not typed(name, value)}
    as_given |= {name: ours[name] for name in answers if name in ours and name not in as_given}
    assert recorded_by_copier(bare, tmp_path_factory.mktemp("p"), as_given) == ours


def answer(form: Form, answers: dict[str, Any]) -> tuple[dict[str, Any], BadAnswer | None]:
    """What we make of these answers, and how we refuse them."""
    try:
        return complete(form, Given(dict(answers)), "p"), None
    except BadAnswer as error:
        return {}, error


def typed(name: str, value: Any) -> bool:
    """Whether an answer is in a grammar of ours, as on the command line."""
    if name not in ("layer_groups", "losses", "weights_skip"):
        return False
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))
