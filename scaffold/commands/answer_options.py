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
    from scaffold.questions.copier_yml import read

    options = []
    for question in read(template_root())[1].values():
        if question.is_fact or not question.kind.has_flag:
            continue
        names = [question.flag, question.name]
        if question.type == "bool":
            names[0] = f"{question.flag}/--no-{question.flag[2:]}"
            options.append(click.Option(names, default=None, help=question.help))
            continue
        values = [str(value) for value in question.values]
        typed = [word if word in values else word.upper() for word in question.kind.typed(values)]
        repeated = question.type == "yaml"
        options.append(
            click.Option(
                names,
                multiple=repeated,
                default=None,
                metavar=question.kind.metavar
                or "|".join(typed)
                or {"int": "N", "float": "X"}.get(question.type, "TEXT"),
                help=question.about + (" (can be repeated)" if repeated else ""),
            )
        )
    return options
