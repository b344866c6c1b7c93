"""The commands: options in, project out."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from scaffold import __version__
from scaffold.errors import BadAnswer, Cancelled, CreateFailed, ScaffoldError, printable
from scaffold.system.shell import join

if TYPE_CHECKING:
    from scaffold.questions.form import Form
    from scaffold.render.project import Created
    from scaffold.updates.merge import Merged, Work

EXIT_CODES = """\b
Exit codes: 0 done · 1 a check or a render failed · 2 wrong usage or answer ·
3 refused to touch files that are not ours, or conflicts to solve · 4 a needed program is missing · 130 cancelled"""


# The options that go with every command, as far as they were said: also for errors, when click's own context is gone.
settings: dict[str, Any] = {}


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    settings.clear()
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show becomes a question mark, not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = program.main(words, prog_name="scaffold", standalone_mode=False)
    except ScaffoldError as error:
        show(str(error))
        if settings.get("verbose") and error.__cause__:
            import traceback

            traceback.print_exception(error.__cause__)
        code = error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "scaffold"
        show(str(BadAnswer(error.format_message(), help=f"{command} --help")))
        code = 2
    except (KeyboardInterrupt, click.Abort):
        show(str(Cancelled()))
        code = Cancelled.exit_code
    except OSError as error:  # a disk that is full, a folder that is not ours
        failed = CreateFailed(error.strerror or str(error), at=str(error.filename or ""))
        failed.last_line = ""
        show(str(failed))
        code = failed.exit_code
    sys.exit(code)


def show(text: str) -> None:
    """Say something to the person; results go to stdout instead."""
    colour = use_colour()
    for line in text.split("\n"):
        sign, colon, rest = line.partition(":")
        paint = {"error": "red", " help": "cyan", "note": "yellow"}.get(sign) if colon and colour else None
        click.echo(click.style(sign + colon, fg=paint, bold=True) + rest if paint else line, err=True, color=colour)


def use_colour() -> bool:
    """Whether stderr takes colour: as told, else as the environment and the terminal say."""
    told = settings.get("color", "auto")
    if told != "auto":
        return bool(told == "always")
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or os.environ.get("ACCESSIBLE"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stderr.isatty()


def _remember(_: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None and value is not False:
        settings[str(option.name)] = value


def _enter(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    try:
        os.chdir(value)
    except OSError as error:
        raise BadAnswer(f"cannot go to {value}: {error.strerror}", at="-C") from None


def general_options(*, hidden: bool) -> list[click.Option]:
    """The options that go before or after the name of any command."""

    def option(*names: str, **how: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, hidden=hidden, **how)

    return [
        option("--color", type=click.Choice(["auto", "always", "never"]), default=None, help="Colour the output."),
        option("--plain", is_flag=True, help="Ask line by line, redrawing nothing (also ACCESSIBLE=1)."),
        option("--no-input", is_flag=True, help="Never ask."),
        option("-q", "--quiet", is_flag=True, help="Say less: not what to do next."),
        option("-v", "--verbose", is_flag=True, help="Say more: of a failure, where it came from."),
    ]


class Program(click.Group):
    """A group whose commands take the general options too."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.params += general_options(hidden=True)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # nobody reads on, as in `scaffold list | head`: the end that other programs have
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + 13


class AnswersCommand(click.Command):
    """A command with one option for every question of copier.yml, read only when the command is used."""

    _answer_options: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if self._answer_options is None:
            self._answer_options = list(answer_options())
        own = super().get_params(ctx)
        return [*own[:1], *self._answer_options, *own[1:]]


def answer_options() -> list[click.Option]:
    """One option for each question."""
    from scaffold.paths import template_root
    from scaffold.questions.form import read

    options = []
    for question in read(template_root())[1].values():
        # the class of one's own model is part of --model
        if question.is_fact or question.name == "model_class":
            continue
        names = [question.flag, question.name]
        if question.type == "bool":
            names[0] = f"{question.flag}/--no-{question.flag[2:]}"
            options.append(click.Option(names, default=None, help=question.help))
            continue
        values = [str(value) for value in question.values]
        metavar = {"losses": "NAME[=WEIGHT]", "layer_groups": "NAME=MULT", "weights_skip": "LAYER"}.get(question.name)
        if question.name == "model":
            values = [value for value in values if value != "own"] + ["PACKAGE.MODULE:CLASS"]
        repeated = question.type == "yaml"
        options.append(
            click.Option(
                names,
                multiple=repeated,
                default=None,
                metavar=metavar or "|".join(values) or {"int": "N", "float": "X"}.get(question.type, "TEXT"),
                help=question.about + (" (can be repeated)" if repeated else ""),
            )
        )
    return options


