"""Polite signals: SIGTERM, SIGINT and SIGUSR1 ask the run to save and leave; a second one makes it leave at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows has no SIGUSR1
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]


class Stop(BaseException):
    """Leaves the loop because a signal has asked for it; `Run` saves on the way out."""


@contextmanager
def held_back() -> Iterator[None]:
    """Lets signals wait until the end of the context; in processes that are started in it they go on waiting."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """Notes the first signal in `number` (0 if there was none) and leaves the work to the training loop.

    A launcher may pass one signal on in two ways, so whatever comes within a second counts as the same one.
    """

    def __init__(self) -> None:
        self.number = 0
        self._when = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.number:
            self.number, self._when = number, time.monotonic()
        elif time.monotonic() - self._when > 1:
            os._exit(128 + number)
