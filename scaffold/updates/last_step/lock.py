"""The lock of git's index, which is ours for the time of the step."""

import os

from scaffold.errors import Refused
from scaffold.system.shell import join
from scaffold.updates.last_step.step import Step


def _mark(step: Step) -> str:
    return f"torch-scaffold {step.space.name}\n"


def take_lock(step: Step) -> None:
    """Keep every git from writing the index; Refused where another one does."""
    mark = step.space / "lock"
    mark.write_text(_mark(step), encoding="utf-8")
    try:
        try:
            os.link(mark, step.lock)
        except FileExistsError:
            raise
        except OSError:  # a file system without such links
            with step.lock.open("x", encoding="utf-8") as file:
                file.write(_mark(step))
    except FileExistsError:
        raise Refused(
            "another git is working in the repository, or was killed there",
            help=f"wait for it, or, where none runs   {join(['rm', str(step.lock)])}",
        ) from None


def has_lock(step: Step) -> bool:
    """Whether the lock that is there is ours."""
    try:
        return step.lock.read_text(encoding="utf-8", errors="replace") == _mark(step)
    except OSError:
        return False


def release(step: Step) -> None:
    """Give the index back to git, if it was ours."""
    if has_lock(step):
        step.lock.unlink()
