"""copier.yml as plain questions: what each asks, when, its default and its choices, judged as Copier judges them."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffold.errors import BadAnswer, did_you_mean
from scaffold.questions import layer_groups as layers

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

Answers = dict[str, Any]

# Flags that are not the question's own name.
_FLAGS = {
    "project_name": "--name",
    "package_name": "--package",
    "losses": "--loss",
    "model_class": "--model",
    "layer_groups": "--group",
}
_TRUE, _FALSE = {"y", "yes", "t", "true", "on", "1"}, {"n", "no", "f", "false", "off", "0"}


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
    def flag(self) -> str:
        """The option that answers it on the command line."""
        return _FLAGS.get(self.name, "--" + self.name.replace("_", "-"))

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


@dataclass(frozen=True)
class Choice:
    """One choice of a question, and why it cannot be taken now (or nothing)."""

    value: Any
    label: str
    why_not: str


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

    class Loader(_fast_loader()):  # type: ignore[misc]
        """A loader of our own, so that `!include` stays out of everybody else's."""

    def include(_: Any, node: Any) -> list[tuple[str, Any]]:
        return [entry for found in sorted(root.glob(node.value)) for entry in _documents(root, found)]

    Loader.add_constructor("!include", include)
    with path.open("rb") as file:
        for document in yaml.load_all(file, Loader=Loader):
            yield from document.items() if isinstance(document, dict) else document or []


