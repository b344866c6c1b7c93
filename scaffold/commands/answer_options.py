"""The options by which answers are given on the command line: one for every question of copier.yml."""

import click


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
