"""The tests of the generator alone, which train nothing: `pytest $(python -m tools.generator_tests)`.

--anywhere    only those that ask nothing of the system that Windows does not have
"""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
ANYWHERE = ("compiled", "facts", "layers", "new", "questions", "release", "update_evolution")
POSIX = ("catalogue", "change", "cli", "origin", "project", "robust", "same_bytes", "template", "wheel", "wizard")
UPDATES = ("update", "update_last_step", "update_proofs", "update_refused", "update_safe")


def paths(names: tuple[str, ...]) -> list[str]:
    """Their files, wherever below tests/ they lie."""
    return [found.relative_to(TESTS.parent).as_posix() for name in names for found in TESTS.rglob(f"test_{name}.py")]


if __name__ == "__main__":
    print(*paths(ANYWHERE if "--anywhere" in sys.argv else ANYWHERE + POSIX + UPDATES))
