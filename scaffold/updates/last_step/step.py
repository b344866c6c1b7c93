"""What a step changes, and how git's index is told of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scaffold.system.git import git

# A file as git records it, mode and name of its content; None where there is none.
Entry = tuple[str, str] | None

# What a step is about to do; by another name once it is done.
JOURNAL, DONE = "journal.json", "done.json"


@dataclass(frozen=True)
class Change:
    """What becomes of one path."""

    name: str
    old: Entry
    new: Entry


@dataclass(frozen=True)
class Step:
    """The changes of some paths from one commit to another; to no commit where conflicts are left, which the index
    shows as git does. In the folder `space` lie the old files, the new ones, and the new index."""

    top: Path
    git_dir: Path
    space: Path
    ours: str
    commit: str
    subject: str
    changes: list[Change]
    unmerged: str = ""

    def target(self, change: Change) -> Path:
        """Where a path is in the user's tree."""
        return self.top / change.name

    def old(self, change: Change) -> Path:
        """The user's file as it was."""
        return self.space / "old" / change.name

    def new(self, change: Change) -> Path:
        """The file as it is to be."""
        return self.space / "new" / change.name

    @property
    def lock(self) -> Path:
        """What keeps every git from writing the index meanwhile."""
        return self.git_dir / "index.lock"


def index_lines(changes: Iterable[Change], *, back: bool = False) -> str:
    """What `git update-index -z --index-info` takes to make these changes; what goes comes first, since it may be in
    the way of the rest."""
    ends = [(change.name, change.old if back else change.new, change.new if back else change.old) for change in changes]
    names = [(name, known) for name, entry, known in ends if entry is None and known is not None]
    gone = [f"0 {'0' * len(known[1])}\t{name}\0" for name, known in names]
    return "".join([*gone, *(f"{entry[0]} {entry[1]}\t{name}\0" for name, entry, _ in ends if entry is not None)])


def write_index(step: Step, name: str, lines: str) -> None:
    """Put lines into an index of ours, in the step's folder."""
    git(step.top, "update-index", "-z", "--index-info", text=lines, variables=index_of(step.space / name))


def index_of(path: Path) -> dict[str, str]:
    """What lets git work with an index of ours."""
    return {"GIT_INDEX_FILE": str(path)}
