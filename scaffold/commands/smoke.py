"""`scaffold smoke`: the template tried with many answers."""

import os
from collections.abc import Callable

import click

from scaffold.commands.program import program
from scaffold.conversation.output import settings, show
from scaffold.errors import BadAnswer


@program.command()
@click.option("--answers", "answers_file", metavar="FILE", help="Try the answers of a file.")
@click.option("--preset", metavar="NAME", help="Try the answers of a preset (scaffold list presets).")
@click.option("--pairs", is_flag=True, help="Try every pair of answers that goes together.  [default]")
@click.option("--triples", is_flag=True, help="Try every three answers that go together.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, metavar="N", help="So many at a time.")
@click.option("--train", type=click.IntRange(0), default=12, show_default=True, metavar="N", help="Train so many.")
@click.option(
    "--types", type=click.IntRange(0), metavar="N", help="Check types and dead code of so many.  [default: all]"
)
@click.option("--template", metavar="DIR", help="The template in DIR, such as a fork's checkout.")
def smoke(
    answers_file: str | None,
    preset: str | None,
    pairs: bool,
    triples: bool,
    jobs: int,
    train: int,
    types: int | None,
    template: str | None,
) -> None:
    """Try the template: render, lint, type and train many projects.

    \b
      scaffold smoke                           every pair of answers
      scaffold smoke --preset image-classifier
    """
    from pathlib import Path

    from scaffold.paths import template_root
    from scaffold.trials import smoke as trials
    from scaffold.trials.report import failures, table

    if pairs and triples:
        raise BadAnswer("--pairs and --triples are two sets of answers", at="--triples", help="give one of them")
    if (pairs or triples) and (answers_file or preset):
        flag = "--triples" if triples else "--pairs"
        raise BadAnswer(f"{flag} makes its own answers", at=flag, help="leave out --answers and --preset")
    root = Path(template).absolute() if template else template_root()
    say: Callable[[str], None] = (lambda _: None) if settings.get("quiet") else show
    size = 3 if triples else 2
    cases, idle = trials.run(root, answers_file, preset, say, jobs=jobs, train=train, types=types, size=size)
    click.echo(table(cases))
    bad = [line for line in (failures(cases), *idle) if line]
    click.echo("\n" + "\n\n".join(bad) if bad else f"\nall {len(cases)} projects are fine")
    click.get_current_context().exit(1 if bad else 0)
