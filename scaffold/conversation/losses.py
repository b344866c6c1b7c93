"""Losses are asked in two steps: which, then with which weights."""

from collections.abc import Mapping
from typing import Any

from scaffold.conversation.talk import Talk, problem_of, progress, proposed
from scaffold.conversation.terminal import BACK, Option
from scaffold.questions.answer_types import LOSSES
from scaffold.questions.copier_yml import Question
from scaffold.questions.numbers import number


def ask_losses(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    """Which losses, then, when there are several, with which weights."""
    default = proposed(talk, question, context)
    known = LOSSES.fitting(talk.form, context)
    problem = problem_of(talk, question, context)

    while True:
        chosen = [loss["name"] for loss in default]
        if not talk.screen.is_ascii:  # the boxes of a checkbox are no ASCII: there the line alone is asked
            options = [Option(name, name) for name in known]
            chosen = talk.prompts.checkbox(talk.screen, "Which losses?", options, chosen, progress(talk, question))
            if chosen is BACK:
                return BACK
            if len(chosen) == 1 and not problem(chosen[0]):
                return chosen
        weights = {loss["name"]: number(loss["weight"]) for loss in default}
        line = talk.prompts.text(
            talk.screen,
            "Which losses, with which weights?" if talk.screen.is_ascii else "With which weights?",
            " ".join(f"{name}={weights.get(name, '1')}" for name in chosen),
            problem,
            words=lambda _: known,
        )
        if line is not BACK or talk.screen.is_ascii:
            return line
