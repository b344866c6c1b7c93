"""The answers of a project carried to a template, which may be another version than the one that they were given to."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from scaffold.errors import BadAnswer
from scaffold.questions.answer_types import PROJECT, type_of
from scaffold.questions.form import Answers, Form
from scaffold.updates.answers_file import Recorded, Tampered


def check_answers(form: Form, recorded: Recorded) -> None:
    """Refuse answers that the template of that version could not have recorded."""
    for name in recorded.answers:
        if name not in form.questions or form.questions[name].is_fact:
            raise Tampered(f"it answers '{name}', which template {recorded.version} does not ask")
    found, lost = carry(form, recorded.answers)
    if lost:
        raise Tampered(f"template {recorded.version} cannot have recorded '{lost[0].name}': {lost[0].why}")
    for name in {**found, **recorded.answers}:
        if name not in recorded.answers:
            raise Tampered(f"it does not answer '{name}'")
        if name not in found or found[name] != recorded.answers[name]:
            raise Tampered(f"template {recorded.version} cannot have recorded '{name}: {recorded.answers[name]}'")


@dataclass(frozen=True)
class Lost:
    """An answer that a template does not take (any more): what came in its place, why, and whether a person gave it."""

    name: str
    before: Any
    after: Any
    why: str
    asked: bool


def carry(form: Form, recorded: Answers) -> tuple[Answers, list[Lost]]:
    """Answers carried to a template: those it takes, the default of the others. Of a list only the elements go that
    it does not take. A question that was renamed finds the old answer by the old name."""
    context: Answers = {name: value for name, value in recorded.items() if name not in form.questions}
    context["_folder_name"] = PROJECT.or_else(recorded)
    lost = []
    for question in form.questions.values():
        name = question.name
        if not form.is_due(question, context):
            context[name] = form.default(question, context)
            continue
        if name not in recorded:
            context[name] = form.check(question, form.default(question, context), context)
            continue
        value, why = _taken(form, name, recorded[name], context)
        if why:
            if value is None:
                value = form.check(question, form.default(question, context), context)
            lost.append(Lost(name, recorded[name], value, why, form.is_asked(question, context)))
        context[name] = value
    return form.recorded(context), lost


def _taken(form: Form, name: str, value: Any, context: Answers) -> tuple[Any, str]:
    """The part of an answer that is taken (nothing where none is), and why not all of it."""
    why = _problem(form, name, value, context)
    if not why:
        return form.check(form.questions[name], value, context), ""
    if type_of(name).has_parts and isinstance(value, list) and len(value) < 10:
        for size in range(len(value) - 1, 0, -1):
            for some in combinations(value, size):
                if not _problem(form, name, list(some), context):
                    return form.check(form.questions[name], list(some), context), why
    return None, why


def _problem(form: Form, name: str, value: Any, context: Answers) -> str:
    try:
        form.check(form.questions[name], value, context)
    except BadAnswer as error:
        return error.message
    return ""
