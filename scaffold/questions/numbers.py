"""Numbers as people write them."""

import math


def number(value: float) -> str:
    """A number as one would type it: 1 for 1.0."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def short_count(parameters: int) -> str:
    """A number of parameters, short: 11.2 M."""
    for unit, size in (("M", 1_000_000), ("K", 1_000)):
        if parameters >= size:
            return f"{parameters / size:.1f} {unit}"
    return str(parameters)


def read_number(text: str) -> float | None:
    """The finite number that is written there, or none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return abs(value) if value == 0 else value if math.isfinite(value) else None
