"""What a project says of itself in `.copier-answers.yml`: read as a file that anyone may have edited."""

import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer, Refused
from scaffold.questions.answer_types import PROJECT, type_of
from scaffold.questions.form import Answers, Form
from scaffold.updates.origin import BUNDLE, VERSION, find_origin

NAME = ".copier-answers.yml"
# Addresses of templates that the user said yes to, one a line.
_CONFIRMED = "~/.local/share/torch-scaffold/addresses"
_LARGEST = 64_000


class Tampered(BadAnswer):
    """The answers of a project are not as torch-scaffold wrote them."""

    last_line = "Nothing was changed."

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message, at=NAME, help=help or f"the last good one   git log --oneline -- {NAME}")


@dataclass(frozen=True)
class Recorded:
    """The template's address, its version, and the answers that were given to it."""

    address: str
    version: str
    answers: Answers

    @property
    def origin(self) -> dict[str, str]:
        """The address and version, as they are recorded."""
        return {"_src_path": self.address, "_commit": self.version}


def find(folder: Path) -> Path:
    """The project that a folder is in."""
    folder = folder.absolute()
    for place in (folder, *folder.parents):
        if (place / NAME).is_symlink() or (place / NAME).exists():
            return place
    raise BadAnswer(
        f"{folder} is in no project of torch-scaffold: there is no {NAME}",
        help="go to the project's folder, or name it   scaffold -C FOLDER update",
    )


def read(project: Path) -> Recorded:
    """What is recorded; Tampered where it cannot be what torch-scaffold or Copier wrote."""
    content = _load(_text(project / NAME))
    address, version = content.pop("_src_path", None), content.pop("_commit", None)
    private = [str(name) for name in content if not isinstance(name, str) or name.startswith("_")]
    if private:
        raise Tampered(f"it has a line '{private[0]}', which torch-scaffold does not write")
    if not isinstance(address, str) or not address:
        raise Tampered("it does not say where the template is (_src_path)")
    if address == str(Path(os.path.expanduser(BUNDLE))):  # `~` written out, as a shell does for `copier copy`
        address = BUNDLE
    if version is None:
        raise Tampered(
            "it does not say which version of the template made the project (_commit), as when that had changes of its"
            " own that were not committed"
        )
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise Tampered(f"'{version}' is no version of a template (_commit)")
    return Recorded(address, version, content)


def _text(path: Path) -> str:
    if path.is_symlink():
        raise Tampered("it is a link")
    if not path.is_file():
        raise Tampered("it is no file")
    if path.stat().st_size > _LARGEST:
        raise Tampered("it is too long")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Tampered("it is no text") from None


def _load(text: str) -> dict[str, Any]:
    """The content of plain YAML: one document, without tags, anchors and names given twice."""
    import yaml

    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.TagToken | yaml.AnchorToken | yaml.AliasToken | yaml.DirectiveToken):
                kind = type(token).__name__.removesuffix("Token").lower()
                raise Tampered(f"it has a YAML {kind}, which torch-scaffold does not write")
        root = yaml.compose(text)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Tampered("it is not YAML of one document") from None
    if not isinstance(content, dict) or not isinstance(root, yaml.MappingNode):
        raise Tampered("it holds no answers")
    names = [key.value for key, _ in root.value]
    for name in names:
        if names.count(name) > 1:
            raise Tampered(f"it answers '{name}' twice")
    return content


def check_address(address: str) -> None:
    """Refuse a template that is neither ours nor one that the user said yes to."""
    if address not in (BUNDLE, find_origin().record["_src_path"], *_confirmed()):
        raise Tampered(
            f"the template's address is not one that this torch-scaffold knows: {address}",
            help=f"if you trust it, say so once   scaffold update --trust {address}",
        )


def confirm_address(address: str, recorded: str) -> None:
    """Remember that the user trusts an address, which must be the recorded one."""
    if address != recorded:
        raise BadAnswer(f"the project's template is not at {address} but at {recorded}", at="--trust")
    if address not in _confirmed():
        path = Path(os.path.expanduser(_CONFIRMED))
        if not path.is_absolute():
            raise Refused("there is no home to remember the address in", help="set HOME")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{address}\n")


def _confirmed() -> list[str]:
    path = Path(os.path.expanduser(_CONFIRMED))
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def check_answers(form: Form, recorded: Recorded) -> None:
    """Refuse answers that the template of that version could not have recorded."""
    for name in recorded.answers:
        if name not in form.questions or form.questions[name].is_fact:
            raise Tampered(f"it answers '{name}', which template {recorded.version} does not ask")
    found, lost = carry(form, recorded.answers)
    if lost:
        raise Tampered(f"template {recorded.version} cannot have recorded '{lost[0].name}': {lost[0].why}")
    for name in {**found, **recorded.answers}:
        if name not in recorded.answers:
            raise Tampered(f"it does not answer '{name}'")
        if name not in found or found[name] != recorded.answers[name]:
            raise Tampered(f"template {recorded.version} cannot have recorded '{name}: {recorded.answers[name]}'")


@dataclass(frozen=True)
class Lost:
    """An answer that a template does not take (any more): what came in its place, why, and whether a person gave it."""

    name: str
    before: Any
    after: Any
    why: str
    asked: bool


def carry(form: Form, recorded: Answers) -> tuple[Answers, list[Lost]]:
    """Answers carried to a template: those it takes, the default of the others. Of a list only the elements go that
    it does not take. A question that was renamed finds the old answer by the old name."""
    context: Answers = {name: value for name, value in recorded.items() if name not in form.questions}
    context["_folder_name"] = PROJECT.or_else(recorded)
    lost = []
    for question in form.questions.values():
        name = question.name
        if not form.is_due(question, context):
            context[name] = form.default(question, context)
            continue
        if name not in recorded:
            context[name] = form.check(question, form.default(question, context), context)
            continue
        value, why = _taken(form, name, recorded[name], context)
        if why:
            if value is None:
                value = form.check(question, form.default(question, context), context)
            lost.append(Lost(name, recorded[name], value, why, form.is_asked(question, context)))
        context[name] = value
    return form.recorded(context), lost


def _taken(form: Form, name: str, value: Any, context: Answers) -> tuple[Any, str]:
    """The part of an answer that is taken (nothing where none is), and why not all of it."""
    why = _problem(form, name, value, context)
    if not why:
        return form.check(form.questions[name], value, context), ""
    if type_of(name).has_parts and isinstance(value, list) and len(value) < 10:
        for size in range(len(value) - 1, 0, -1):
            for some in combinations(value, size):
                if not _problem(form, name, list(some), context):
                    return form.check(form.questions[name], list(some), context), why
    return None, why


def _problem(form: Form, name: str, value: Any, context: Answers) -> str:
    try:
        form.check(form.questions[name], value, context)
    except BadAnswer as error:
        return error.message
    return ""
