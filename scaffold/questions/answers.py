"""Where answers come from: flags over a file of answers over a preset over the defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer, did_you_mean
from scaffold.paths import presets
from scaffold.questions.answer_types import PACKAGE, PROJECT, TASK, type_of
from scaffold.questions.form import Answers, Form
from scaffold.questions.plain_yaml import NotPlain, check_plain, read_plain
from scaffold.system.shell import join


@dataclass
class Given:
    """Answers that were given, and where each was: a flag, or a file."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, value: Any, source: str) -> None:
        """Take an answer over those given before, with what it implies."""
        type_of(name).take(self, value, source)

    def put(self, name: str, value: Any, source: str) -> None:
        """Note an answer, and where it was given."""
        self.values[name], self.sources[name] = value, source

    def forget(self, name: str) -> None:
        """Give up an answer that a later one makes void."""
        self.values.pop(name, None)
        self.sources.pop(name, None)


def gather(form: Form, flags: Mapping[str, Any], *, preset: str | None, answers_file: str | None) -> Given:
    """All answers that were given."""
    given = Given()
    if preset is not None:
        known = presets()
        if preset not in known:
            raise BadAnswer(
                f"there is no preset '{preset}'" + did_you_mean(preset, list(known)),
                at="--preset",
                help=f"there is   {', '.join(known)}",
            )
        _take_file(form, given, known[preset], f"preset {preset}")
    if answers_file is not None:
        _take_file(form, given, Path(answers_file), answers_file)
    flags = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    said = {name: value for name, value in flags.items() if value is not None and value != []}
    for name in said:
        type_of(name).check_flags(said)
    for name, value in said.items():
        given.take(name, value, form.questions[name].flag)
    return given


def _take_file(form: Form, given: Given, path: Path, source: str) -> None:
    """Take the answers of a file; those that only follow from the others (and are not asked) are left to follow."""
    import yaml

    try:
        text = read_plain(path)
        check_plain(text)
        content = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error) if isinstance(error, NotPlain) else ""
        reason = why or "it is not YAML"
        raise BadAnswer(
            f"the answers in {path} cannot be read: {reason}",
            at=source,
            help="one answer a line, as in   optimizer: sgd",
        ) from None
    if not isinstance(content, dict):
        raise BadAnswer(f"{path} holds no answers", at=source, help="one answer a line, as in   optimizer: sgd")
    values = {name: value for name, value in content.items() if not str(name).startswith("_")}
    for name in values:
        if name not in form.questions or form.questions[name].is_fact:
            known = [question.name for question in form.questions.values() if not question.is_fact]
            raise BadAnswer(
                f"there is no question '{name}'" + did_you_mean(str(name), known),
                at=source,
                help=f"there is   {', '.join(known)}",
            )
    file = Given()
    for name in sorted(values, key=list(form.questions).index):
        file.take(name, values[name], source)
    for name, value in values.items():
        type_of(name).settle(file, value)
    for name in [name for name in file.values if form.questions[name].ask is not True]:
        question = form.questions[name]
        context = _fill(form, file, PROJECT.or_else(file.values), until=name)
        if not form.is_asked(question, context) and file.values[name] == form.default(question, context):
            file.forget(name)
    for name, value in file.values.items():
        given.values[name], given.sources[name] = value, file.sources[name]


def find_target(path: str | None, given: Given) -> str | None:
    """The folder of the project: as said, else after the name; and the name after the folder, unless said."""
    if path is None:
        return None if given.values.get(PROJECT.name) is None else PROJECT.or_else(given.values)
    if not path.strip():
        raise BadAnswer("it has no folder to go to", at="PATH", help="for example   scaffold new my-project --yes")
    if given.sources.get(PROJECT.name) != PROJECT.flag:
        given.take(PROJECT.name, PROJECT.of_folder(path), "PATH")
    return path


def check_names(form: Form, given: Given, target: str, *, yes: bool) -> None:
    """Refuse names that cannot be before anything is asked, with what would do; the rest is for later."""
    try:
        _fill(form, given, target, yes=yes)
    except BadAnswer as error:
        if error.question in (PROJECT.name, PACKAGE.name):
            raise


def _other_name(form: Form, given: Given, target: str) -> str:
    """A name near to one that cannot be."""
    near = "my-" + re.sub(r"[^A-Za-z0-9._-]+", "-", PROJECT.of_folder(target)).strip("-._")
    try:
        form.fill({**given.values, PROJECT.name: near}, near)
    except BadAnswer as error:
        return "my-project" if error.question in (PROJECT.name, PACKAGE.name) else near
    return near


def complete(form: Form, given: Given, target: str) -> dict[str, Any]:
    """Every answer, checked: those given, and the defaults of the others."""
    context = _fill(form, given, target)
    for name, source in given.sources.items():
        if source.startswith("--") and not form.is_due(form.questions[name], context):
            raise BadAnswer(
                f"{source} has no use with these answers", at=source, help=_needs(form, name, source, context)
            )
    return form.recorded(context)


def missing(form: Form, given: Given, target: str | None) -> list[str]:
    """The questions that would be asked and have no answer."""
    asked = form.asked(given.values, PROJECT.of_folder(target or "my-project"))
    return [name for name in asked if name not in given.values]


def _needs(form: Form, name: str, source: str, context: Answers) -> str:
    """Which answer a question goes with, where copier.yml says it by `x == 'y'`, or by what is known of the task."""
    when = str(form.questions[name].when)
    found = re.search(r"(\w+) == '([^']*)'", when)
    if found and form.questions[found[1]].flag != source:
        return f"it goes with   {form.questions[found[1]].flag} {found[2]}"
    if found:  # which has no use either
        return _needs(form, found[1], source, context)
    if "task_facts." not in when:
        return ""
    return f"{TASK.flag} {TASK.of(context)} has one of its own, which you change in the project"


def _fill(form: Form, given: Given, target: str, until: str = "", *, yes: bool = True) -> dict[str, Any]:
    """Answer the form, saying of a refused answer where it was given and what to type instead."""
    try:
        return form.fill(given.values, PROJECT.of_folder(target), until)
    except BadAnswer as error:
        source = given.sources.get(error.question, "")
        error.at = error.at or source
        if error.question == PROJECT.name and source == "PATH":
            error.at = "PATH (the names of the project and its package come from it)"
            words = [
                "scaffold",
                "new",
                target,
                PROJECT.flag,
                _other_name(form, given, target),
                *(["--yes"] if yes else []),
            ]
            error.help = error.help or f"keep the folder, name the project:   {join(words)}"
        raise
