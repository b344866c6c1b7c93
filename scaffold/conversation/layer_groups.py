"""Layer groups are asked as one line, with a table of what it means."""

from collections.abc import Mapping
from typing import Any

from scaffold.conversation.talk import Talk, problem_of, proposed
from scaffold.errors import BadAnswer
from scaffold.questions import layer_groups as layers
from scaffold.questions.answer_types import GROUPS_FROM, LAYER_GROUPS, MODEL
from scaffold.questions.answer_types.own_class import OWN
from scaffold.questions.copier_yml import Question
from scaffold.questions.numbers import number, short_count


def ask_groups(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    """The groups as one line, with the table of what it means below."""
    model_name, model, has_head = MODEL.known(context)
    default = proposed(talk, question, context)
    if default == talk.before.get(question.name):
        line = " ".join(layers.write_groups(default, model_name, model, has_head))
    else:
        line = "rest=1" if model is None else "backbone=0.1 head=1" if has_head else "backbone=1"
    problem = problem_of(talk, question, context)

    def below(line: str) -> str:
        try:
            groups = talk.form.check(question, line, context)
        except BadAnswer as error:
            return f" {talk.screen.signs.wrong} {error.message}"
        return "\n".join([*group_table(groups, model), " tab completes layers · enter accepts · shift-tab back"])

    if talk.screen.plain and model:
        groups = layers.read_groups(line, model_name, model, has_head)
        talk.screen.say("\n" + "\n".join(group_table(groups, model)))
    return talk.prompts.text(
        talk.screen, "Layer groups:", line, problem, words=lambda _: layers.names_of(model, has_head), below=below
    )


def group_table(groups: list[dict[str, Any]], model: layers.Model | None) -> list[str]:
    """One line for each group: its name, multiplier, parameters, share and layers."""
    sizes = [layers.parameters_of(group["layers"], model) if model else 0 for group in groups]
    width = max(len(group["name"]) for group in groups)
    lines = []
    for group, size in zip(groups, sizes, strict=True):
        multiplier = "freeze" if group["lr"] == 0 else f"×{number(group['lr'])}"
        share = f"  {short_count(size):>7}  {100 * size / sum(sizes):5.1f} %" if model else ""
        lines.append(f" {group['name']:<{width}}  {multiplier:<6}{share}  {', '.join(group['layers'])}")
    return lines


def outcome(talk: Talk, question: Question, value: Any, context: Mapping[str, Any]) -> str:
    """What a strategy for the layers makes of this model."""
    if question.kind is not GROUPS_FROM or value == OWN:
        return ""
    try:
        groups = LAYER_GROUPS.of(talk.form.fill({**context, GROUPS_FROM.name: value}, talk.name))
    except BadAnswer:
        return ""
    model = MODEL.known(context)[1]
    return "  ".join(_group_line(group, model) for group in groups)


def _group_line(group: Mapping[str, Any], model: layers.Model | None) -> str:
    size = f" ({short_count(layers.parameters_of(group['layers'], model))})" if model else ""
    return f"{group['name']} ×{number(group['lr'])}{size}"
