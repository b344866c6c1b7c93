"""`scaffold new`: answers in, a project out."""

import os
from typing import TYPE_CHECKING, Any

import click

from scaffold.commands.answer_options import AnswersCommand
from scaffold.commands.program import json_option, program
from scaffold.conversation.output import as_json_text, has_somebody, settings, show, use_colour
from scaffold.errors import BadAnswer, did_you_mean, printable

if TYPE_CHECKING:
    from scaffold.questions.form import Form
    from scaffold.render.project import Created


@program.command(cls=AnswersCommand)
@click.argument("path", required=False)
@click.option("--preset", metavar="NAME", help="Begin with the answers of a preset (scaffold list presets).")
@click.option("--answers", "answers_file", metavar="FILE", help="Begin with the answers of a file.")
@click.option("-y", "--yes", is_flag=True, help="Take the default of what is not answered; ask nothing.")
@click.option(
    "--git/--no-git", default=None, help="Make a repository with a first commit.  [default: unless one is around it]"
)
@click.option("--dry-run", is_flag=True, help="Show the tree, write nothing.")
@click.option("--show", "show_file", metavar="FILE", help="Show one file of the project, write nothing.")
@json_option()
def new(
    path: str | None,
    preset: str | None,
    answers_file: str | None,
    yes: bool,
    git: bool | None,
    dry_run: bool,
    show_file: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Make a project in a new folder.

    \b
      scaffold new                       asks
      scaffold new my-project --yes      takes the recommended answers
      scaffold new my-project --model resnet18 --weights imagenet --group backbone=0.1 --group head=1 --yes
    """
    from pathlib import Path

    from scaffold.paths import template_root
    from scaffold.questions import answers as sources
    from scaffold.questions.form import Form
    from scaffold.render import project
    from scaffold.render.rendering import preview as preview_of
    from scaffold.render.target import check_target
    from scaffold.system.shell import join
    from scaffold.updates.origin import find_origin, of_environment

    of_environment()  # what cannot be is refused before anything is asked
    form = Form(template_root())
    given = sources.gather(form, flags, preset=preset, answers_file=answers_file)
    target = sources.find_target(path, given)
    writing = not (dry_run or show_file)
    if target and writing:
        check_target(Path(target))
    sources.check_names(form, given, target or "my-project", yes=yes)
    if yes:
        if target is None:
            raise BadAnswer("it has no folder to go to", at="PATH", help="for example   scaffold new my-project --yes")
        answers = sources.complete(form, given, target)
    else:
        answers, target = ask(form, given, target)
    origin = find_origin()
    command = "scaffold " + join(form.command(answers, target))
    if not writing:
        preview(preview_of(answers, origin=origin.record), target, answers, command, show_file, as_json)
        return
    made = project.create(answers, Path(target), origin=origin.record, git=git)
    if as_json:
        tell(answers, target, made.files, command)
    else:
        close(answers, target, made, command, origin.warnings)


def ask(form: "Form", given: Any, target: str | None) -> tuple[dict[str, Any], str]:
    """Have the conversation, where there is somebody to have it with."""
    from scaffold.questions import answers as sources
    from scaffold.system.shell import join

    if not has_somebody():
        missing = [form.questions[name].flag for name in sources.missing(form, given, target)]
        where = target or "my-project"
        raise BadAnswer(
            f"no terminal to ask questions in, and these have no answer: {', '.join(missing)}"
            if missing
            else "no terminal to ask for a last yes in",
            help=f"take the defaults       scaffold new {join([where])} --yes\n"
            f"or answer by flags      scaffold new {join([where])} --model resnet18 … --yes   (scaffold list options)",
        )
    from scaffold.conversation.terminal import look
    from scaffold.conversation.wizard import converse

    screen = look(colour=use_colour(), plain=bool(settings.get("plain")))
    return converse(form, screen, given, target)


def next_commands(answers: dict[str, Any], target: str) -> list[str]:
    """What to type now."""
    from scaffold.questions.answer_types import DISTRIBUTED, PACKAGE
    from scaffold.system.shell import join

    train = f"{DISTRIBUTED.launcher(answers)} -m {PACKAGE.of(answers)}.train"
    return [join(["cd", target]), 'pip install -e ".[dev]"', train]


def tell(answers: dict[str, Any], target: str, files: list[str], command: str) -> None:
    """The result as JSON."""
    result = {
        "path": os.path.abspath(target),
        "files": files,
        "answers": answers,
        "command": command,
        "next": next_commands(answers, target),
    }
    click.echo(as_json_text(result))


def close(answers: dict[str, Any], target: str, made: "Created", command: str, warnings: list[str]) -> None:
    """The closing lines: what was made, what to type now, how to make it again."""
    from scaffold.questions.answer_types import PACKAGE

    show(f"Created {printable(target)} ({len(made.files)} files)")
    for warning in [*warnings, *([made.uncommitted] if made.uncommitted else [])]:
        show(f"note: {warning}")
    if settings.get("quiet"):
        return
    package = PACKAGE.of(answers)
    worth_reading = {
        "README.md": "what you chose, how to run, how to change",
        f"{package}/train.py": "the loop: start reading here",
        f"{package}/options.py": "the settings, with their defaults",
        f"{package}/optim.py": "layer groups, optimizer, learning rates",
    }
    show("")
    for name, what in worth_reading.items():
        if name in made.files:
            show(f"  {name:<{len(package) + 14}}  {what}".rstrip())
    show("\n  Next")
    for line in next_commands(answers, target):
        show(f"    {printable(line)}")
    show(f"\n  Same again\n    {printable(command)}")


def preview(
    files: dict[str, bytes], target: str, answers: dict[str, Any], command: str, show_file: str | None, as_json: bool
) -> None:
    """What would be written: one file, the result as JSON, or the tree."""
    from scaffold.questions.answer_types import PACKAGE

    if show_file:
        if show_file not in files:
            raise BadAnswer(
                f"the project has no file '{show_file}'" + did_you_mean(show_file, list(files)),
                at="--show",
                help="what there is:   --dry-run",
            )
        click.echo(files[show_file], nl=False)
    elif as_json:
        tell(answers, target, list(files), command)
    else:
        click.echo(f"would create {printable(target)}/")
        width = max(len(name) for name in files)
        for name, content in files.items():
            click.echo(f"  + {name:<{width}}  {len(content) / 1000:6.1f} KB")
        click.echo(f"{len(files)} files. Nothing was written.   One file: --show {PACKAGE.of(answers)}/train.py")
