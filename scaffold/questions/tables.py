"""What there is to choose from, as tables: rows of named columns."""

import re

from scaffold import paths
from scaffold.errors import BadAnswer, did_you_mean
from scaffold.questions.answer_types import LOSSES, MODEL, TASK
from scaffold.questions.form import Form
from scaffold.questions.layer_groups import parameters_of
from scaffold.questions.numbers import short_count

Table = list[dict[str, str]]


def tasks() -> Table:
    """What can be learned, each with its losses, its default first."""
    form = Form(paths.template_root())
    return [
        {
            "name": str(choice),
            "losses": " ".join(LOSSES.fitting(form, LOSSES.before(form, choice))),
            "about": label.partition(" - ")[2],
        }
        for label, choice in form.questions[TASK.name].choices.items()
    ]


def losses() -> Table:
    """The losses, with what they take and the tasks that they go with."""
    having = {row["name"]: row["losses"].split() for row in tasks()}
    return [
        {
            "name": name,
            "takes": facts.get("takes", ""),
            "tasks": " ".join(task for task, names in having.items() if name in names),
        }
        for name, facts in Form(paths.template_root()).facts_of(LOSSES.name).items()
    ]


def models() -> Table:
    """The models of the catalogue, those of libraries by name, and one's own."""
    rows, form = [], Form(paths.template_root())
    known, question = form.facts_of(MODEL.name), form.questions[MODEL.name]
    for label, name in zip(question.choices, map(str, question.values), strict=True):
        about = label.partition(" - ")[2]
        if name in MODEL.names and MODEL.names[name].known():
            for model, count in MODEL.names[name].known().items():
                rows.append({"name": model, "parameters": short_count(count), "about": f"{name}'s"})
            continue
        size = short_count(sum(known[name]["layers"].values())) if known[name]["layers"] else ""
        rows.append({"name": MODEL.typed([name])[0], "parameters": size, "about": about})
    return rows


def presets() -> Table:
    """The sets of answers that come along."""
    return [{"name": name, "about": about(name)} for name in paths.presets()]


def about(preset: str) -> str:
    """What a preset is for: the comment on its first line."""
    with paths.presets()[preset].open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def options() -> Table:
    """Every question, with its flag, its choices (or how its answers are written) and its default."""
    form = Form(paths.template_root())
    rows = []
    for question in form.questions.values():
        if not question.is_fact and question.kind.has_flag:
            default = "" if re.search(r"{[{%]", str(question.default)) else str(question.default)
            choices = " ".join(str(value) for value in question.values) or question.kind.how_to_type(form)
            if question.type == "bool":
                default, choices = ("yes" if question.default else "no"), "yes no"
            rows.append({"flag": question.flag, "choices": choices, "default": default, "about": question.about})
    return rows


def groups(model: str | None) -> Table:
    """The names that layer groups of a model can have."""
    form = Form(paths.template_root())
    known = MODEL.catalogue(form)
    if model and ":" in model:  # of timm, or one's own
        raise BadAnswer(f"the catalogue has no layers of '{model}'", help=f"scaffold inspect {model}   (its layers)")
    if model not in known:
        raise BadAnswer(
            f"the catalogue has no model '{model}'" + did_you_mean(model, known)
            if model
            else "the groups of which model?",
            help=f"scaffold list groups {known[0]}   (what there is: scaffold list models)",
        )
    entry = MODEL.facts_for(form, model)
    rows = [
        {
            "name": name,
            "layers": " ".join(paths_),
            "parameters": short_count(parameters_of(paths_, entry)),
        }
        for name, paths_ in entry["groups"].items()
    ]
    rows += [
        {"name": name, "layers": "(itself)", "parameters": short_count(size)}
        for name, size in {**entry["layers"], **entry["blocks"]}.items()
        if name not in entry["groups"]
    ]
    rows.append({"name": "classifier", "layers": "another name for head", "parameters": ""})
    rows.append({"name": "rest", "layers": "whatever no other group names", "parameters": ""})
    return rows


def as_text(table: Table) -> str:
    """A table in columns; a list of options, whose rows are long, line by line."""
    columns = list(table[0])
    if "flag" in columns:
        return _options_as_text(table)
    widths = {column: max(len(column), *(len(row[column]) for row in table)) for column in columns}
    lines = [dict(zip(columns, [column.upper() for column in columns], strict=True)), *table]
    return "\n".join("  ".join(line[column].ljust(widths[column]) for column in columns).rstrip() for line in lines)


def _options_as_text(table: Table) -> str:
    """Two lines for each option: what it asks, and what can be said, the default in brackets."""
    width = max(len(row["flag"]) for row in table) + 2
    lines = []
    for row in table:
        lines.append(f"{row['flag']:<{width}}{row['about']}")
        said = [f"[{word}]" if word == row["default"] else word for word in row["choices"].split()]
        if said or row["default"]:
            lines.append(" " * width + (" ".join(said) or f"[{row['default']}]"))
    return "\n".join(lines)
