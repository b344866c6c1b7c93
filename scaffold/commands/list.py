"""`scaffold list`: what there is to choose from."""

import click

from scaffold.commands.program import json_option, program
from scaffold.conversation.output import as_json_text
from scaffold.errors import BadAnswer, did_you_mean


@program.command("list")
@click.argument("what", required=False, metavar="[tasks|losses|models|presets|groups MODEL|options]")
@click.argument("model", required=False, metavar="")
@json_option()
def list_(what: str | None, model: str | None, as_json: bool) -> None:
    """Show what there is: tasks, losses, models, presets, the groups of a model, options.

    \b
      scaffold list options
      scaffold list groups resnet18
    """
    from scaffold.questions import tables

    kinds = {
        "tasks": tables.tasks,
        "losses": tables.losses,
        "models": tables.models,
        "presets": tables.presets,
        "options": tables.options,
    }
    if what == "groups":
        table = tables.groups(model)
    elif model is not None:
        raise BadAnswer(f"one word too many: '{model}'", help=f"scaffold list {what}")
    elif what is None:
        for title, rows in kinds.items():
            if not as_json:
                click.echo(f"{title.upper()}\n{tables.as_text(rows())}\n")
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
    click.echo(as_json_text(table) if as_json else tables.as_text(table))
