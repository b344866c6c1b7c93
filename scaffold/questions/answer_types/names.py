"""The names of a project and of its package."""

import os
from pathlib import Path
from typing import Any

from scaffold.questions.answer_types.base import AnswerType


class ProjectName(AnswerType):
    """The project's name, which is that of its folder unless it is said."""

    proposes_default = False  # what to type instead follows from the folder

    def or_else(self, answers: Any, other: str = "my-project") -> str:
        """The name, where there may be none yet."""
        return str(answers.get(self.name, other))

    def of_folder(self, path: str) -> str:
        """The name that a folder gives."""
        return os.path.basename(os.path.abspath(path))

    def free(self) -> str:
        """A name for a project whose folder does not exist yet."""
        number = 1
        while Path(name := f"my-project-{number}" if number > 1 else "my-project").exists():
            number += 1
        return name
