"""What a user can put right: a message, a help to paste, an exit code.

ScaffoldError
├── BadAnswer       2    wrong usage, or an answer that cannot be
├── Refused         3    it would touch files that are not ours
├── ProgramMissing  4    something that is needed is not installed
├── CreateFailed    1    rendering or writing failed
└── Cancelled     130    the user said no
"""


class ScaffoldError(Exception):
    """Something that the user can put right: what is wrong, where it was said, and what to type instead."""

    exit_code = 1
    # What ended the run, unless the message should stand alone.
    last_line = "Nothing was written."

    def __init__(self, message: str, *, at: str = "", help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.help = help
        # What a command that tells its result as JSON has found out before.
        self.result: dict[str, object] = {}

    def as_data(self) -> dict[str, object]:
        """The same for a program."""
        return {"message": self.message, "at": self.at, "help": self.help.splitlines(), "exit_code": self.exit_code}

    def __str__(self) -> str:
        lines = [f"error: {printable(self.message)}"]
        if self.at:
            lines.append(f"   at: {printable(self.at)}")
        for number, line in enumerate(self.help.splitlines()):
            lines.append(f"{' help:' if number == 0 else '      '} {printable(line)}")
        if self.last_line:
            lines.append(self.last_line)
        return "\n".join(lines)


class BadAnswer(ScaffoldError):
    """An answer, a flag or a file of answers that cannot be."""

    exit_code = 2

    def __init__(self, message: str, *, at: str = "", help: str = "", question: str = "") -> None:
        super().__init__(message, at=at, help=help)
        self.question = question


class Refused(ScaffoldError):
    """Going on would touch files that are not ours."""

    exit_code = 3


class ProgramMissing(ScaffoldError):
    """A program that is needed is not installed."""

    exit_code = 4


class CreateFailed(ScaffoldError):
    """Rendering or writing failed."""


class Cancelled(ScaffoldError):
    """The user changed their mind."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("Cancelled.")

    def __str__(self) -> str:
        return f"Cancelled. {self.last_line}".rstrip()


def printable(text: str) -> str:
    """Show what a terminal would obey (escapes, bidi controls, line breaks) as the escapes of Python."""
    import unicodedata

    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character)[0] == "C" else character
        for character in text
    )


def did_you_mean(word: str, known: list[str]) -> str:
    """The end of a sentence that proposes the nearest known word, or nothing when none is near."""
    from difflib import SequenceMatcher

    def plain(text: str) -> str:
        return text.lower().translate(str.maketrans("ol", "01"))  # letters that are taken for numbers

    def nearness(one: str) -> tuple[float, int]:
        match = SequenceMatcher(None, plain(one), plain(word))
        return match.ratio(), match.find_longest_match().size  # among equals the one with more in a row

    near = max(known, key=nearness, default="")
    return f"; did you mean '{near}'?" if near and nearness(near)[0] >= 0.5 else ""
