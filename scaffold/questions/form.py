"""The questions of a template as a form to fill in: what is asked, what is proposed, and which answers Copier would take."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaffold.errors import BadAnswer, did_you_mean
from scaffold.questions.answer_types import PROJECT, type_of
from scaffold.questions.copier_yml import Question, fast_loader, read
from scaffold.system.shell import join

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

Answers = dict[str, Any]

_TRUE, _FALSE = {"y", "yes", "t", "true", "on", "1"}, {"n", "no", "f", "false", "off", "0"}


@dataclass(frozen=True)
class Choice:
    """One choice of a question, and why it cannot be taken now (or nothing)."""

    value: Any
    label: str
    why_not: str


@cache
def _read_fact(text: str) -> Any:
    """What a fact says; many answers share one reading of it, so nobody may change it."""
    import yaml

    return yaml.load(text, Loader=fast_loader())


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
            auto_reload=False,
            **options,
        )
        environment.filters["from_yaml"] = _read_fact  # macros read the same facts for every answer
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
                why_not=self._why_not(choice, context),
            )
            for label, choice in question.choices.items()
        ]

    def _why_not(self, choice: Any, context: Mapping[str, Any]) -> str:
        return str(self._render(choice.get("validator", ""), context)).strip() if isinstance(choice, dict) else ""

    def check(self, question: Question, value: Any, context: Mapping[str, Any]) -> Any:
        """The answer as Copier would record it, or BadAnswer where Copier would refuse it."""
        from jinja2 import TemplateError

        try:
            return self._judge(question, value, context)
        except BadAnswer as error:
            error.question = error.question or question.name
            raise
        # an answer of any shape may stand in a file, and templates trip over many
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError) as error:
            raise BadAnswer(f"{value!r} cannot be an answer: {error}", question=question.name) from None

    def _judge(self, question: Question, value: Any, context: Mapping[str, Any]) -> Any:
        value = self._cast(question, question.kind.read(self, value, context))
        if question.choices:
            self._check_choice(question, value, context)
        problem = self._render(question.validator, {**context, question.name: value}).strip()
        if problem:
            raise BadAnswer(problem, question=question.name)
        return value

    def _check_choice(self, question: Question, value: Any, context: Mapping[str, Any]) -> None:
        for choice, one in zip(question.choices.values(), question.values, strict=True):
            if one == value:
                why_not = self._why_not(choice, context)
                if why_not:
                    others = zip(question.choices.values(), question.values, strict=True)
                    possible = next((str(value) for other, value in others if not self._why_not(other, context)), "")
                    raise BadAnswer(
                        f"{question.flag} {question.kind.said(value, context)} cannot be chosen here: {why_not}",
                        help=f"for example   {join([question.flag, possible])}" if possible else "",
                        question=question.name,
                    )
                return
        values = [str(value) for value in question.values if question.kind.offers(value, context)]
        known = question.kind.typed(values)
        raise BadAnswer(
            f"'{question.flag}' has no '{value}'" + did_you_mean(str(value), question.kind.near(values)),
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
                context[question.name] = self._check_given(question, given, context)
            elif self.is_due(question, context) and question.type == "str" and not question.choices:
                # a text may follow from what a person said, as a package's name from that of the folder
                context[question.name] = self.check(question, self.default(question, context), context)
            else:
                context[question.name] = self.default(question, context)
        return context

    def _check_given(self, question: Question, given: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
        """Check an answer, proposing the default in place of a refused one where nothing better is known."""
        value, parts = given[question.name], {name: given[name] for name in question.kind.parts if name in given}
        try:
            return self.check(question, value, {**context, **parts} if parts else context)
        except BadAnswer as error:
            if not error.help and question.kind.proposes_default:
                default = self.default(question, context)
                error.help = "for example   " + join(
                    question.kind.words(self, question, {question.name: default}, context)
                )
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
            default = folder if question.kind is PROJECT else self.default(question, context)
            if answers[name] != default:
                words += question.kind.words(self, question, answers, context)
            context[name] = answers[name]
        return [*words, "--yes"]

    # WHAT THE TEMPLATE KNOWS

    def variable(self, template: str, name: str) -> Any:
        """A variable of one of the template's files of macros."""
        return getattr(self._jinja.get_template(template).module, name)

    def facts_of(self, question: str) -> dict[str, dict[str, Any]]:
        """What the template knows of each choice of a question, from the file beside it; of the losses, of all tasks."""
        if question not in self.questions:  # a template may have others
            return {}
        return type_of(question).facts(self)


def _as_bool(value: Any, question: str = "") -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE or (not question and word in ("", "none", "null", "~")):
        return False
    raise BadAnswer(f"{value!r} is neither yes nor no", question=question)
