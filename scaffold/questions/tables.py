"""What there is to choose from, as tables: rows of named columns."""

import re
from typing import Any

from scaffold import paths
from scaffold.errors import BadAnswer, did_you_mean
from scaffold.questions import layer_groups as layers
from scaffold.questions.form import Form, read

Table = list[dict[str, str]]


def tasks() -> Table:
    """What can be learned, each with its losses, its default first."""
    form = Form(paths.template_root())
    return [
        {
            "name": str(choice),
            "losses": " ".join(form.fill({"task": choice}, "p", until="losses")["fitting_losses"]),
            "about": label.partition(" - ")[2],
        }
        for label, choice in form.questions["task"].choices.items()
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
        for name, facts in Form(paths.template_root()).facts_of("losses").items()
    ]


def models() -> Table:
    """The models of the catalogue, and one's own."""
    rows = []
    for label, choice in read(paths.template_root())[1]["model"].choices.items():
        name, entry = str(choice), _catalogue().get(str(choice))
        size = layers.short_count(sum(entry["layers"].values())) if entry else ""
        rows.append({"name": name, "parameters": size, "about": label.partition(" - ")[2]})
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
    forms = {
        "losses": " ".join(["NAME or NAME=WEIGHT:", *Form(paths.template_root()).facts_of("losses")]),
        "layer_groups": "NAME=MULT or NAME:LAYER+LAYER=MULT (scaffold list groups MODEL)",
        "weights_skip": "LAYER or none",
    }
    rows = []
    for question in read(paths.template_root())[1].values():
        if not question.is_fact and question.name != "model_class":  # it is said by --model
            default = "" if re.search(r"{[{%]", str(question.default)) else str(question.default)
            if question.type == "bool":
                default, forms[question.name] = ("yes" if question.default else "no"), "yes no"
            choices = " ".join(str(value) for value in question.values) or forms.get(question.name, "")
            rows.append({"flag": question.flag, "choices": choices, "default": default, "about": question.about})
    return rows


def groups(model: str | None) -> Table:
    """The names that layer groups of a model can have."""
    catalogue = _catalogue()
    if model not in catalogue:
        raise BadAnswer(
            f"the catalogue has no model '{model}'" + did_you_mean(model, list(catalogue))
            if model
            else "the groups of which model?",
            help=f"scaffold list groups {next(iter(catalogue))}   (there is {', '.join(catalogue)})",
        )
    entry = catalogue[model]
    rows = [
        {
            "name": name,
            "layers": " ".join(paths_),
            "parameters": layers.short_count(layers.parameters_of(paths_, entry)),
        }
        for name, paths_ in entry["groups"].items()
    ]
    rows += [
        {"name": name, "layers": "(itself)", "parameters": layers.short_count(size)}
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


def _catalogue() -> dict[str, Any]:
    """What is known of the models, of all but one's own."""
    known = Form(paths.template_root()).facts_of("model")
    return {name: facts for name, facts in known.items() if facts["layers"]}
