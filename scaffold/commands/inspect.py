"""`scaffold inspect`: what a model is made of, and how layer groups would divide it."""

from typing import Any

import click

from scaffold.commands.program import json_option, program
from scaffold.conversation.output import as_json_text
from scaffold.errors import BadAnswer


@program.command()
@click.argument("target")
@click.option("--group", "groups", multiple=True, metavar="NAME=MULT", help="Try a layer group (can be repeated).")
@click.option("--lr", type=float, default=None, metavar="X", help="The learning rate that groups multiply.")
@click.option("--depth", type=click.IntRange(1), default=None, metavar="N", help="How deep layers are shown.")
@click.option("--kw", "words", multiple=True, metavar="NAME=JSON", help="An argument of the class (can be repeated).")
@click.option("--seconds", type=click.FloatRange(1), default=60, metavar="N", help="The most time.  [default: 60]")
@click.option(
    "--python", metavar="FILE", default="", help="The Python with torch.  [default: .venv, else the active one]"
)
@json_option()
def inspect(
    target: str,
    groups: tuple[str, ...],
    lr: float | None,
    depth: int | None,
    words: tuple[str, ...],
    seconds: float,
    python: str,
    as_json: bool,
) -> None:
    """Show the layers of a model, with their parameters, and try layer groups out.

    \b
      scaffold inspect resnet50
      scaffold inspect timm:convnext_atto --group backbone=0.1 --group head=1
      scaffold inspect my_models/net.py:Net --kw num_classes=10
      scaffold inspect weights.safetensors
      scaffold inspect run/1
    """
    from scaffold import paths
    from scaffold.layers import report
    from scaffold.layers.target import look
    from scaffold.questions import layer_groups
    from scaffold.questions.form import Form

    model = look(Form(paths.template_root()), target, python, arguments(words), seconds)
    facts = model.facts()
    tried: list[dict[str, Any]] = model.groups
    if groups:
        try:
            tried = layer_groups.read_groups(list(groups), model.title, facts, has_head=bool(model.head))
        except BadAnswer as error:
            error.help = error.help.replace("scaffold list groups", "scaffold inspect --depth 9")
            raise
    rate = model.lr if lr is None else lr
    if as_json:
        click.echo(as_json_text(report.as_data(model, tried, rate)))
    else:
        few = len({name.split(".")[0] for name in model.parameters}) < 4
        click.echo(report.as_text(model, tried, rate, depth or (3 if few else 2)))


def arguments(words: tuple[str, ...]) -> dict[str, Any]:
    """`num_classes=10` as an argument; what is no JSON is a text."""
    import json

    given: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise BadAnswer(f"'{word}' is not NAME=JSON", at="--kw", help="for example   --kw num_classes=10")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given
