"""What `update` and `change` have in common: what there is to know of a project, and the yes before it is changed."""

from typing import TYPE_CHECKING

import click

from scaffold.conversation.output import has_somebody, show, use_colour
from scaffold.errors import Cancelled, printable

if TYPE_CHECKING:
    from scaffold.updates.merged import Merged
    from scaffold.updates.work import Work


def tell_of(work: "Work") -> None:
    """What the user should know of a project before anything is done with it."""
    for note in [*work.told, *([work.history.warning] if work.history.warning else [])]:
        show(f"note: {printable(note)}")


def apply(work: "Work", merged: "Merged", *, yes: bool) -> None:
    """Say what would change, ask where there is somebody to ask, and do it."""
    from scaffold.updates import apply as last
    from scaffold.updates.summary import diff, summary

    for line in summary(merged):
        show(printable(line))
    while has_somebody() and not yes:
        answer = click.prompt("Apply? (Y/n/d=diff)", default="y", show_default=False, err=True).strip().lower()
        if answer == "d":
            click.echo(diff(work, merged, colour=use_colour()), color=True)
        elif answer in ("y", "yes"):
            break
        else:
            raise Cancelled
    last.apply(work, merged)
