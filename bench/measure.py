"""Times side by side: runs of contenders take turns, and what counts is the ratio within each turn.

Absolute times mean nothing on a machine that others use; a turn is short, so both sides of a ratio see the same machine.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
PACKAGES = ("torch", "torchvision", "copier", "lightning", "accelerate", "pytorch-ignite", "trainite", "scikit-image")

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Ratio:
    """How many times the base a contender takes: the median over the turns, and the middle half of them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Aim:
    """A number that was wanted, and the one that was found."""

    what: str
    wanted: str
    found: str
    met: bool
    value: float


@dataclass
class Table:
    """What one measurement found, ready for print; `points` (x, y) by name make a plot."""

    title: str
    how: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass
class Result:
    """The tables and aims of a subject."""

    subject: str
    tables: list[Table] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)

    def aim(
        self, what: str, found: float, most: float | None = None, least: float | None = None, unit: str = ""
    ) -> None:
        """Notes whether a number is where it was wanted: at most `most`, or at least `least`."""
        if most is not None:
            self.aims.append(Aim(what, f"<= {most:g}{unit}", f"{found:.3g}{unit}", found <= most, found))
        else:
            assert least is not None
            self.aims.append(Aim(what, f">= {least:g}{unit}", f"{found:.3g}{unit}", found >= least, found))


def turns(contenders: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1) -> Times:
    """Lets each contender run once in each round, in an order that rotates; a contender returns its own seconds."""
    names = list(contenders)
    times: Times = {name: [] for name in names}
    for number in range(-warm, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds = contenders[name]()
            if number >= 0:
                times[name].append(seconds)
    return times


def ratio(times: Times, name: str, base: str) -> Ratio:
    """The time of one contender over that of another, turn by turn."""
    ratios = [own / other for own, other in zip(times[name], times[base], strict=True)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return Ratio(median(ratios), low, high)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command(words: Sequence[str], folder: Path | None = None, **environment: str) -> float:
    """Seconds that a whole program takes."""
    return timed(lambda: run(words, folder, **environment))


def run(words: Sequence[str], folder: Path | None = None, **environment: str) -> str:
    """Runs a program; returns what it printed, and shows what it said if it failed."""
    done = subprocess.run(
        list(words),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def peak_memory(words: Sequence[str], folder: Path | None = None, **environment: str) -> float:
    """The most memory that a program and those it waited for had at once, in MB."""
    code = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:], stdin=-3, stdout=-3, stderr=-3).returncode\n"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    code, kilobytes = run([sys.executable, "-c", code, *words], folder, **environment).split()[:2]
    if code != "0":
        raise SystemExit(f"{' '.join(words)} ended with {code}")
    return int(kilobytes) / 2**10


def own_memory() -> float:
    """The most memory that this process had at once, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def compared(title: str, how: str, times: Times, base: str, unit: float = 1.0, per: str = "run") -> Table:
    """A table of contenders: median milliseconds of each (over `unit`), and how many times the base."""
    table = Table(title, how, ["", f"ms per {per}", f"times {base}", "middle half"])
    for name, values in times.items():
        found = ratio(times, name, base)
        table.rows.append(
            [name, f"{median(values) / unit * 1e3:.3g}", f"{found.value:.2f}", f"{found.low:.2f} to {found.high:.2f}"]
        )
    return table


def finish(result: Result, keep: bool) -> None:
    """Prints a result and, if it is not just a quick look, keeps it for `python -m bench.report`."""
    for table in result.tables:
        print(f"\n{table.title}\n{text(table)}")
    print()
    for aim in result.aims:
        print(f"{'met   ' if aim.met else 'MISSED'} {aim.what}: {aim.found} (wanted {aim.wanted})")
    if not keep:
        return
    RESULTS.mkdir(exist_ok=True)
    kept = {**asdict(result), "date": str(date.today()), "versions": versions()}
    (RESULTS / f"{result.subject}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def text(table: Table) -> str:
    """A table as Markdown."""
    lines = [table.columns, ["---"] + ["---:"] * (len(table.columns) - 1), *table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def versions() -> dict[str, str]:
    """What was measured with."""
    found = {"Python": platform.python_version(), "system": platform.system()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
