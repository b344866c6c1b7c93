"""A conversation: what was said in it so far, and how to go on with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from scaffold.conversation.terminal import Option, Screen
from scaffold.errors import BadAnswer
from scaffold.questions.answer_types import PROJECT
from scaffold.questions.answers import Given
from scaffold.questions.copier_yml import Question
from scaffold.questions.form import Form


@dataclass
class Talk:
    """A conversation: what was given before it, what was said in it, in order, and how to ask."""

    form: Form
    screen: Screen
    prompts: ModuleType
    given: Given
    target: str | None
    said: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """Every answer there is so far."""
        return {**self.given.values, **self.said}

    @property
    def folder(self) -> str:
        """The project's folder, as far as it is known."""
        return self.target or str(self.values.get(PROJECT.name) or PROJECT.free())

    @property
    def name(self) -> str:
        """The name of that folder."""
        return PROJECT.of_folder(self.folder)


def context_of(talk: Talk, question: Question) -> dict[str, Any]:
    """The answers before a question, given or default."""
    return talk.form.fill(talk.values, talk.name, until=question.name)


def proposed(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    """What is proposed: what the person said before, where that still can be, else the default."""
    if question.name in talk.before:
        try:
            return talk.form.check(question, talk.before[question.name], context)
        except BadAnswer:
            pass
    if question.kind is PROJECT:
        return PROJECT.free()
    return talk.form.default(question, context)


def problem_of(talk: Talk, question: Question, context: Mapping[str, Any]) -> Callable[[str], str]:
    """What is wrong with a line as the answer to a question, or nothing."""

    def problem(line: str) -> str:
        try:
            talk.form.check(question, line, context)
        except BadAnswer as error:
            return error.message
        return ""

    return problem


def select(talk: Talk, message: str, options: list[Option], default: Any, where: str = "") -> Any:
    """Have one of some options chosen."""
    return talk.prompts.select(talk.screen, message, options, default, where)


def recap(talk: Talk, label: str, value: str) -> None:
    """Say an answer back, in the line that stays."""
    talk.screen.say(f"{talk.screen.signs.done} {label:<15} {value}", sign=talk.screen.signs.done)


def progress(talk: Talk, question: Question) -> str:
    """Which of the questions that are left it is: 3/8."""
    try:
        asked = [name for name in talk.form.asked(talk.values, talk.name) if name not in talk.given.values]
    except BadAnswer:  # while an answer is changed, another may not fit it: that is put right afterwards
        return ""
    if question.name not in asked:
        return ""
    return f"  {asked.index(question.name) + 1}/{len(asked)}"


def as_text(talk: Talk, question: Question, value: Any, context: Mapping[str, Any]) -> str:
    """An answer as a person would type it."""
    return " ".join(question.kind.write(talk.form, question, value, context))