@click.group(cls=Program, params=general_options(hidden=False), epilog=EXIT_CODES)
@click.option("-C", "folder", metavar="DIR", is_eager=True, expose_value=False, callback=_enter, help="Work in DIR.")
@click.version_option(__version__, prog_name="torch-scaffold")
def program() -> None:
    """Answer a few questions, own a PyTorch training project."""
    from scaffold.updates.origin import place_bundle

    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadAnswer("the folder you are in is gone", help='one that is there   cd "$HOME"') from None
    place_bundle()


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
@click.option("--json", "as_json", is_flag=True, help="Tell the result as JSON.")
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
    from scaffold.updates.origin import find_origin, of_environment

    of_environment()  # what cannot be is refused before anything is asked
    form = Form(template_root())
    given = sources.gather(form, flags, preset=preset, answers_file=answers_file)
    target = sources.find_target(path, given)
    writing = not (dry_run or show_file)
    if target and writing:
        project.check_target(Path(target))
    if yes:
        if target is None:
            raise BadAnswer("it has no folder to go to", at="PATH", help="for example   scaffold new my-project --yes")
        answers = sources.complete(form, given, target)
    else:
        answers, target = ask(form, given, target)
    origin = find_origin()
    command = "scaffold " + join(form.command(answers, target))
    if not writing:
        preview(project.preview(answers, origin=origin.record), target, answers, command, show_file, as_json)
        return
    made = project.create(answers, Path(target), origin=origin.record, git=git)
    if as_json:
        tell(answers, target, made.files, command)
    else:
        close(answers, target, made, command, origin.warnings)


def ask(form: "Form", given: Any, target: str | None) -> tuple[dict[str, Any], str]:
    """Have the conversation, where there is somebody to have it with."""
    from scaffold.questions import answers as sources

    if not has_somebody():
        missing = [form.questions[name].flag for name in sources.missing(form, given, target)]
        where = target or "my-project"
        raise BadAnswer(
            f"no terminal to ask questions in, and these have no answer: {', '.join(missing)}"
            if missing
            else "no terminal to ask for a last yes in",
            help=f"take the defaults       scaffold new {where} --yes\n"
            f"or answer by flags      scaffold new {where} --model resnet18 … --yes   (scaffold list options)",
        )
    from scaffold.conversation.terminal import look
    from scaffold.conversation.wizard import converse

    screen = look(colour=use_colour(), plain=bool(settings.get("plain")))
    return converse(form, screen, given, target)


def next_commands(answers: dict[str, Any], target: str) -> list[str]:
    """What to type now."""
    launcher = "python" if answers["distributed"] == "none" else "torchrun --nproc-per-node 2"
    return [join(["cd", target]), 'pip install -e ".[dev]"', f"{launcher} -m {answers['package_name']}.train"]


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


