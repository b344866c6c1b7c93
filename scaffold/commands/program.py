"""The program that the commands add themselves to, with the options that go with every command."""

import os
import sys
from typing import Any

import click

from scaffold import __version__
from scaffold.conversation.output import settings
from scaffold.errors import BadAnswer

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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # nobody reads on, as in `scaffold list | head`: the end that other programs have
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + 13


@click.group(cls=Program, params=general_options(hidden=False), epilog=EXIT_CODES)
@click.option("-C", "folder", metavar="DIR", is_eager=True, expose_value=False, callback=_enter, help="Work in DIR.")
@click.version_option(__version__, prog_name="torch-scaffold")
def program() -> None:
    """Answer a few questions, own a PyTorch training project."""
    from scaffold.updates.bundle import place_bundle

    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadAnswer("the folder you are in is gone", help='one that is there   cd "$HOME"') from None
    place_bundle()
