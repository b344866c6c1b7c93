"""The command line: what is typed goes to a command, and what goes wrong becomes a sentence and an exit code."""

import sys
from collections.abc import Sequence

import click

# each adds itself to the program
from scaffold.commands import change, check, new, smoke, update  # noqa: F401
from scaffold.commands import list as list_  # noqa: F401
from scaffold.commands.program import program
from scaffold.conversation.output import settings, show
from scaffold.errors import BadAnswer, Cancelled, CreateFailed, ScaffoldError

__all__ = ["main", "program"]


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
