"""Layer groups with learning-rate multipliers: `backbone=0.1 head=1` to lists of layers, and back.

A group is NAME=MULT or NAME:PATH+PATH=MULT. NAME is `rest`, a name the model gives (backbone, head, layer4) or a path.
The most specific path wins, whatever the order; what nobody names is `rest`, at 1.

These are the rules, in Python. That every layer is in one group, and the like, is checked once more in
template/macros/groups.jinja, since Copier alone makes projects too and runs no code of ours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from scaffold.errors import BadAnswer, did_you_mean
from scaffold.questions.numbers import number, read_number
from scaffold.system.shell import join

# What is known of a model: {"layers": {path: parameters}, "blocks": {...}, "groups": {name: [path, ...]}, ...}
Model = dict[str, Any]
Group = dict[str, Any]

_ALIASES = {"classifier": "head"}


@dataclass(frozen=True)
class _Word:
    """One group as typed: its name, the names or paths it takes, its multiplier."""

    text: str
    name: str
    takes: list[str]
    lr: float


def read_groups(value: Any, model_name: str, model: Model | None, has_head: bool) -> Any:
    """Groups as typed (a line, or a list of such) as the list that is recorded; any other value as it is."""
    typed = [value] if isinstance(value, str) and not value.lstrip().startswith("[") else value
    if not isinstance(typed, list | tuple) or not typed or not all(isinstance(line, str) for line in typed):
        return value
    words = _read_words([word for line in typed for word in line.split()], _aliases(model))
    if not words:
        raise BadAnswer("no group is named", help="for example   --group backbone=0.1 --group head=1")
    groups = _own_groups(words) if model is None else _resolve(words, model_name, model, has_head)
    if not any(group["lr"] > 0 for group in groups):
        raise BadAnswer("every group is frozen; nothing would learn", help="give one a multiplier above 0")
    return groups


def write_groups(groups: Sequence[Group], model_name: str, model: Model | None, has_head: bool) -> list[str]:
    """Groups as one would type them, the shortest way that is read back as the same."""
    short = [f"{group['name']}={_write_multiplier(group['lr'])}" for group in groups]
    long = [f"{group['name']}:{'+'.join(group['layers'])}={_write_multiplier(group['lr'])}" for group in groups]
    mixed = [
        brief if _means(group["name"], group["layers"], model_name, model, has_head) else full
        for group, brief, full in zip(groups, short, long, strict=True)
    ]
    rest_goes_without_saying = groups[-1]["name"] == "rest" and groups[-1]["lr"] == 1.0
    for words in (short, mixed, long):
        for candidate in ([words[:-1]] if rest_goes_without_saying else []) + [words]:
            try:
                if candidate and read_groups(candidate, model_name, model, has_head) == list(groups):
                    return candidate
            except BadAnswer:
                continue
    return long


def read_skip(value: Any, model_name: str, model: Model | None, has_head: bool) -> Any:
    """Layers as typed (`head`, `layer4 fc`) as their paths; `none` alone is none of them."""
    typed = value.split() if isinstance(value, str) and not value.lstrip().startswith("[") else value
    if not isinstance(typed, list | tuple) or not all(isinstance(name, str) for name in typed):
        return value
    names = [name for line in typed for name in line.split()]
    if names == ["none"]:
        return []
    paths = [path for name in names for path in _paths_of(name, model_name, model, has_head)]
    return list(dict.fromkeys(paths))


def names_of(model: Model | None, has_head: bool) -> list[str]:
    """Every name that a group may have or take: those the model gives, its layers, their blocks, and rest."""
    if model is None:
        return ["rest"]
    gone = [] if has_head else _in_head(model)
    names = [name for name, paths in model["groups"].items() if not set(paths) <= set(gone)]
    names += [path for path in [*model["layers"], *model["blocks"]] if path not in gone]
    if has_head:
        names += list(_aliases(model))
    return [*dict.fromkeys(names), "rest"]


def parameters_of(paths: Sequence[str], model: Model) -> int:
    """How many parameters these layers have together."""
    return sum(model["layers"].get(path) or model["blocks"].get(path, 0) for path in paths)


def _aliases(model: Model | None) -> dict[str, str]:
    """Other words for names that the model gives; a layer of the model that is called so goes before."""
    return {} if model is None else {alias: name for alias, name in _ALIASES.items() if alias not in model["layers"]}


def _in_head(model: Model) -> list[str]:
    """The layers of the head, and the blocks in them."""
    head: list[str] = model["groups"].get("head", [])  # a file of weights may have none that is recognised
    return [*head, *(block for block in model["blocks"] if any(_inside(block, layer) for layer in head))]


def _read_words(texts: list[str], aliases: dict[str, str]) -> list[_Word]:
    words: list[_Word] = []
    for text in texts:
        head, equals, multiplier = text.rpartition("=") if "=" in text else (text, "", "")
        name, colon, paths = head.partition(":")
        if not equals or not name or (colon and not paths):
            raise BadAnswer(
                f"'{text}' is not a group; write NAME=MULT, as in {name or 'backbone'}=0.1",
                help="for example   --group backbone=0.1 --group head=1",
            )
        name = aliases.get(name, name) if not colon else name
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,49}", name):
            raise BadAnswer(
                f"the group name '{name}' is not made of letters, digits, dots and underscores",
                help=f"one --group for each, as in   {_typed(text.split(',')[0])}"
                if "," in text
                else "for example   --group early:conv1+bn1=0.01",
            )
        word = _Word(text, name, paths.split("+") if colon else [name], _read_multiplier(text, head, multiplier))
        for other in words:
            if other.name == name:
                raise BadAnswer(
                    f"group '{name}' is given twice: {other.text} and {text}",
                    help=f"keep one, for example   {_typed(text)}",
                )
        words.append(word)
    return sorted(words, key=lambda word: word.text.startswith("rest="))


def _typed(text: str) -> str:
    """A group as a flag, quoted for a shell: what an answers file says is no command."""
    return join(["--group", text])


def _read_multiplier(text: str, head: str, multiplier: str) -> float:
    if multiplier == "freeze":
        return 0.0
    value = read_number(multiplier)
    if value is None:
        raise BadAnswer(
            f"the multiplier in '{text}' is not a number",
            help=f"a number from 0, or freeze:   {_typed(head + '=0.1')}",
        )
    if value < 0:
        raise BadAnswer(
            f"the multiplier in '{text}' is negative",
            help=f"0 or freeze stops training these layers:   {_typed(head + '=freeze')}",
        )
    if value >= 1_000_000:
        raise BadAnswer(
            f"the multiplier in '{text}' is not below 1000000", help=f"for example   {_typed(head + '=10')}"
        )
    return value


def _write_multiplier(lr: float) -> str:
    return "freeze" if lr == 0 else number(lr)


def _own_groups(words: list[_Word]) -> list[Group]:
    """The groups of a model whose layers are known only in the project: paths as they are, and the rest."""
    groups: list[Group] = []
    taken: list[tuple[str, _Word]] = []
    for word in words:
        for path in word.takes:
            for other, owner in taken:
                if path == other:
                    raise _twice(path, owner, word)
                if f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."):
                    inner, outer = sorted((path, other), key=len, reverse=True)
                    raise BadAnswer(
                        f"'{inner}' lies inside '{outer}', and the layers of your own model are not known here",
                        help=f"name the other layers of {outer} one by one",
                    )
            taken.append((path, word))
        groups.append({"name": word.name, "layers": word.takes, "lr": word.lr})
    if "rest" not in [path for path, _ in taken]:
        groups.append({"name": "rest", "layers": ["rest"], "lr": 1.0})
    return groups


# What a group claims: how exactly (a longer path is more exact, and a name of fewer layers), which group, which path.
_Claim = tuple[tuple[int, int], _Word, str]
# Who has the smallest pieces that a group can take, and by which path; none for what is left over.
_Owners = dict[str, tuple[_Word, str] | None]


def _resolve(words: list[_Word], model_name: str, model: Model, has_head: bool) -> list[Group]:
    """Give every layer to the group that names it most exactly."""
    gone = [] if has_head else _in_head(model)
    layers = [layer for layer in model["layers"] if layer not in gone]
    names = [name for layer in layers for name in (layer, *(b for b in model["blocks"] if _inside(b, layer)))]
    outer = {outer for name in names for outer in _around(name)[:-1]}
    claims = _claims(words, model_name, model, has_head)
    owners = _owners([name for name in names if name not in outer], claims)
    rest = _whole(names, owners, [piece for piece in owners if owners[piece] is None])
    groups: list[Group] = []
    for word in words:
        paths = rest if word.takes == ["rest"] else _won(word, claims, owners, names)
        if not paths:
            raise BadAnswer(
                f"group '{word.name}' would train nothing: the other groups name all of its layers",
                help=f"leave it out:   {' '.join(_typed(other.text) for other in words if other is not word)}",
            )
        groups.append({"name": word.name, "layers": paths, "lr": word.lr})
    if rest and "rest" not in [name for word in words for name in word.takes]:
        if "rest" in [word.name for word in words]:
            raise BadAnswer(
                f"no group holds {', '.join(rest)}, and the name rest is taken", help="call your group otherwise"
            )
        groups.append({"name": "rest", "layers": rest, "lr": 1.0})
    return groups


def _claims(words: list[_Word], model_name: str, model: Model, has_head: bool) -> list[_Claim]:
    """What each group names, but for the rest."""
    takers_of_rest = [word for word in words if "rest" in word.takes]
    if len(takers_of_rest) > 1:
        raise _twice("rest", *takers_of_rest[:2])
    claims: list[_Claim] = []
    for word in words:
        seen: list[str] = []
        for name in word.takes if word.takes != ["rest"] else []:
            if name == "rest":
                raise BadAnswer(f"'rest' stands alone, and '{word.text}' has more", help=_typed(f"{word.name}:rest=1"))
            paths = _paths_of(name, model_name, model, has_head)
            for path in paths:
                if path in seen:
                    raise BadAnswer(f"'{path}' is twice in group '{word.text}'", help="keep one")
                seen.append(path)
                claims.append(((path.count("."), -len(paths)), word, path))
    return claims


def _owners(pieces: list[str], claims: list[_Claim]) -> _Owners:
    """Who has each piece: whoever claims it most exactly, alone."""
    owners: _Owners = {}
    for piece in pieces:
        rivals = sorted(
            (claim for claim in claims if _inside(piece, claim[2])), key=lambda claim: claim[0], reverse=True
        )
        if len(rivals) > 1 and rivals[0][0] == rivals[1][0] and rivals[0][1] is not rivals[1][1]:
            raise _twice(rivals[0][2], rivals[0][1], rivals[1][1])
        owners[piece] = rivals[0][1:] if rivals else None
    return owners


def _won(word: _Word, claims: list[_Claim], owners: _Owners, names: list[str]) -> list[str]:
    """What a group has of what it claims: whole paths where nobody else has a piece of them."""
    paths: list[str] = []
    for _, claimant, path in claims:
        if claimant is word:
            won = [piece for piece in owners if owners[piece] == (word, path)]
            paths += _whole([name for name in names if _inside(name, path)], owners, won)
    return paths


def _whole(names: list[str], pieces: _Owners, wanted: list[str]) -> list[str]:
    """These pieces, by the name of what holds them where all of its pieces are among them."""
    split = {outer for piece in {*pieces}.difference(wanted) for outer in _around(piece)}
    held = {outer for piece in wanted for outer in _around(piece)} - split
    return [name for name in names if name in held and not held & {*names}.intersection(_around(name)[:-1])]


def _around(path: str) -> list[str]:
    """The layers that a path lies in, from the outermost, and itself."""
    return [*accumulate(path.split("."), lambda outer, inner: f"{outer}.{inner}")]


def _paths_of(name: str, model_name: str, model: Model | None, has_head: bool) -> list[str]:
    """The layers that a name stands for."""
    if model is None:
        return [name]
    alias = _aliases(model).get(name, name)
    gone = [] if has_head else _in_head(model)
    if alias == "head" and not has_head:
        raise BadAnswer(
            "this project has no head: none of its losses takes what a head gives",
            help="name other layers, or add such a loss   (scaffold list losses)",
        )
    if alias in model["groups"]:
        return [path for path in model["groups"][alias] if path not in gone]
    if alias in {**model["layers"], **model["blocks"]} and alias not in gone:
        return [alias]
    known = names_of(model, has_head)
    hint = did_you_mean(name, known)
    raise BadAnswer(
        f"no layer of {model_name} starts with '{name}'{hint}",
        help=f"what there is:   scaffold list groups {model_name}",
    )


def _inside(path: str, outer: str) -> bool:
    return f"{path}.".startswith(f"{outer}.")


def _means(name: str, paths: list[str], model_name: str, model: Model | None, has_head: bool) -> bool:
    """Whether a name alone takes exactly these layers."""
    try:
        return _paths_of(name, model_name, model, has_head) == paths
    except BadAnswer:
        return False


def _twice(path: str, first: _Word, second: _Word) -> BadAnswer:
    left = [other for other in second.takes if other != path]
    help = _typed(f"{second.name}:{'+'.join(left)}={_write_multiplier(second.lr)}" if left else first.text)
    return BadAnswer(
        f"'{path}' is in two groups: {first.text} and {second.text}", help=f"take it out of one, for example   {help}"
    )
