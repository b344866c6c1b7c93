"""copier.yml as plain questions, as they are written there."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scaffold.questions.answer_types import type_of
from scaffold.questions.answer_types.base import AnswerType


@dataclass(frozen=True)
class Question:
    """One question of copier.yml, as it is written there."""

    name: str
    type: str
    help: str
    choices: dict[str, Any]
    default: Any
    validator: str
    when: str | bool
    ask: str | bool

    @property
    def kind(self) -> AnswerType:
        """What is special about its answers."""
        return type_of(self.name)

    @property
    def flag(self) -> str:
        """The option that answers it on the command line."""
        return self.kind.flag

    @property
    def about(self) -> str:
        """Its help, without what only Copier's own prompts need: how an answer is written in YAML."""
        return self.help.split(" (")[0] if self.type == "yaml" else self.help

    @property
    def values(self) -> list[Any]:
        """What the choices stand for, whether allowed with the other answers or not."""
        return [choice["value"] if isinstance(choice, dict) else choice for choice in self.choices.values()]

    @property
    def is_fact(self) -> bool:
        """Whether it is never asked and never recorded."""
        return self.when is False


@cache
def read(root: Path) -> tuple[dict[str, Any], dict[str, Question]]:
    """The settings and the questions of the copier.yml in a template's root, its `!include`s followed."""
    settings: dict[str, Any] = {}
    questions: dict[str, Question] = {}
    for key, entry in _documents(root, root / "copier.yml"):
        if key.startswith("_"):
            settings[key] = entry
            continue
        details = entry if isinstance(entry, dict) else {"default": entry}
        questions[key] = Question(
            name=key,
            type=details.get("type") or type(details.get("default")).__name__,
            help=details.get("help", ""),
            choices=_as_choices(details.get("choices", {})),
            default=details.get("default"),
            validator=details.get("validator", ""),
            when=details.get("when", True),
            ask=details.get("ask", True),
        )
    return settings, questions


def _documents(root: Path, path: Path) -> Iterator[tuple[str, Any]]:
    """Every top-level entry of a file of YAML documents and of the files that it includes."""
    import yaml

    class Loader(fast_loader()):  # type: ignore[misc]
        """A loader of our own, so that `!include` stays out of everybody else's."""

    def include(_: Any, node: Any) -> list[tuple[str, Any]]:
        return [entry for found in sorted(root.glob(node.value)) for entry in _documents(root, found)]

    Loader.add_constructor("!include", include)
    with path.open("rb") as file:
        for document in yaml.load_all(file, Loader=Loader):
            yield from document.items() if isinstance(document, dict) else document or []


def fast_loader() -> Any:
    """YAML's loader of plain values, the fast one where it exists."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _as_choices(choices: Any) -> dict[str, Any]:
    return choices if isinstance(choices, dict) else {str(choice): choice for choice in choices}
