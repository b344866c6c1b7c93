"""Which values of each question are tried, and what they may leave in a project."""

from pathlib import Path
from typing import Any

from scaffold.errors import CreateFailed
from scaffold.questions.answer_types import LOSSES, MODEL, TASK
from scaffold.questions.form import Form


def facts(template: Path) -> dict[str, Any]:
    """What a template says of trying it: values of free questions, and words that only one choice may leave."""
    import yaml

    path = template / "template" / "smoke.yml"
    found = {"values": {}, "traces": {}, **(yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {})}
    form = Form(template)
    if LOSSES.have_facts(form):
        found["values"][LOSSES.name] = losses_to_try(form)
        for question in (TASK, LOSSES, MODEL):
            known = form.facts_of(question.name)
            found["traces"][question.name] = {name: one["traces"] for name, one in known.items() if "traces" in one}
    return found


def losses_to_try(form: Form) -> list[list[dict[str, Any]]]:
    """Every loss, alone or with another, and for each task some together: one of each kind that it takes, or, where all
    are of one kind, the last two, which then need not come alone."""
    tried: dict[tuple[str, ...], list[dict[str, Any]]] = {}

    def add(*names: str) -> None:
        weights = (1.0, 0.5) if len(names) > 1 else (1.0 + len(tried) % 2,)
        some = [{"name": name, "weight": weight} for name, weight in zip(names, weights, strict=True)]
        tried.setdefault(tuple(sorted(names)), some)

    for task in form.questions[TASK.name].values:
        if not form.is_due(form.questions[LOSSES.name], LOSSES.before(form, task)):
            continue  # its loss follows from its model
        fitting, known = LOSSES.fitting(form, LOSSES.before(form, task)), LOSSES.facts_for(form, task)
        kinds = [[name for name in fitting if known[name]["takes"] == kind] for kind in TASK.facts(form)[task]["takes"]]
        together = list(zip(*kinds, strict=False)) if len(kinds) > 1 else [fitting[-2:]]
        for name in fitting if len(kinds) > 1 else fitting[:-2]:
            add(name)
        for names in together:
            add(*names[:2])
    return list(tried.values())


def tried_values(form: Form, free: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The values to try of each question: all its choices, or those given for a free one."""
    tried: dict[str, list[Any]] = {}
    for question in form.questions.values():
        if question.is_fact or question.ask is False:
            continue
        tried[question.name] = (
            question.values or ([False, True] if question.type == "bool" else None) or free.get(question.name, [])
        )
        if not tried[question.name]:
            raise CreateFailed(
                f"nobody says which values of the question '{question.name}' are worth trying",
                at="template/smoke.yml",
                help=f"name two or three there, under values:   {question.name}: [...]",
            )
    return tried


def families(form: Form, tried: dict[str, list[Any]]) -> dict[tuple[str, int], tuple[str, int]]:
    """Each value that belongs to a family, by its question and place, with the first of it: they go with the same other
    answers, and their projects differ in a name. Models have a family in their facts; those of a library are one."""
    models = tried.get(MODEL.name, [])
    first: dict[str, int] = {}
    known = form.facts_of(MODEL.name) if models and MODEL.have_facts(form) else {}
    found: dict[tuple[str, int], tuple[str, int]] = {}
    for place, model in enumerate(models):
        family = known.get(model, {}).get("family", model)
        found[MODEL.name, place] = (MODEL.name, first.setdefault(family, place))
    for library in MODEL.names.values():
        found |= {(library.name, place): (library.name, 0) for place in range(len(tried.get(library.name, [])))}
    return found
