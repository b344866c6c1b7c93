"""How fast the command line answers, makes and updates: python -m bench.generator"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pexpect

from bench import projects
from bench.measure import Result, Table, compared, finish, peak_memory, ratio, run, timed, turns
from scaffold.paths import template_root
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy, render
from scaffold.trials import pairwise, values

BIN = Path(sys.executable).parent
SCAFFOLD, COPIER, TRAINITE = (str(BIN / name) for name in ("scaffold", "copier", "trainite"))
ROOM = {"COLUMNS": "100", "GIT_CONFIG_COUNT": "2"} | {
    f"GIT_CONFIG_{kind}_{number}": word
    for number, pair in enumerate((("user.name", "Ada"), ("user.email", "ada@example.org")))
    for kind, word in zip(("KEY", "VALUE"), pair, strict=True)
}


def fresh(name: str) -> Path:
    """A folder that is not there."""
    folder = projects.scratch() / "made" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    return folder


def whole(words: Callable[[], list[str]], **environment: str) -> Callable[[], float]:
    """Seconds of a program, whose words are made anew each time and do not count."""

    def once() -> float:
        line = words()
        return timed(lambda: run(line, projects.scratch(), **ROOM, **environment))

    return once


def answering(result: Result, rounds: int) -> None:
    """--help beside a Python that does nothing."""
    times = turns(
        {
            "python -c pass": whole(lambda: [sys.executable, "-c", "pass"]),
            "scaffold --help": whole(lambda: [SCAFFOLD, "--help"]),
            "copier --help": whole(lambda: [COPIER, "--help"]),
        },
        rounds,
    )
    how = f"whole processes, {rounds} turns"
    result.tables.append(compared("Help", how, times, "python -c pass", 1, "call"))
    over = ratio(times, "scaffold --help", "python -c pass").value
    result.aim("scaffold --help over an interpreter that does nothing", over, most=5)


def plain_template() -> Path:
    """The template in a folder of its own, which plain Copier copies without asking git."""
    folder = projects.scratch() / "template"
    if not folder.exists():
        plain_copy(template_root(), folder)
    return folder


def making(result: Result, rounds: int) -> None:
    """A project of the default answers, by us, by plain Copier and by trainite."""
    template = plain_template()

    def theirs() -> list[str]:
        data = ["-d", "project_name=ours"]
        return [COPIER, "copy", "--defaults", "--quiet", *data, str(template), str(fresh("theirs"))]

    def ours() -> list[str]:
        return [SCAFFOLD, "new", str(fresh("ours")), "--yes", "--no-git"]

    def peer() -> list[str]:
        return [TRAINITE, "init", str(fresh("peer")), "--run-name", "p"]

    times = turns(
        {"copier copy": whole(theirs), "scaffold new --yes": whole(ours), "trainite init": whole(peer)}, rounds
    )
    table = compared("A new project", f"whole processes, {rounds} turns", times, "copier copy", 1, "project")
    table.columns.append("most memory, MB")
    for row, words in zip(table.rows, (theirs, ours, peer), strict=True):
        row.append(f"{peak_memory(words(), projects.scratch(), **ROOM):.0f}")
    result.tables.append(table)
    over = ratio(times, "scaffold new --yes", "copier copy").value
    result.aim("scaffold new --yes over copier copy of the same answers", over, most=1.1)
    over = ratio(times, "scaffold new --yes", "trainite init").value
    result.aim("scaffold new --yes over trainite init", over, most=0.25)
    result.aim("memory of scaffold new --yes", float(table.rows[1][-1]), most=80, unit=" MB")


def asking(result: Result, rounds: int) -> None:
    """From the command to the first question in a terminal."""
    waited = []
    for _ in range(rounds):
        began = time.perf_counter()
        child = pexpect.spawn(SCAFFOLD, ["new"], env={**os.environ, "TERM": "xterm-256color", "CI": ""}, timeout=20)
        child.delaybeforesend = None  # pexpect would sleep for 50 ms; a terminal answers where its cursor is at once
        while child.expect([r"\x1b\[6n", "How do you want to start"]) == 0:
            child.send("\x1b[20;1R")
        waited.append(time.perf_counter() - began)
        child.close(force=True)
    middle = 1000 * median(waited)
    bare = 1000 * median(timed(lambda: run([sys.executable, "-c", "pass"])) for _ in range(rounds))
    rows = [["scaffold new", f"{middle:.0f}"], ["python -c pass", f"{bare:.0f}"]]
    result.tables.append(Table("The first question", f"median of {rounds}", ["", "ms until it is there"], rows))
    result.aim("the first question in a terminal", middle, most=250, unit=" ms")


def updating(result: Result, rounds: int) -> None:
    """An unedited project brought to the next version, by us and by plain Copier."""
    history = projects.scratch() / "history"
    plain_copy(template_root(), history)
    base = projects.scratch() / "base"
    for number in (1, 2):
        if number == 2:
            with (history / "template/project/README.md.jinja").open("a") as file:
                file.write("\nMore.\n")
        git(history, "init", "--quiet")
        git(history, "add", "--all", "--force")
        git(history, "commit", "--quiet", "--message", f"{number}")
        git(history, "tag", "--annotate", "--message", f"{number}", f"v{number}.0.0")
        if number == 1:
            render({"project_name": "base"}, base, history, {"_src_path": str(history), "_commit": "v1.0.0"})
            git(base, "init", "--quiet")
            git(base, "add", "--all")
            git(base, "commit", "--quiet", "--message", "Start")

    def project(name: str) -> str:
        return shutil.copytree(base, fresh(name), symlinks=True).as_posix()

    address = {"SCAFFOLD_TEMPLATE_URL": str(history), "HOME": str(projects.scratch())}
    times = turns(
        {
            "copier update": whole(lambda: [COPIER, "update", "--defaults", "--quiet", project("theirs")], **address),
            "scaffold update": whole(lambda: [SCAFFOLD, "-C", project("ours"), "update", "--yes"], **address),
        },
        rounds,
    )
    how = f"an unedited project, one changed file, {rounds} turns"
    result.tables.append(compared("An update", how, times, "copier update", 1, "update"))
    over = ratio(times, "scaffold update", "copier update").value
    result.aim("scaffold update over copier update", over, most=1.5)


def git(folder: Path, *words: str) -> None:
    """Git in a folder."""
    subprocess.run(["git", *words], cwd=folder, env={**os.environ, **ROOM}, check=True, capture_output=True)


def rendering(result: Result, most: int) -> None:
    """How many projects a second, when every pair of answers is rendered in one process."""
    form = Form(template_root())
    tried = values.tried_values(form, values.facts(template_root())["values"])
    rows = [row.answers for row in pairwise.every(form, tried)][:most]
    template = plain_template()

    def every() -> None:
        for number, answers in enumerate(rows):
            render(answers, fresh(f"row-{number}"), template)

    seconds = timed(every)
    rate = len(rows) / seconds
    cells = [[f"{len(rows)} rows, every pair of answers", f"{rate:.1f}"]]
    result.tables.append(Table("Rendering", "in one process, by Copier", ["", "projects a second"], cells))


def main(quick: bool = False) -> None:
    result = Result("generator")
    rounds = 3 if quick else 15
    answering(result, rounds)
    asking(result, rounds)
    making(result, rounds)
    updating(result, rounds)
    rendering(result, 5 if quick else 100)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