def as_json_text(value: Any) -> str:
    """A value as JSON that people can read too."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def close(answers: dict[str, Any], target: str, made: "Created", command: str, warnings: list[str]) -> None:
    """The closing lines: what was made, what to type now, how to make it again."""
    show(f"Created {printable(target)} ({len(made.files)} files)")
    for warning in [*warnings, *([made.uncommitted] if made.uncommitted else [])]:
        show(f"note: {warning}")
    if settings.get("quiet"):
        return
    package = answers["package_name"]
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
    from scaffold.errors import did_you_mean

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
        click.echo(f"{len(files)} files. Nothing was written.   One file: --show {answers['package_name']}/train.py")


@program.command()
@click.option("--to", metavar="VERSION", default="", help="Bring it to this version.  [default: the newest]")
@click.option("--check", is_flag=True, help="Say what a newer template brings, change nothing.")
@click.option("--diff", "show_diff", is_flag=True, help="Show the difference, change nothing.")
@click.option("--test", is_flag=True, help="Run the project's quick tests afterwards.")
@click.option("--trust", metavar="ADDRESS", default="", help="Take templates from this address, now and later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before applying it.")
def update(to: str, check: bool, show_diff: bool, test: bool, trust: str, yes: bool) -> None:
    """Bring a project up to a newer template, with your edits kept.

    \b
      scaffold update --check       what is new
      scaffold update --diff        what it would change
      scaffold update               merges it, and commits
    """
    from pathlib import Path

    from scaffold.updates import merge as updates

    with updates.opened(Path.cwd(), trust=trust, must_be_clean=not (check or show_diff)) as work:
        before, version = work.recorded.version, updates.wanted(work, to)
        tell_of(work)
        if version == before:
            show(f"The project is at {before}, and the template has nothing newer.")
            return
        for release, lines in work.history.news(before, version):
            click.echo(f"{before} -> {release}")
            for line in lines:
                click.echo(f"  {printable(line)}")
        if check:
            return
        merged = updates.update(work, version)
        if show_diff:
            click.echo(updates.diff(work, merged))
            return
        apply(work, merged, yes=yes)
    show(f"Updated to {version}, your edits kept.   Review: git show   Undo: git revert HEAD")
    if test:
        from scaffold.health.check import quick_tests

        quick_tests(work.project)


@program.command(cls=AnswersCommand)
@click.option("--diff", "show_diff", is_flag=True, help="Show the difference, change nothing.")
@click.option("--trust", metavar="ADDRESS", default="", help="Take templates from this address, now and later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before applying it.")
def change(show_diff: bool, trust: str, yes: bool, **flags: Any) -> None:
    """Give a project other answers, with your edits kept.

    \b
      scaffold change --scheduler step
      scaffold change --distributed fsdp --diff
      scaffold change                      asks
    """
    from pathlib import Path

    from scaffold.updates import merge as updates

    with updates.opened(Path.cwd(), trust=trust, must_be_clean=not show_diff) as work:
        tell_of(work)
        named = any(value not in (None, ()) for value in flags.values())
        merged = updates.change(work, flags) if named else ask_again(work)
        if merged.is_nothing:
            show("The project has these answers already.")
            return
        if show_diff:
            click.echo(updates.diff(work, merged))
            return
        apply(work, merged, yes=yes)
    show("Changed, your edits kept.   Review: git show   Undo: git revert HEAD")


@program.command()
@click.option(
    "--python", metavar="FILE", default="", help="The project's Python.  [default: .venv, else the active one]"
)
@click.option("--json", "as_json", is_flag=True, help="Tell it as JSON.")
def check(python: str, as_json: bool) -> None:
    """Say whether a project is healthy, and what to type where it is not.

    \b
      scaffold check       in the project's folder
    """
    from dataclasses import asdict
    from pathlib import Path

    from scaffold.health.check import check as look

    findings = look(Path.cwd(), python)
    problems = sum(finding.state == "problem" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    if as_json:
        click.echo(as_json_text({"healthy": not problems, "findings": [asdict(finding) for finding in findings]}))
    else:
        signs = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
        for finding in findings:
            help = f"   ({printable(finding.help)})" if finding.help else ""
            click.echo(f"{finding.part:<8} {signs[finding.state]}  {printable(finding.message)}{help}")
        click.echo(f"{problems} problem{'s' * (problems != 1)}, {notes} note{'s' * (notes != 1)}")
    click.get_current_context().exit(1 if problems else 0)


def ask_again(work: "Work") -> "Merged":
    """What a project becomes by the answers of a conversation in which each is proposed as it is."""
    from scaffold.questions.form import Form
    from scaffold.updates import merge as updates

    if not has_somebody():
        raise BadAnswer(
            "no terminal to ask questions in, and no flag says what to change",
            help="for example   scaffold change --scheduler step",
        )
    from scaffold.conversation.terminal import look
    from scaffold.conversation.wizard import reconsider

    form = Form(work.template)
    screen = look(colour=use_colour(), plain=bool(settings.get("plain")))
    answers = reconsider(form, screen, updates.standing(form, work.recorded.answers))
    return updates.change_to(work, answers, [question.name for question in form.questions.values()])


def tell_of(work: "Work") -> None:
    """What the user should know of a project before anything is done with it."""
    for note in [*work.told, *([work.history.warning] if work.history.warning else [])]:
        show(f"note: {printable(note)}")


def has_somebody() -> bool:
    """Whether there is a person to ask."""
    unwanted = settings.get("no_input") or os.environ.get("CI")
    return not unwanted and sys.stdin.isatty() and sys.stderr.isatty()


def apply(work: "Work", merged: "Merged", *, yes: bool) -> None:
    """Say what would change, ask where there is somebody to ask, and do it."""
    from scaffold.updates import merge as updates

    for line in updates.summary(merged):
        show(printable(line))
    while has_somebody() and not yes:
        answer = click.prompt("Apply? (Y/n/d=diff)", default="y", show_default=False, err=True).strip().lower()
        if answer == "d":
            click.echo(updates.diff(work, merged, colour=use_colour()), color=True)
        elif answer in ("y", "yes"):
            break
        else:
            raise Cancelled
    updates.apply(work, merged)


@program.command()
@click.option("--answers", "answers_file", metavar="FILE", help="Try the answers of a file.")
@click.option("--preset", metavar="NAME", help="Try the answers of a preset (scaffold list presets).")
@click.option("--pairs", is_flag=True, help="Try every pair of answers that goes together.  [default]")
@click.option("--triples", is_flag=True, help="Try every three answers that go together.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, metavar="N", help="So many at a time.")
@click.option("--train", type=click.IntRange(0), default=12, show_default=True, metavar="N", help="Train so many.")
@click.option("--template", metavar="DIR", help="The template in DIR, such as a fork's checkout.")
def smoke(
    answers_file: str | None,
    preset: str | None,
    pairs: bool,
    triples: bool,
    jobs: int,
    train: int,
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

    if pairs and triples:
        raise BadAnswer("--pairs and --triples are two sets of answers", at="--triples", help="give one of them")
    if (pairs or triples) and (answers_file or preset):
        flag = "--triples" if triples else "--pairs"
        raise BadAnswer(f"{flag} makes its own answers", at=flag, help="leave out --answers and --preset")
    root = Path(template).absolute() if template else template_root()
    say: Callable[[str], None] = (lambda _: None) if settings.get("quiet") else show
    cases, idle = trials.run(root, answers_file, preset, say, jobs=jobs, train=train, size=3 if triples else 2)
    click.echo(trials.table(cases))
    bad = [line for line in (trials.failures(cases), *idle) if line]
    click.echo("\n" + "\n\n".join(bad) if bad else f"\nall {len(cases)} projects are fine")
    click.get_current_context().exit(1 if bad else 0)


@program.command("list")
@click.argument("what", required=False, metavar="[tasks|losses|models|presets|groups MODEL|options]")
@click.argument("model", required=False, metavar="")
@click.option("--json", "as_json", is_flag=True, help="Tell it as JSON.")
def list_(what: str | None, model: str | None, as_json: bool) -> None:
    """Show what there is: tasks, losses, models, presets, the groups of a model, options.

    \b
      scaffold list options
      scaffold list groups resnet18
    """
    from scaffold.commands import list as listing
    from scaffold.errors import did_you_mean

    kinds = {
        "tasks": listing.tasks,
        "losses": listing.losses,
        "models": listing.models,
        "presets": listing.presets,
        "options": listing.options,
    }
    if what == "groups":
        table = listing.groups(model)
    elif model is not None:
        raise BadAnswer(f"one word too many: '{model}'", help=f"scaffold list {what}")
    elif what is None:
        for title, rows in kinds.items():
            if not as_json:
                click.echo(f"{title.upper()}\n{listing.as_text(rows())}\n")
        if as_json:
            click.echo(as_json_text({title: rows() for title, rows in kinds.items()}))
        return
    elif what in kinds:
        table = kinds[what]()
    else:
        known = [*kinds, "groups"]
        raise BadAnswer(
            f"there is no list of '{what}'" + did_you_mean(what, known), help=f"there is   {', '.join(known)}"
        )
    click.echo(as_json_text(table) if as_json else listing.as_text(table))
