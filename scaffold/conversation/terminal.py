"""What the terminal can show: colours, signs, width, and how it wants to be asked."""

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Any


class _Back:
    """The answer of a person who goes back."""


BACK = _Back()


@dataclass(frozen=True)
class Option:
    """One line to choose: its value, its name, what it means, and why it cannot be taken (or nothing)."""

    value: Any
    name: str
    note: str = ""
    description: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Signs:
    """The marks of the conversation."""

    ask: str = "◆"
    done: str = "✔"
    wrong: str = "✗"
    here: str = "❯"
    times: str = "×"
    dot: str = "·"
    arrows: str = "↑↓"


ASCII = Signs(ask="?", done="+", wrong="!", here=">", times="x", dot="-", arrows="up/down")


@dataclass(frozen=True)
class Screen:
    """How to talk to this terminal."""

    signs: Signs
    colour: bool
    plain: bool

    @property
    def is_ascii(self) -> bool:
        """Whether only ASCII can be shown."""
        return self.signs is ASCII

    @property
    def width(self) -> int:
        """The columns there are."""
        return shutil.get_terminal_size().columns

    def say(self, text: str = "", sign: str = "") -> None:
        """Print a line, cut where the terminal ends so that it stays one line, in signs that it can show; the sign that
        it begins with in green."""
        cut = text if len(text) < self.width or self.plain else text[: self.width - 2] + ("." if self.is_ascii else "…")
        shown = self.fit(cut)
        if sign and self.colour:
            shown = f"\x1b[32m{sign}\x1b[0m{shown.removeprefix(sign)}"
        print(shown, file=sys.stderr, flush=True)

    def fit(self, text: str) -> str:
        """The text in signs that can be shown."""
        if not self.is_ascii:
            return text
        for sign, plain in (("·", "-"), ("×", "x"), ("…", "..."), ("↑↓", "up/down")):
            text = text.replace(sign, plain)
        return text.encode("ascii", "replace").decode()

    def erase_line(self) -> None:
        """Take back the line that was said last."""
        if not self.plain:
            print("\x1b[1A\x1b[2K", end="", file=sys.stderr, flush=True)


def look(*, colour: bool, plain: bool) -> Screen:
    """What this terminal can do."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    is_utf = "utf" in (sys.stderr.encoding or "").lower() and locale.upper() not in ("C", "POSIX")
    plain = plain or bool(os.environ.get("ACCESSIBLE")) or os.environ.get("TERM") == "dumb"
    return Screen(Signs() if is_utf else ASCII, colour, plain)
