"""What an update or a change would bring: the result of a merge."""

from dataclasses import dataclass, field

from scaffold.questions.form import Answers
from scaffold.updates.carry import Lost
from scaffold.updates.last_step.step import Change

OURS = "yours"


@dataclass
class Merged:
    """What an update or a change would bring. The trees are of our repository, and of the project alone."""

    ours: str
    subject: str
    before: Answers
    after: Answers
    version: str
    lost: list[Lost]
    trees: tuple[str, str] = ("", "")
    changes: list[Change] = field(default_factory=list)
    files: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)  # those of files that cannot be merged line by line
    unmerged: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether the project would stay as it is."""
        return not self.changes
