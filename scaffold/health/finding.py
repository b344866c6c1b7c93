"""What is said of one thing that was looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that was looked at: fine (ok), worth knowing (note), or to be put right (problem)."""

    part: str
    state: str
    message: str
    help: str = ""
