"""Sets of answers that are tried, and what came of each."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scaffold.questions.answer_types import PACKAGE, PROJECT
from scaffold.questions.form import Form

STAGES = ("render", "parse", "ruff", "format", "types", "dead", "traces", "train", "quick")


@dataclass
class Case:
    """One set of answers, and what came of it."""

    answers: dict[str, Any]
    command: str
    differing: str
    problems: dict[str, list[str]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The project's, and its folder's."""
        return PROJECT.or_else(self.answers)


def cases_of(form: Form, rows: Sequence[dict[str, Any]]) -> list[Case]:
    """A case for each set of answers, its project's name made unlike all others by a number."""
    cases = []
    for number, row in enumerate(rows, start=1):
        name = f"{PROJECT.of(row)[:46]}-{number:02}"
        given = {question: answer for question, answer in row.items() if question != PACKAGE.name}
        answers = form.recorded(form.fill({**given, PROJECT.name: name}, name))
        words = form.command(answers, name)
        cases.append(Case(answers, shlex.join(["scaffold", *words]), shlex.join(words[2:-1])))
    return cases
