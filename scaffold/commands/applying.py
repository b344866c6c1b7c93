"""What `update` and `change` have in common: what there is to know of a project, and the yes before it is changed."""

from typing import TYPE_CHECKING, Any

import click

from scaffold.commands.program import typed
from scaffold.conversation.output import as_json_text, has_somebody, show, use_colour
from scaffold.errors import BadAnswer, Cancelled, ScaffoldError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from scaffold.updates.merged import Merged
    from scaffold.updates.work import Work


def project_here() -> "Path":
    """The project that the user is in."""
    from pathlib import Path

    from scaffold.system.shell import join
    from scaffold.updates.answers_file import find

    return find(Path.cwd(), join(typed()))


class Told:
    """What is told of a project: in lines, or at the end as JSON."""

    def __init__(self, work: "Work", *, as_json: bool) -> None:
        self.as_json = as_json
        self.notes = [*work.told, *([work.history.warning] if work.history.warning else [])]
        self.result: dict[str, Any] = {"project": str(work.project), "applied": False, "notes": self.notes}
        for note in self.notes:
            show(f"note: {printable(note)}")

    def line(self, text: str) -> None:
        """A line of the result, for people."""
        if not self.as_json:
            click.echo(printable(text))

    def end(self) -> None:
        """The result, for programs."""
        if self.as_json:
            click.echo(as_json_text(self.result))


def bring(told: Told, work: "Work", merged: "Merged", *, yes: bool, only_show: bool) -> bool:
    """Show what would change, or say it, have a yes from who there is to ask, and do it; whether it is done."""
    from scaffold.system.git import asks
    from scaffold.updates.summary import as_data, diff

    told.result |= {**as_data(merged), "notes": [*told.notes, *merged.notes]}
    if only_show:
        text = diff(work, merged)
        told.result["diff"] = text
        if not told.as_json:
            click.echo(text)
        return False
    try:
        apply(work, merged, yes=yes)
    except ScaffoldError as error:
        told.result["applied"] = bool(merged.conflicts) and not error.last_line
        error.result = told.result
        raise
    told.result["applied"] = True
    signs = (asks(work.top, "config", "--type=bool", "--get-all", "commit.gpgSign") or "").split()
    if signs[-2:-1] == ["true"]:  # the last is what our own calls are told
        note = (
            "the commit is not signed, as commit.gpgSign wants it; to sign it   git commit --amend --no-edit --gpg-sign"
        )
        told.result["notes"] += [note]
        show(f"note: {note}")
    return True


def apply(work: "Work", merged: "Merged", *, yes: bool) -> None:
    """Say what would change, have a yes, and do it."""
    from scaffold.system.shell import join
    from scaffold.updates import apply as last
    from scaffold.updates.summary import diff, summary

    for line in summary(merged):
        show(printable(line))
    if not yes and not has_somebody():
        words = join(typed())
        raise BadAnswer(
            "no terminal to ask for a last yes in",
            help=f"to apply it       scaffold {words} --yes\nto look at it     scaffold {words} --diff",
        )
    while not yes:
        answer = click.prompt("Apply? (Y/n/d=diff)", default="y", show_default=False, err=True).strip().lower()
        if answer == "d":
            click.echo(diff(work, merged, colour=use_colour()), color=True)
        elif answer in ("y", "yes"):
            break
        else:
            raise Cancelled
    last.apply(work, merged)
