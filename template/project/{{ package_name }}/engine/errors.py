"""What the person at the keyboard can put right."""

from __future__ import annotations

import os
import sys


class RunError(Exception):
    """Ends the program with one sentence; `code` is its exit status.

    0 done, 2 usage, 3 run in use, 4 no good checkpoint, 5 disk was full, 6 NaN, 128 + n saved and stopped by signal n.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def report(error: RunError) -> int:
    """Prints the sentence, and says which process it comes from if there are several; returns the exit status."""
    rank = os.environ.get("RANK", "0")
    # in one piece, since other processes write there too
    sys.stderr.write(f"error: {error}\n" if rank == "0" else f"error (rank {rank}): {error}\n")
    sys.stderr.flush()
    return error.code
