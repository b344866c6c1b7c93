"""Smoke tests of the template: render, lint, type and train many answer sets, and say which did not work."""

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from scaffold.errors import BadAnswer, ProgramMissing
from scaffold.questions import answers as sources
from scaffold.questions.answer_types import PACKAGE, PROJECT
from scaffold.trials import lint, pairwise, values
from scaffold.trials.cases import Case, cases_of
from scaffold.trials.idle_choices import idle_choices
from scaffold.trials.quick_form import QuickForm
from scaffold.trials.rendered import render_all
from scaffold.trials.trained import try_all

NEEDED = ("matplotlib", "mypy", "pytest", "ruff", "torch", "torchvision", "tqdm", "tyro", "vulture")


def check_programs() -> None:
    """Refuse to begin without what the tests need."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise ProgramMissing(
            f"smoke tests need {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed",
            help='pip install "torch-scaffold[smoke]"',
        )


def run(
    template: Path,
    answers_file: str | None,
    preset: str | None,
    say: Callable[[str], None],
    *,
    jobs: int,
    train: int,
    types: int | None = None,
    size: int = 2,
) -> tuple[list[Case], list[str]]:
    """Try the answers of a file or a preset, else every pair (or three) of answers.

    Also returns which choices change nothing.
    """
    check_programs()
    if not (template / "copier.yml").is_file():
        raise BadAnswer(f"{template} holds no template: there is no copier.yml in it", at="--template")
    form = QuickForm(template)
    idle: list[str] = []
    if answers_file or preset:
        given = sources.gather(form, {}, preset=preset, answers_file=answers_file)
        rows = [sources.complete(form, given, PROJECT.or_else(given.values, "trial"))]
    else:
        tried = values.tried_values(form, values.facts(template)["values"])
        which = "pair of answers" if size == 2 else "three answers that go together"
        say(f"looking for projects that hold every {which}")
        rows = [row.answers for row in pairwise.telling_first(pairwise.every(form, tried, size), size)]
        say(f"{len(rows)} projects do")
        idle = idle_choices(template, form, tried, jobs)
        say(f"choices: {len(idle)} change nothing")
    cases = cases_of(form, rows)
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        smoke(template, cases, say, jobs=jobs, train=train, types=types, root=Path(folder).resolve())
    return cases, idle


def smoke(
    template: Path,
    cases: Sequence[Case],
    say: Callable[[str], None],
    *,
    jobs: int,
    train: int,
    types: int | None = None,
    root: Path,
) -> None:
    """Try the cases in a folder: render and lint all; look for wrong types and dead code in the first so many (else all)
    that could be rendered, and train the first few."""
    words = values.facts(template)["traces"]
    render_all(template, cases, root / "projects", jobs)
    rendered = [case for case in cases if "render" in case.done]
    say(f"rendered {len(rendered)} of {len(cases)} projects")
    projects = {case.name: root / "projects" / case.name for case in rendered}
    packages = {case.name: str(PACKAGE.of(case.answers)) for case in rendered}
    closely = {projects[case.name]: packages[case.name] for case in rendered[:types]}
    for stage, found in (
        ("ruff", lint.ruff(root / "projects", "check")),
        ("format", lint.ruff(root / "projects", "format", "--check")),
        ("parse", {name: lint.parse(folder) for name, folder in projects.items()}),
        ("dead", {folder.name: lint.dead(folder, package) for folder, package in closely.items()}),
        ("traces", {case.name: lint.traces(projects[case.name], case.answers, words) for case in rendered}),
        ("types", lint.types(closely, root)),
    ):
        looked_at = rendered[:types] if stage in ("dead", "types") else rendered
        _note(looked_at, stage, found)
        say(f"{stage}: {_verdict(looked_at, stage)}")
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