def _fast_loader() -> Any:
    """YAML's loader of plain values, the fast one where it exists."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _read_fact(text: str) -> Any:
    """What a fact says; many answers share one reading of it, so nobody may change it."""
    import yaml

    return yaml.load(text, Loader=_fast_loader())


def _as_choices(choices: Any) -> dict[str, Any]:
    return choices if isinstance(choices, dict) else {str(choice): choice for choice in choices}


class Form:
    """The questions of one template, and what the answers so far make of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings, self.questions = read(root)
        self._templates: dict[str, Template] = {}

    @cached_property
    def _jinja(self) -> "SandboxedEnvironment":
        import jinja2
        from jinja2.sandbox import SandboxedEnvironment

        from scaffold.render.template_cache import remember

        options = dict(self.settings.get("_envops", {}))
        if options.pop("undefined", "") == "jinja2.StrictUndefined":
            options["undefined"] = jinja2.StrictUndefined
        environment = SandboxedEnvironment(
            loader=jinja2.FileSystemLoader(self.root),
            extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
            **options,
        )
        remember(environment, ("questions", sorted(self.settings.get("_envops", {}).items())))
        return environment

    def _render(self, text: Any, context: Mapping[str, Any]) -> Any:
        if not isinstance(text, str) or "{" not in text:
            return text
        if text not in self._templates:
            self._templates[text] = self._jinja.from_string(text)
        return self._templates[text].render(context)

    # WHAT THE ANSWERS SO FAR MAKE OF A QUESTION

    def is_due(self, question: Question, context: Mapping[str, Any]) -> bool:
        """Whether it has an answer at all, with the answers before it."""
        return _as_bool(self._render(question.when, context))

    def is_asked(self, question: Question, context: Mapping[str, Any]) -> bool:
        """Whether a person is asked, rather than given the default."""
        return self.is_due(question, context) and _as_bool(self._render(question.ask, context))

    def default(self, question: Question, context: Mapping[str, Any]) -> Any:
        """What is answered when nobody answers."""
        value = self._render(question.default, context)
        return _read_fact(value) if question.is_fact and isinstance(value, str) else self._cast(question, value)

    def choices(self, question: Question, context: Mapping[str, Any]) -> list[Choice]:
        """What there is to choose from, each with the reason why it cannot be taken now."""
        return [
            Choice(
                value=choice["value"] if isinstance(choice, dict) else choice,
                label=label,
                why_not=self._render(choice.get("validator", ""), context).strip() if isinstance(choice, dict) else "",
            )
            for label, choice in question.choices.items()
        ]

    def check(self, question: Question, value: Any, context: Mapping[str, Any]) -> Any:
        """The answer as Copier would record it, or BadAnswer where Copier would refuse it."""
        from jinja2 import TemplateError

        try:
            return self._judge(question, value, context)
        # an answer of any shape may stand in a file, and templates trip over many
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError) as error:
            raise BadAnswer(f"{value!r} cannot be an answer: {error}", question=question.name) from None

    def _judge(self, question: Question, value: Any, context: Mapping[str, Any]) -> Any:
        if question.name == "losses":
            value = read_losses(value, self.losses_of(context))
        elif question.name == "layer_groups":
            value = layers.read_groups(value, *self.model_of(context))
        elif question.name == "weights_skip":
            value = layers.read_skip(value, *self.model_of(context))
        value = self._cast(question, value)
        if question.choices:
            self._check_choice(question, value, context)
        problem = self._render(question.validator, {**context, question.name: value}).strip()
        if problem:
            raise BadAnswer(problem, question=question.name)
        return value

    def _check_choice(self, question: Question, value: Any, context: Mapping[str, Any]) -> None:
        for choice in self.choices(question, context):
            if choice.value == value:
                if choice.why_not:
                    possible = [other.value for other in self.choices(question, context) if not other.why_not]
                    raise BadAnswer(
                        f"{question.flag} {value} cannot be chosen here: {choice.why_not}",
                        help=f"for example   {question.flag} {possible[0]}" if possible else "",
                        question=question.name,
                    )
                return
        known = [str(value) for value in question.values]
        if question.name == "model":
            known[known.index("own")] = "package.module:Class"
        raise BadAnswer(
            f"'{question.flag}' has no '{value}'" + did_you_mean(str(value), known),
            help=f"there is   {', '.join(known)}",
            question=question.name,
        )

    def _cast(self, question: Question, value: Any) -> Any:
        """The value as the type of the question, refusing what Copier would round, guess at or stumble over."""
        name = question.name
        if question.type == "str" and isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
        if question.type == "bool":
            return _as_bool(value, name)
        if question.type in ("int", "float"):
            try:
                number = float(value) if not isinstance(value, bool) else math.nan
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if not math.isfinite(number):
                raise BadAnswer(f"{value!r} is not a number", question=name)
            if question.type == "float":
                return number
            if number != int(number):
                raise BadAnswer(f"{value} is not a whole number", question=name)
            return int(number)
        if question.type == "yaml":
            import yaml

            try:
                return yaml.safe_load(value) if isinstance(value, str) else value
            except (ValueError, RecursionError, yaml.YAMLError):
                raise BadAnswer(f"{value!r} is not YAML", question=name) from None
        raise BadAnswer(f"{value!r} is not a text", question=name)

    # THE ANSWERS TO ALL OF THEM

    def fill(self, given: Mapping[str, Any], folder: str, until: str = "") -> Answers:
        """Every answer and fact, in order: what was given, checked, else the default. Stops before `until`."""
        context: Answers = {"_folder_name": folder}
        for question in self.questions.values():
            if question.name == until:
                break
            if question.name in given and self.is_due(question, context):
                context[question.name] = self._check_given(question, given[question.name], context)
            elif self.is_due(question, context) and question.type == "str" and not question.choices:
                # a text may follow from what a person said, as a package's name from that of the folder
                context[question.name] = self.check(question, self.default(question, context), context)
            else:
                context[question.name] = self.default(question, context)
        return context

    def _check_given(self, question: Question, value: Any, context: Mapping[str, Any]) -> Any:
        """Check an answer, proposing the default in place of a refused one where nothing better is known."""
        try:
            return self.check(question, value, context)
        except BadAnswer as error:
            if not error.help and question.name != "project_name":
                default = self.default(question, context)
                error.help = "for example   " + " ".join(self._words(question, {question.name: default}, context))
            raise

    def recorded(self, context: Mapping[str, Any]) -> Answers:
        """The answers alone: without facts and without questions that are not due."""
        return {
            name: context[name]
            for name, question in self.questions.items()
            if name in context and self.is_due(question, context)
        }

    def asked(self, given: Mapping[str, Any], folder: str) -> list[str]:
        """The questions that a person would be asked, as far as the answers given decide it."""
        context = self.fill(given, folder)
        return [name for name, question in self.questions.items() if self.is_asked(question, context)]

    def command(self, answers: Mapping[str, Any], target: str) -> list[str]:
        """The short command for these answers: the words after `scaffold`, only what differs from the defaults."""
        folder = re.split(r"[\\/]", target.rstrip("\\/"))[-1]
        context: Answers = {"_folder_name": folder}
        words = ["new", target]
        for question in self.questions.values():
            name = question.name
            if not self.is_due(question, context):
                context[name] = self.default(question, context)
                continue
            default = folder if name == "project_name" else self.default(question, context)
            if answers[name] != default:
                words += self._words(question, answers, context)
            context[name] = answers[name]
        return [*words, "--yes"]

    def _words(self, question: Question, answers: Mapping[str, Any], context: Mapping[str, Any]) -> list[str]:
        """The flags for one answer; an answer that another flag implies needs none."""
        value = answers[question.name]
        if question.name == "model" and value == "own":
            return [question.flag, answers["model_class"]]
        if question.name == "model_class" or (question.name == "groups_from" and value == "own"):
            return []
        if question.name == "layer_groups":
            values = layers.write_groups(value, *self.model_of(context))
        elif question.name == "losses":
            values = [f"{loss['name']}={layers.number(loss['weight'])}" for loss in value]
        elif question.type == "bool":
            return [question.flag if value else question.flag.replace("--", "--no-", 1)]
        elif question.type == "yaml":
            values = value or ["none"]
        else:
            values = [layers.number(value) if question.type == "float" else str(value)]
        return [word for value in values for word in (question.flag, value)]

    # THE FACTS THAT GRAMMARS NEED

    def model_of(self, context: Mapping[str, Any]) -> tuple[str, layers.Model | None, bool]:
        """The chosen model's name, what is known of it (none of a model of one's own), and whether it ends in a head."""
        model = context["model"]
        # templates from before 0.4 know of all models in one place
        facts = context["model_facts"] if "model_facts" in context else context["catalogue"].get(model, {"layers": {}})
        return model, facts if facts["layers"] else None, context["has_head"]

    def losses_of(self, context: Mapping[str, Any]) -> list[str]:
        """The losses that can be named, whether they go with the task or not."""
        if "known_losses" in context:
            return list(context["known_losses"])
        known = self._jinja.get_template("template/macros/losses.jinja").module  # of a template from before 0.4
        return list(getattr(known, "known"))  # noqa: B009  # a variable of the template, not an attribute of a class

    def facts_of(self, question: str) -> dict[str, dict[str, Any]]:
        """What the template knows of each choice of a question, from the file beside it; of the losses, of all tasks."""
        if question not in self.questions:  # a template may have others
            return {}
        if question == "losses":
            found: dict[str, dict[str, Any]] = {}
            for task in self.questions["task"].values:
                found.update(self.fill({"task": task}, "p", until="losses")["known_losses"])
            return found
        choices = self.questions[question].values
        return {choice: self.fill({question: choice}, "p")[f"{question}_facts"] for choice in choices}


