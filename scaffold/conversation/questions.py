"""The questions one after another, with a way back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaffold.conversation.layer_groups import ask_groups, outcome
from scaffold.conversation.losses import ask_losses
from scaffold.conversation.talk import Talk, as_text, context_of, progress, proposed, recap, select
from scaffold.conversation.terminal import BACK, Option
from scaffold.errors import BadAnswer, Refused
from scaffold.questions.answer_types import LAYER_GROUPS, LOSSES, PROJECT
from scaffold.questions.copier_yml import Question
from scaffold.render.target import check_target


def ask_all(talk: Talk) -> bool:
    """Ask every question that has no answer, one after another; False when the person went back to the start."""
    while question := _next(talk):
        if ask(talk, question):
            continue
        if not talk.said:
            return False
        name, value = talk.said.popitem()
        talk.before[name] = value
        talk.screen.erase_line()
    return True


def _next(talk: Talk) -> Question | None:
    """The first question that a person should answer and has not."""
    for question in talk.form.questions.values():
        if question.is_fact or question.name in talk.values:
            continue
        context = context_of(talk, question)
        if talk.form.is_asked(question, context):
            return question
    return None


def ask(talk: Talk, question: Question) -> bool:
    """Ask one question and say its answer back; False when the person went back instead."""
    context = context_of(talk, question)
    if question.kind is LOSSES:
        answer = ask_losses(talk, question, context)
    elif question.kind is LAYER_GROUPS:
        answer = ask_groups(talk, question, context)
    elif question.choices or question.type == "bool":
        answer = _ask_choice(talk, question, context)
    else:
        answer = _ask_text(talk, question, context)
    if answer is BACK:
        return False
    value = talk.form.check(question, answer, context)
    talk.said[question.name] = value
    recap(talk, question.kind.label, as_text(talk, question, value, context))
    return True


def _ask_choice(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    if question.type == "bool":
        options = [Option(True, "yes"), Option(False, "no")]
    else:
        options = [
            Option(
                choice.value,
                *_halves(choice.label),
                why_not=choice.why_not,
                description=outcome(talk, question, choice.value, context),
            )
            for choice in talk.form.choices(question, context)
            if question.kind.offers(choice.value, context)
        ]
    return select(talk, question.help, options, proposed(talk, question, context), progress(talk, question))


def _halves(label: str) -> tuple[str, str]:
    name, _, note = label.partition(" - ")
    return name, note


def _ask_text(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    default = proposed(talk, question, context)

    def problem(line: str) -> str:
        try:
            value = talk.form.check(question, line.strip(), context)
            if question.kind is PROJECT:
                check_target(Path(value))
        except (BadAnswer, Refused) as error:
            return error.message
        return ""

    shown = as_text(talk, question, default, context)
    words = question.kind.completions(talk.form, context)
    answer = talk.prompts.text(
        talk.screen, talk.screen.fit(question.about), shown, problem, words=(lambda _: words) if words else None
    )
    return answer if answer is BACK else answer.strip()
