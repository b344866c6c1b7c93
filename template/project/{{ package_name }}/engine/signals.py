"""SIGTERM, SIGINT, SIGUSR1 and SIGHUP ask a run to save a checkpoint and stop; a second one ends it at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows has no SIGUSR1 and no SIGHUP
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
    SIGNALS.append(signal.SIGHUP)


class Stop(BaseException):
    """Leaves the training loop after a signal; `Run` saves on the way out."""


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Blocks the signals until the context ends; in processes that are started in it they stay blocked."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """Handles the signals while its context lasts: `number` is the first one received, or 0."""

    number = 0
    asked = 0.0  # when one was received, for whoever does not know the run

    def __enter__(self) -> Signals:
        Signals.asked = 0.0
        self._before: dict[int, Any] = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items() if not self.number else ():  # a launcher may still send it again
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self.number:
            self.number, Signals.asked = number, time.monotonic()
        elif time.monotonic() - Signals.asked > 1:  # a launcher may send the same signal twice
            os._exit(128 + number)
