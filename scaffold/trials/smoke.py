"""Smoke tests of the template: render, lint, type and train many answer sets, and say which did not work."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer, ProgramMissing
from scaffold.questions import answers as sources
from scaffold.questions.answer_types import MODEL, PACKAGE, PROJECT
from scaffold.questions.form import Form
from scaffold.render.project import list_files, plain_copy, render
from scaffold.trials import lint
from scaffold.trials import pairwise as pairs

STAGES = ("render", "parse", "ruff", "format", "types", "dead", "traces", "train", "quick")
NEEDED = ("matplotlib", "mypy", "pytest", "ruff", "torch", "torchvision", "tqdm", "tyro", "vulture")

# Stands in for a model of the user's own, whatever its task calls the size of the head; with these names the groups
# `backbone` and `head` exist.
OWN_MODEL = '''"""A model of one's own."""

from torch import Tensor, nn


class {name}(nn.Module):
    def __init__(self, **size: int) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, sum(size.values()) or 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.head(self.norm(self.backbone(x)).relu().mean(dim=(2, 3)))
        return scores, scores
'''


@dataclass
class Case:
    """One set of answers, and what came of it."""

    answers: dict[str, Any]
    command: str
    differing: str
    problems: dict[str, list[str]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The project's, and its folder's."""
        return PROJECT.or_else(self.answers)


def check_programs() -> None:
    """Refuse to begin without what the tests need."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise ProgramMissing(
            f"smoke tests need {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed",
            help='pip install "torch-scaffold[smoke]"',
        )


def cases_of(form: Form, rows: Sequence[dict[str, Any]]) -> list[Case]:
    """A case for each set of answers, its project's name made unlike all others by a number."""
    cases = []
    for number, row in enumerate(rows, start=1):
        name = f"{PROJECT.of(row)[:46]}-{number:02}"
        given = {question: answer for question, answer in row.items() if question != PACKAGE.name}
        answers = form.recorded(form.fill({**given, PROJECT.name: name}, name))
        words = form.command(answers, name)
        cases.append(Case(answers, shlex.join(["scaffold", *words]), shlex.join(words[2:-1])))
    return cases


def run(
    template: Path,
    answers_file: str | None,
    preset: str | None,
    say: Callable[[str], None],
    *,
    jobs: int,
    train: int,
    size: int = 2,
) -> tuple[list[Case], list[str]]:
    """Try the answers of a file or a preset, else every pair (or three) of answers.

    Also returns which choices change nothing.
    """
    check_programs()
    if not (template / "copier.yml").is_file():
        raise BadAnswer(f"{template} holds no template: there is no copier.yml in it", at="--template")
    form = Form(template)
    idle: list[str] = []
    if answers_file or preset:
        given = sources.gather(form, {}, preset=preset, answers_file=answers_file)
        rows = [sources.complete(form, given, PROJECT.or_else(given.values, "trial"))]
    else:
        tried = pairs.tried_values(form, pairs.facts(template)["values"])
        which = "pair of answers" if size == 2 else "three answers that go together"
        say(f"looking for projects that hold every {which}")
        rows = [row.answers for row in pairs.every(form, tried, size)]
        say(f"{len(rows)} projects do")
        idle = idle_choices(template, form, tried, jobs)
        say(f"choices: {len(idle)} change nothing")
    cases = cases_of(form, rows)
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        smoke(template, cases, say, jobs=jobs, train=train, root=Path(folder).resolve())
    return cases, idle


def smoke(
    template: Path,
    cases: Sequence[Case],
    say: Callable[[str], None],
    *,
    jobs: int,
    train: int,
    root: Path,
) -> None:
    """Try the cases in a folder: render and lint all, train the first few that could be rendered."""
    words = pairs.facts(template)["traces"]
    render_all(template, cases, root / "projects", jobs)
    rendered = [case for case in cases if "render" in case.done]
    say(f"rendered {len(rendered)} of {len(cases)} projects")
    projects = {case.name: root / "projects" / case.name for case in rendered}
    packages = {case.name: str(PACKAGE.of(case.answers)) for case in rendered}
    for stage, found in (
        ("ruff", lint.ruff(root / "projects", "check")),
        ("format", lint.ruff(root / "projects", "format", "--check")),
        ("parse", {name: lint.parse(folder) for name, folder in projects.items()}),
        ("dead", {name: lint.dead(folder, packages[name]) for name, folder in projects.items()}),
        ("traces", {case.name: lint.traces(projects[case.name], case.answers, words) for case in rendered}),
        ("types", lint.types({folder: packages[name] for name, folder in projects.items()}, root)),
    ):
        _note(rendered, stage, found)
        say(f"{stage}: {_verdict(rendered, stage)}")
    try_all(rendered[:train], root, jobs, say)


def _note(cases: Sequence[Case], stage: str, found: lint.Found) -> None:
    for case in cases:
        case.done.add(stage)
        if found.get(case.name):
            case.problems[stage] = found[case.name]
    lost = {name: lines for name, lines in found.items() if lines and name not in {case.name for case in cases}}
    if lost:  # the tool itself failed
        raise RuntimeError(f"{stage}: {lost}")


def _verdict(cases: Sequence[Case], stage: str) -> str:
    bad = sum(stage in case.problems for case in cases)
    return f"{len(cases) - bad} of {len(cases)} projects are fine"


def render_all(template: Path, cases: Sequence[Case], root: Path, jobs: int) -> None:
    """Render every case into a folder of its name."""
    source = plain_copy(template, root.parent / "template")
    root.mkdir()
    with ProcessPoolExecutor(min(jobs, 61)) as pool:
        work = [(case.answers, root / case.name, source) for case in cases]
        for case, (problem, seconds) in zip(cases, pool.map(_render, work), strict=True):
            case.seconds["render"] = seconds
            if problem:
                case.problems["render"] = [problem]
            else:
                case.done.add("render")


def _render(work: tuple[dict[str, Any], Path, Path]) -> tuple[str, float]:
    answers, folder, source = work
    began = time.monotonic()
    try:
        render(answers, folder, source)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the result
        return str(error), time.monotonic() - began
    own = MODEL.own_module(answers)
    if own is not None:
        module, name = own
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OWN_MODEL.format(name=name), encoding="utf-8")
    return "", time.monotonic() - began


def try_all(cases: Sequence[Case], root: Path, jobs: int, say: Callable[[str], None]) -> None:
    """Train cases for a few steps and run their own quick tests, sharing one import of torch."""
    if not cases:
        return
    work = {
        "jobs": jobs,
        "projects": [
            {"name": case.name, "folder": str(root / "projects" / case.name), "answers": case.answers} for case in cases
        ],
    }
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("RANK", "WORLD_SIZE")}
    by_name = {case.name: case for case in cases}
    process = subprocess.Popen(
        [sys.executable, "-m", "scaffold.trials.train_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(work))
        process.stdin.close()
        for line in process.stdout:
            result = json.loads(line)
            case, what = by_name[result["name"]], result["what"]
            case.done.add(what)
            case.seconds[what] = result["seconds"]
            if result["problem"]:
                case.problems[what] = result["problem"].splitlines()
            say(f"{what}: {case.name} {'failed' if result['problem'] else 'is fine'} ({result['seconds']} s)")
    for case in cases:
        for what in ("train", "quick"):
            if what not in case.done:
                case.problems[what] = [f"the trial ended without a result (exit {process.returncode})"]


# QUESTIONS THAT CHANGE NOTHING


def idle_choices(template: Path, form: Form, tried: dict[str, list[Any]], jobs: int) -> list[str]:
    """The choices that give the same project as another choice of their question, but for what records the answers,
    and those that no project can have."""
    problems: list[str] = []
    couples: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    for name, values in tried.items():
        rows = [pairs.simplest(form, tried, {name: place}) for place in range(len(values))]
        problems += [
            f"{name}: no project can have {value!r}" for value, row in zip(values, rows, strict=True) if not row
        ]
        for one, two in combinations([row for row in rows if row], 2):
            # all other answers stay, as far as both choices ask for them
            common = {question: place for question, place in one.choices.items() if question in two.choices}
            other = pairs.simplest(form, tried, {**common, name: two.choices[name]})
            if other:
                first, second = values[one.choices[name]], values[two.choices[name]]
                couples.append((f"{name}: {first!r} gives the same project as {second!r}", one.answers, other.answers))
    sets = {_key(answers): answers for _, *both in couples for answers in both}
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        source = plain_copy(template, Path(folder) / "template")
        with ProcessPoolExecutor(min(jobs, 61)) as pool:  # Windows takes no more
            trees = dict(zip(sets, pool.map(partial(_tree, source=source), sets.values()), strict=True))
    return problems + [label for label, one, two in couples if trees[_key(one)] == trees[_key(two)]]


def _key(answers: dict[str, Any]) -> str:
    return json.dumps(answers, sort_keys=True)


def _tree(answers: dict[str, Any], source: Path) -> dict[str, bytes]:
    """The files of a project without those that record its answers, and without its names."""
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        project = Path(folder) / "project"
        render(answers, project, source)
        return {
            name: (project / name).read_bytes()
            for name in list_files(project)
            if name not in ("README.md", ".copier-answers.yml")
        }


# WHAT CAME OF IT


def table(cases: Sequence[Case]) -> str:
    """A line for each case: what was tried, how it went, how long it took, and how its answers differ from the
    defaults."""
    lines = ["".join(f"{title:<8}" for title in ("case", *STAGES, "s")) + "answers"]
    for number, case in enumerate(cases, start=1):
        marks = ["FAILED" if stage in case.problems else "ok" if stage in case.done else "-" for stage in STAGES]
        seconds = f"{sum(case.seconds.values()):.1f}"
        cells = "".join(f"{cell:<8}" for cell in (f"{number:02}", *marks, seconds))
        lines.append(cells + case.differing)
    return "\n".join(lines)


def failures(cases: Sequence[Case]) -> str:
    """What failed, what failed alike together, with the command that makes the first such project again."""
    alike: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        for stage, lines in case.problems.items():
            text = "\n".join(f"    {line}" for line in lines[:30])
            text += f"\n    … and {len(lines) - 30} more" if len(lines) > 30 else ""
            text = text.replace(PACKAGE.of(case.answers), "PACKAGE").replace(case.name, "PROJECT")
            alike.setdefault((stage, text), []).append(case)
    parts = []
    for (stage, text), found in alike.items():
        others = f"   (and {len(found) - 1} more)" if len(found) > 1 else ""
        parts.append(f"{stage} failed{others}   {found[0].command}\n{text}")
    return "\n\n".join(parts)
