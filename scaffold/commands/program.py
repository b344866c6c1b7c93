"""The program that the commands add themselves to, with the options that go with every command."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from scaffold import __version__
from scaffold.conversation.output import has_somebody, settings, show
from scaffold.errors import BadAnswer, printable

Command = TypeVar("Command", bound="Callable[..., Any] | click.Command")

EXIT_CODES = """\b
Exit codes: 0 done · 1 a check or a render failed · 2 wrong usage or answer ·
3 refused to touch files that are not ours, or conflicts to solve · 4 a needed program is missing · 130 cancelled"""


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        settings["typed"] = list(args)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # nobody reads on, as in `scaffold list | head`: the end that other programs have
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + 13


def json_option() -> Callable[[Command], Command]:
    """`--json`, for a command that tells a result."""
    return click.option("--json", "as_json", is_flag=True, help="Tell the result as JSON, also what went wrong.")


def typed() -> list[str]:
    """The command that was typed, with its words; what goes before its name is left out."""
    return list(settings["typed"])


@click.group(cls=Program, params=general_options(hidden=False), epilog=EXIT_CODES, invoke_without_command=True)
@click.option("-C", "folder", metavar="DIR", is_eager=True, expose_value=False, callback=_enter, help="Work in DIR.")
@click.version_option(__version__, prog_name="torch-scaffold")
@click.pass_context
def program(context: click.Context) -> None:
    """Answer a few questions, own a PyTorch training project."""
    from scaffold.updates.bundle import place_bundle

    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadAnswer("the folder you are in is gone", help='one that is there   cd "$HOME"') from None
    said = place_bundle()
    if said:
        show(f"note: {printable(said)}")
    if context.invoked_subcommand is None:
        if not has_somebody():
            click.echo(context.get_help())
            return
        show("Hello! This makes a PyTorch training project of your own.\nAll commands: scaffold --help")
        context.invoke(program.commands["new"])
