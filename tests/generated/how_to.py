"""The pages of docs/how-to: usual changes to a project, each as a diff.   python -m tests.generated.how_to   writes their table."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "how-to"


@dataclass(frozen=True)
class Aim:
    """How far a change may go: the files of the package, the lines added and removed in it, the files of tests; and how
    far the same change went in 0.3.5, if it was made there."""

    files: tuple[str, ...]
    lines: int
    tests: int
    before: str = ""


# in the order of the table
AIMS = {
    "image-table": Aim((), 0, 0, "3, +23 -43, 2"),
    "arrays": Aim((), 0, 0, "9, +48 -212, 4"),
    "regression": Aim((), 0, 0, "11, +65 -101, 3"),
    "mixup": Aim((), 0, 0, "3, +16 -1, 0"),
    "confusion-matrix": Aim((), 0, 0, "3, +27 -5, 0"),
    "early-stopping": Aim((), 0, 0, "3, +14 -4, 0"),
    "polynomial-schedule": Aim(("optim.py",), 8, 0, "2, +7 -6, 0"),
    "example-images": Aim(("train.py",), 8, 0, "3, +31 -5, 0"),
    "two-optimizers": Aim(("train.py",), 20, 0, "6, +61 -30, 0"),
    "randaugment": Aim((), 0, 0, "3, +25 -40, 0"),
    "one-channel": Aim((), 0, 0, "2, +10 -10, 1"),
    "several-labels": Aim((), 0, 0, "9, +63 -81, 2"),
    "image-and-columns": Aim(
        ("data.py", "evaluate.py", "images.py", "model.py", "options.py", "predict.py", "train.py"), 80, 2
    ),
    "auxiliary-loss": Aim(("losses", "model.py", "optim.py", "options.py"), 16, 0),
    "overfit": Aim((), 0, 0),
    "profile": Aim(("options.py", "profiling.py", "train.py"), 32, 0),
    "search": Aim(("search.py",), 40, 0),
    "cross-validation": Aim(("options.py", "split.py", "train.py"), 25, 0),
}


@dataclass(frozen=True)
class Page:
    """A page: the command that makes the project, the diff, and what to run."""

    name: str

    @cached_property
    def text(self) -> str:
        return (FOLDER / f"{self.name}.md").read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        return self.text.splitlines()[0].removeprefix("# ")

    def blocks(self, language: str) -> list[str]:
        """The blocks of code in a language."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def commands(self, begin: str) -> list[list[str]]:
        """The words of the commands that begin so."""
        lines = "".join(self.blocks("sh")).splitlines()
        return [shlex.split(line, comments=True) for line in lines if line.startswith(begin)]

    @property
    def diff(self) -> str:
        return "".join(self.blocks("diff"))

    def count(self) -> dict[str, tuple[int, int]]:
        """Lines added and removed, by file."""
        found: dict[str, tuple[int, int]] = {}
        for part in re.split(r"^--- ", self.diff, flags=re.MULTILINE)[1:]:
            _, name, *lines = part.splitlines()  # the name after the change: a new file has none before
            added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
            found[name.removeprefix("+++ b/")] = added, removed
        return found

    def measured(self) -> tuple[list[str], int, int, int]:
        """Files of the package, lines added and removed in them, and how many files of tests."""
        count = self.count()
        ours = {name.removeprefix("digits/"): lines for name, lines in count.items() if name.startswith("digits/")}
        added, removed = (sum(lines[place] for lines in ours.values()) for place in (0, 1))
        return sorted(ours), added, removed, len(count) - len(ours)

    def make(self, folder: Path) -> Path:
        """The project of the page's command, in `folder`, with its diff."""
        command = self.commands("scaffold new")[0]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", *command, "--no-git"]
        subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True)
        if self.diff:
            apply = ["git", "apply", "--whitespace=error-all", "-"]
            subprocess.run(apply, input=self.diff, cwd=folder / "digits", text=True, check=True)
        return folder / "digits"


PAGES = [Page(name) for name in AIMS]


def table() -> str:
    """What each change costs, measured."""
    rows = ["| change | files | lines | files of tests | with 0.3.5 |", "|---|---|---:|---:|---|"]
    for page in PAGES:
        files, added, removed, tests = page.measured()
        names, lines = " ".join(files) or "a choice, or a setting", f"+{added} -{removed}" if files else ""
        rows.append(f"| [{page.title}]({page.name}.md) | {names} | {lines} | {tests} | {AIMS[page.name].before} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """The text of the overview, with the table of now."""
    return (
        re.sub(r"^\| change.*?\n(?!\|)", lambda _: table(), text + "\n", flags=re.DOTALL | re.MULTILINE).rstrip() + "\n"
    )


if __name__ == "__main__":
    overview = FOLDER / "README.md"
    overview.write_text(with_table(overview.read_text(encoding="utf-8")), encoding="utf-8")
