"""How many processes train together."""

from collections.abc import Mapping
from typing import Any

from scaffold.questions.answer_types.base import AnswerType


class Distributed(AnswerType):
    """One process, or several that torchrun starts."""

    def is_alone(self, answers: Mapping[str, Any]) -> bool:
        """Whether one process trains alone."""
        return bool(self.of(answers) == "none")

    def launcher(self, answers: Mapping[str, Any]) -> str:
        """What starts a program of the project."""
        return "python" if self.is_alone(answers) else "torchrun --nproc-per-node 2"