def read_losses(value: Any, known: list[str]) -> Any:
    """Losses as typed (`NAME=WEIGHT NAME`, or a list of such) as the list that is recorded."""
    typed = value.split() if isinstance(value, str) and not value.lstrip().startswith("[") else value
    if not isinstance(typed, list | tuple) or not all(isinstance(loss, str) for loss in typed):
        return value
    losses: list[dict[str, Any]] = []
    for word in [word for loss in typed for word in loss.split()]:
        name, _, weight = word.partition("=")
        if name not in known:
            raise BadAnswer(
                f"there is no loss '{name}'" + did_you_mean(name, known),
                help=f"there is   {', '.join(known)}",
                question="losses",
            )
        if name in [loss["name"] for loss in losses]:
            raise BadAnswer(f"loss '{name}' is given twice", help="keep one", question="losses")
        number = layers.read_number(weight if "=" in word else "1")
        if number is None or not 0 < number < 1_000_000:
            raise BadAnswer(
                f"the weight in '{word}' is not a number above 0 and below 1000000",
                help=f"for example   --loss {name}=0.5",
                question="losses",
            )
        losses.append({"name": name, "weight": number})
    return losses


def _as_bool(value: Any, question: str = "") -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE or (not question and word in ("", "none", "null", "~")):
        return False
    raise BadAnswer(f"{value!r} is neither yes nor no", question=question)
