"""From the command line to a run, and from an error to a sentence."""

from __future__ import annotations

import gc
import io
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import mean, stdev
from threading import Timer
from typing import TypeVar

import torch

from .errors import RunError, report, shown
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


def unread(more: str = "") -> int:
    """The status to end with if nobody reads what is printed, as in `| head`, or its disk is full; 0 if all is well."""
    try:
        print(end=more, flush=True)
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141 if isinstance(problem, BrokenPipeError) else report(RunError(f"no output: {problem.strerror}", 5))
    return 0


@contextmanager
def exit_status() -> Iterator[ExitStatus]:
    """Around a program: an error becomes a sentence and an exit status, and no loader worker is left behind."""
    status = ExitStatus()
    gc.freeze()  # what was imported stays: to look through it for garbage now and then takes as long as many a step
    sys.stderr = sys.stderr or io.StringIO()  # it may be closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of any language, whatever a terminal or a pipe can show
            with suppress(OSError):  # it writes what is waiting, and the disk may be full
                stream.reconfigure(errors="backslashreplace")
    # torch raises for a dead worker wherever Python happens to be, even in a finalizer; the loop notices it anyway
    ordinary = sys.unraisablehook
    sys.unraisablehook = lambda found: None if "DataLoader" in str(found.exc_value) else ordinary(found)
    try:
        try:
            yield status
        finally:
            # Python would wait for them forever, since they ignore its SIGTERM; torch would take their end for a crash
            if hasattr(signal, "SIGCHLD"):
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for worker in multiprocessing.active_children():
                worker.kill()
        status.code = unread() or status.code
    except RunError as error:
        status.code = report(error)
    except OSError:
        status.code = unread("\n")
        if not status.code:  # it was another file or pipe
            raise
    except (RuntimeError, MemoryError) as problem:
        said = str(problem)
        if isinstance(problem, MemoryError | torch.OutOfMemoryError) or "allocate memory" in said:
            advice = "take a smaller --batch-size, a larger --accumulate, or a smaller model"
            status.code = report(RunError(f"there is not enough memory; {advice} ({said.partition(chr(10))[0]})"))
        elif "DataLoader worker (pid" in said:  # one that raised says why by itself
            status.code = report(worker_died(problem))
        else:
            raise


def launch(kind: type[Opt], train: Callable[[Opt, Process], float], show_plan: Callable[[Opt, Process], None]) -> int:
    """Reads the command line and trains, once for each seed; returns the exit status."""
    with exit_status() as status:
        opt = parse(kind, sys.argv[1:], f"python -m {NAME}.train")
        check(opt)
        with time_limit(opt.max_minutes), Process.start(opt) as process:
            results = []
            for seed in range(opt.seed, opt.seed + opt.seeds):
                settings = with_recorded_settings(replace(opt, seed=seed), process)
                if opt.plan:
                    show_plan(settings, process)
                    break
                results.append(train(settings, process))
            if len(results) > 1 and process.rank == 0:
                print(f"{len(results)} seeds: {shown(mean(results))} +- {shown(stdev(results))}")
    return status.code


@contextmanager
def time_limit(minutes: float) -> Iterator[None]:
    """Asks this process to save and stop after so many minutes, as a scheduler would; 0 for never."""

    def time_is_up() -> None:
        logging.getLogger(NAME).warning(f"the time limit of --max-minutes {minutes:g} is reached")
        signal.raise_signal(signal.SIGTERM)

    timer = Timer(60 * minutes, time_is_up)
    timer.daemon = True
    if minutes:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
