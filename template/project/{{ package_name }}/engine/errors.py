"""Errors that the user can correct, and how their sentences count."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


class RunError(Exception):
    """Ends the program with a message; `code` is its exit status.

    0 done, 2 usage, 3 run in use, 4 no good checkpoint or record, 5 disk full or a file that cannot be used, 6 NaN,
    128 + n saved and stopped by signal n.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def counted(number: int, thing: str) -> str:
    """`1 step`, `2 steps`, `0 classes`: as many of a thing as there are."""
    return f"{number} {thing}" + ("" if number == 1 else "es" if thing.endswith(("s", "x")) else "s")


def shown(value: float) -> str:
    """A number with four decimals, or with as many digits where four decimals would show nothing of it."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.3e}"


def report(error: RunError) -> int:
    """Prints the message, with the rank of a process other than 0; returns the exit status."""
    where = f" (rank {rank})" if (rank := os.environ.get("RANK", "0")) != "0" else ""
    with suppress(OSError):  # the terminal may be gone
        print(f"error{where}: {error}\n", end="", file=sys.stderr, flush=True)  # in one piece among those of others
    return error.code


def disk_error(problem: OSError) -> RunError:
    """What the disk has refused, as a sentence."""
    if (path := problem.filename2 or problem.filename) is None:
        return RunError(str(problem), 5)
    if isinstance(problem, (FileExistsError, NotADirectoryError)):
        while not os.path.lexists(path) and os.path.dirname(path):  # what is above it is no folder
            path = os.path.dirname(path)
        return RunError(f"{path} is neither a folder nor a link to one; move it away", 5)
    if isinstance(problem, FileNotFoundError) and os.path.islink(path):
        return RunError(f"{path} is a link to what is not there; mend it, or move it away", 5)
    return RunError(f"{path} cannot be used: {problem.strerror}", 5)
