"""Signals: what would end us waits, or cleans up first."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Let the signals that would end us run the cleaning first."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    try:
        before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    except ValueError:  # not the main thread: signals are not ours to handle
        before = {}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Hold signals back for a moment that must not be cut short."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_group(leader: int) -> None:
    """Kill the processes of a group, which has the number of the one that leads it."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none of them is left, or it is no group yet
            os.killpg(leader, signal.SIGKILL)


def end_session(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that was begun with `start_new_session`, and whatever it has started."""
    end_group(process.pid)
    process.kill()
    process.wait()
