"""Nothing in torch-scaffold but a question's own answer type knows it by its name."""

import ast
from pathlib import Path

from scaffold.paths import PACKAGE
from scaffold.questions import answer_types
from scaffold.questions.answer_types.base import AnswerType
from scaffold.questions.form import Form

# Where a name of a question stands for something else.
OTHERS = {
    "commands/list.py": {"losses", "model"},  # words of `scaffold list`
    "conversation/layer_groups.py": {"lr"},  # what a layer group has
    "layers/probe.py": {"lr"},
    "layers/report.py": {"lr"},
    "layers/structure.py": {"model"},  # what a module may be called
    "questions/layer_groups.py": {"lr"},
    "questions/tables.py": {"losses"},  # a column
    "updates/summary.py": {"lr"},
    "trials/trial.py": {"lr"},
    "trials/trial_data.py": {"data", "model"},  # modules of the project
    "health/project_code.py": {"data"},
}


def names_in(code: str, names: set[str]) -> set[str]:
    """The names that a module has as a string."""
    nodes = list(ast.walk(ast.parse(code)))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and node.value in names}


def found(files: dict[str, str], form: Form) -> dict[str, set[str]]:
    """The names of questions and facts in files."""
    named = {path: names_in(code, set(form.questions)) for path, code in files.items()}
    return {path: names for path, names in named.items() if names}


def test_questions_are_named_in_their_answer_types_alone(form: Form) -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if "_template" not in path.parts]
    named = found({path.relative_to(PACKAGE).as_posix(): path.read_text() for path in paths}, form)

    assert len(paths) > 40
    assert {path: names for path, names in named.items() if Path(path).parent.name != "answer_types"} == OTHERS


def test_a_name_elsewhere_is_found(form: Form) -> None:
    assert found({"a.py": 'if question.name == "groups_from":\n    pass\n', "b.py": "x = 1\n"}, form) == {
        "a.py": {"groups_from"}
    }


def test_every_question_that_has_an_answer_type_is_asked(form: Form) -> None:
    kinds = [kind for kind in vars(answer_types).values() if isinstance(kind, AnswerType)]

    assert {kind.name for kind in kinds} <= {name for name, question in form.questions.items() if not question.is_fact}
    assert all(
        question.kind is answer_types.type_of(name)
        for name, question in form.questions.items()
        if question.kind in kinds
    )
