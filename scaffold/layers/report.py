"""A model that was inspected, as lines or as data."""

import sys
from collections.abc import Sequence
from typing import Any

from scaffold.errors import printable
from scaffold.layers.model import Inspected
from scaffold.questions.layer_groups import write_groups
from scaffold.questions.numbers import number
from scaffold.system.shell import join

Groups = Sequence[dict[str, Any]]


def as_text(model: Inspected, groups: Groups, lr: float, depth: int) -> str:
    """The tree of layers, what can be guessed, and the groups that are tried."""
    lines = [f"{model.title}: {model.total:,} parameters", ""]
    lines += _table(tree(model, depth), model.total)
    lines += ["", *_guesses(model)]
    lines += [f"tied: {' = '.join(names)}" for names in model.tied]
    lines += [f"note: {note}" for note in model.notes]
    if groups:
        lines += ["", *_groups(model, groups, lr)]
    return "\n".join(printable(line) for line in lines)


def as_data(model: Inspected, groups: Groups, lr: float) -> dict[str, Any]:
    """The same for a program."""
    facts = model.facts()
    return {
        "target": model.title,
        "parameters": model.total,
        "layers": {path: {"parameters": model.size(path), "type": model.types.get(path, "")} for path in model.pieces},
        "backbone": model.backbone,
        "head": model.head,
        "stages": {name: facts["groups"][name] for name in model.stages},
        "tied": model.tied,
        "arguments": model.arguments,
        "notes": model.notes,
        "groups": [
            {**group, "parameters": _held(model, group["layers"]), "rate": group["lr"] * lr if lr else None}
            for group in groups
        ],
    }


def tree(model: Inspected, depth: int) -> list[tuple[str, str, int]]:
    """The layers down to a depth: how each is shown in the tree, its type, its parameters."""
    bars = ("│  ", "   ", "├─ ", "└─ ") if _has_lines() else ("|  ", "   ", "|- ", "`- ")
    nested: dict[str, Any] = {}
    for name in model.parameters:
        place = nested
        for part in name.split("."):
            place = place.setdefault(part, {})

    def below(layers: dict[str, Any], path: str, indent: str, left: int) -> list[tuple[str, str, int]]:
        rows = []
        for number_, name in enumerate(layers, start=1):
            inner, here = layers[name], f"{path}{name}"
            while len(inner) == 1 and next(iter(inner.values())):  # layers that only hold another
                (step,) = inner
                name, inner, here = f"{name}.{step}", inner[step], f"{here}.{step}"
            last = number_ == len(layers)
            rows.append((indent + bars[3 if last else 2] + name, model.types.get(here, ""), model.size(here)))
            if left > 1 and any(inner.values()):
                rows += below(inner, f"{here}.", indent + bars[1 if last else 0], left - 1)
        return rows

    return below(nested, "", "", depth)


def _has_lines() -> bool:
    try:
        "├└│".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _table(rows: list[tuple[str, str, int]], total: int) -> list[str]:
    width, kinds = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    return [
        f"{name:<{width}}  {kind:<{kinds}}{'  ' if kinds else ''}{size:>14,}  {100 * size / max(total, 1):5.1f} %"
        for name, kind, size in rows
    ]


def _guesses(model: Inspected) -> list[str]:
    parts = {"backbone": model.backbone, "head": model.head}
    lines = []
    for name, paths in parts.items():
        if paths:
            size = _held(model, paths)
            share = 100 * size / max(model.total, 1)
            lines.append(f"{name:<9} {size:>14,}  {share:5.1f} %  {_short(paths)}")
    width = max((len(name) for name in model.stages), default=0)
    if model.stages:
        lines += ["", "stages"]
    for name, paths in model.stages.items():
        size = _held(model, paths)
        lines.append(f"  {name:<{width}}  {size:>14,}  {100 * size / max(model.total, 1):5.1f} %  {_short(paths)}")
    return lines


def _short(paths: list[str]) -> str:
    return " ".join(paths) if len(paths) <= 3 else f"{paths[0]} ... {paths[-1]}"


def _held(model: Inspected, paths: list[str]) -> int:
    if "rest" in paths:
        return 0
    return sum(model.size(path) for path in paths)


def _groups(model: Inspected, groups: Groups, lr: float) -> list[str]:
    """The groups, with what each holds and how fast it learns; and what to type for them."""
    named = max(5, *(len(group["name"]) for group in groups))
    rate = f"  {'lr':>9}" if lr else ""
    lines = [f"{'group':<{named}}  {'times':>7}{rate}  {'parameters':>14}           layers"]
    for group in groups:
        size = _held(model, group["layers"])
        times = "frozen" if group["lr"] == 0 else number(group["lr"])
        learns = f"  {group['lr'] * lr:>9.3g}" if lr else ""
        share = 100 * size / max(model.total, 1)
        lines.append(
            f"{group['name']:<{named}}  {times:>7}{learns}  {size:>14,}  {share:5.1f} %  {_short(group['layers'])}"
        )
    if not model.groups:
        known = model.facts() if model.in_catalogue else None
        if not known:  # a project knows of no layers of it: what is left over, if anything, is called rest
            others = [one for one in groups if one["name"] != "rest"]
            rest = [one for one in groups if one["name"] == "rest"] or [{"name": "rest", "lr": 1.0}]
            groups = [*others, {**rest[0], "layers": ["rest"]}]
        words = write_groups(groups, model.title, known, has_head=bool(model.head))
        lines += ["", "to have them: " + join([word for text in words for word in ("--group", text)])]
    return lines
