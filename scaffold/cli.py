"""The command line: what is typed goes to a command, and what goes wrong becomes a sentence and an exit code."""

import os
import sys
from collections.abc import Sequence

import click

# each adds itself to the program
from scaffold.commands import change, check, inspect, new, smoke, update  # noqa: F401
from scaffold.commands import list as list_  # noqa: F401
from scaffold.commands.program import program
from scaffold.conversation.output import as_json_text, settings, show
from scaffold.errors import BadAnswer, Cancelled, CreateFailed, ScaffoldError

__all__ = ["main", "program"]

# Commands that write nothing in any case: there is no need to say so where one ends with an error.
READ_ONLY = {"check", "inspect", "list", "smoke"}


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    settings.clear()
    _open_streams()
    words = list(sys.argv[1:] if words is None else words)
    try:
        code = program.main(words, prog_name="scaffold", standalone_mode=False)
    except (ScaffoldError, click.UsageError, click.Abort, KeyboardInterrupt, OSError) as wrong:
        error = _as_ours(wrong)
        if READ_ONLY & {*settings.get("typed", [])[:1]}:
            error.last_line = ""
        show(str(error))
        if settings.get("verbose") and error.__cause__:
            import traceback

            traceback.print_exception(error.__cause__)
        if "--json" in words:  # as it was typed: what cannot be read as options is told in JSON as well
            click.echo(as_json_text({**error.result, "error": error.as_data()}))
        code = error.exit_code
    sys.exit(code)


def _open_streams() -> None:
    """Have all three streams, since what is opened next would take the place of one that the caller has closed; and
    let them show a question mark for what a terminal cannot show."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _as_ours(error: BaseException) -> ScaffoldError:
    """What went wrong, with what to type where that is known."""
    if isinstance(error, ScaffoldError):
        return error
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "scaffold"
        return BadAnswer(error.format_message(), help=f"{command} --help")
    if isinstance(error, OSError):  # a disk that is full, a folder that is not ours
        failed = CreateFailed(error.strerror or str(error), at=str(error.filename or ""))
        failed.last_line = ""
        return failed
    return Cancelled()
