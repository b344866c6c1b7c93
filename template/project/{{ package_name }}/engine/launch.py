"""From the command line to a run, and from an error to a sentence."""

from __future__ import annotations

import io
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import TypeVar

from .errors import RunError, report
from .history import with_recorded_settings
from .loader import worker_died
from .log import NAME
from .options import RunOptions, check, parse
from .processes import Process

Opt = TypeVar("Opt", bound=RunOptions)


@dataclass
class ExitStatus:
    """What a program returns to the shell."""

    code: int = 0

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Around one of several files: if it is wrong, that is told, and the next one has its turn."""
        try:
            yield
        except RunError as error:
            self.code = report(error)


@contextmanager
def exit_status() -> Iterator[ExitStatus]:
    """Around a program: an error becomes a sentence and an exit status, and no loader worker is left behind."""
    status = ExitStatus()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of any language, whatever a terminal or a pipe can show
            stream.reconfigure(errors="backslashreplace")
    # torch tells of a dead worker wherever Python happens to be, also where nothing can be raised; it is noticed later
    ordinary = sys.unraisablehook
    sys.unraisablehook = lambda found: None if "DataLoader" in str(found.exc_value) else ordinary(found)
    try:
        try:
            yield status
        finally:
            # Python would end them by a signal that they ignore, and wait for ever; to torch their end is an accident
            if hasattr(signal, "SIGCHLD"):
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for worker in multiprocessing.active_children():
                worker.kill()
    except RunError as error:
        status.code = report(error)
    except RuntimeError as problem:
        if "DataLoader worker (pid" not in str(problem):  # one that raised says why by itself
            raise
        status.code = report(worker_died(problem))


def launch(kind: type[Opt], train: Callable[[Opt, Process], float], show_plan: Callable[[Opt, Process], None]) -> int:
    """Reads the command line and trains, once for each seed; returns the exit status."""
    with exit_status() as status:
        opt = parse(kind, sys.argv[1:], f"python -m {NAME}.train")
        check(opt)
        with Process.start(opt) as process:
            results = []
            for seed in range(opt.seed, opt.seed + opt.seeds):
                settings = with_recorded_settings(replace(opt, seed=seed), process)
                if opt.plan:
                    show_plan(settings, process)
                    break
                results.append(train(settings, process))
            if len(results) > 1 and process.rank == 0:
                print(f"{len(results)} seeds: {mean(results):.4f} +- {stdev(results):.4f}")
    return status.code
