"""The conversation: a start, the questions one after another with a way back, and a last yes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from scaffold import __version__
from scaffold.conversation.terminal import BACK, Option, Screen
from scaffold.errors import BadAnswer, Cancelled, Refused
from scaffold.paths import presets
from scaffold.questions import answers
from scaffold.questions import layer_groups as layers
from scaffold.questions.answer_types import GROUPS_FROM, LAYER_GROUPS, LOSSES, MODEL, PACKAGE, PROJECT
from scaffold.questions.answer_types.model import OWN
from scaffold.questions.answers import Given
from scaffold.questions.copier_yml import Question
from scaffold.questions.form import Form
from scaffold.questions.numbers import number, short_count
from scaffold.questions.tables import about
from scaffold.render.project import check_target, preview


@dataclass
class Talk:
    """A conversation: what was given before it, what was said in it, in order, and how to ask."""

    form: Form
    screen: Screen
    prompts: ModuleType
    given: Given
    target: str | None
    said: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """Every answer there is so far."""
        return {**self.given.values, **self.said}

    @property
    def folder(self) -> str:
        """The project's folder, as far as it is known."""
        return self.target or str(self.values.get(PROJECT.name) or PROJECT.free())

    @property
    def name(self) -> str:
        """The name of that folder."""
        return PROJECT.of_folder(self.folder)


def converse(form: Form, screen: Screen, given: Given, target: str | None) -> tuple[dict[str, Any], str]:
    """Every answer, and the folder to put the project in; Cancelled when the person has none of it."""
    prompts = import_module("scaffold.conversation.line_prompts" if screen.plain else "scaffold.conversation.prompts")
    # the slow imports happen while the person reads
    loading = threading.Timer(0.1, _load)
    loading.daemon = True
    loading.start()

    talk = Talk(form, screen, prompts, given, target)
    screen.say(f"scaffold {__version__} · nothing is written until you say so · ctrl-c cancels")
    screen.say()
    while True:
        talk.said.clear()
        everything = _start(talk) == "everything"
        if everything and not _ask_all(talk):
            continue
        done = _finish(talk, everything)
        if done is not None:
            return done


def reconsider(form: Form, screen: Screen, before: Given) -> dict[str, Any]:
    """Every answer of a project asked again, with those it has proposed; its names stay."""
    prompts = import_module("scaffold.conversation.line_prompts" if screen.plain else "scaffold.conversation.prompts")
    names = (PROJECT.name, PACKAGE.name)
    kept = Given({name: before.values[name] for name in names}, {name: before.sources[name] for name in names})
    talk = Talk(form, screen, prompts, kept, PROJECT.or_else(before.values), before=dict(before.values))
    screen.say("enter keeps an answer · nothing is changed until you say so · ctrl-c cancels")
    screen.say()
    while not _ask_all(talk):
        pass
    return form.recorded(form.fill(talk.values, talk.name))


def _load() -> None:
    import copier  # noqa: F401  # only to have it loaded


# THE START


def _start(talk: Talk) -> str:
    """How to go on: with the recommended answers, those of a preset, or one question after another."""
    questions = talk.form.questions.values()
    plain_defaults = [
        str(talk.given.values.get(question.name, question.default))
        for question in questions
        if question.choices and "{" not in str(question.default)
    ]
    summary = " · ".join(value for value in plain_defaults if value not in ("none", "fp32"))
    known = presets()
    options = [Option("recommended", "Recommended", summary)]
    if known:
        options.append(Option("preset", "A preset…", ", ".join(known)))
    options.append(Option("everything", "Ask me everything", "one question after another"))
    base = Given(dict(talk.given.values), dict(talk.given.sources))
    while True:
        way = _select(talk, "How do you want to start?", options, "recommended")
        if way is BACK:
            continue
        if way == "preset":
            chosen = _select(talk, "Which preset?", [Option(name, name, about(name)) for name in known], None)
            if chosen is BACK:
                continue
            talk.given = answers.gather(talk.form, {}, preset=chosen, answers_file=None)
            for name, value in base.values.items():
                talk.given.take(name, value, base.sources[name])
            _recap(talk, "Preset", chosen)
        else:
            talk.given = base
        return str(way)


# THE QUESTIONS


def _ask_all(talk: Talk) -> bool:
    """Ask every question that has no answer, one after another; False when the person went back to the start."""
    while question := _next(talk):
        if _ask(talk, question):
            continue
        if not talk.said:
            return False
        name, value = talk.said.popitem()
        talk.before[name] = value
        talk.screen.erase_line()
    return True


def _next(talk: Talk) -> Question | None:
    """The first question that a person should answer and has not."""
    for question in talk.form.questions.values():
        if question.is_fact or question.name in talk.values:
            continue
        context = _context(talk, question)
        if talk.form.is_asked(question, context):
            return question
    return None


def _context(talk: Talk, question: Question) -> dict[str, Any]:
    return talk.form.fill(talk.values, talk.name, until=question.name)


def _ask(talk: Talk, question: Question) -> bool:
    """Ask one question and say its answer back; False when the person went back instead."""
    context = _context(talk, question)
    if question.kind is LOSSES:
        answer = _ask_losses(talk, question, context)
    elif question.kind is LAYER_GROUPS:
        answer = _ask_groups(talk, question, context)
    elif question.choices or question.type == "bool":
        answer = _ask_choice(talk, question, context)
    else:
        answer = _ask_text(talk, question, context)
    if answer is BACK:
        return False
    value = talk.form.check(question, answer, context)
    talk.said[question.name] = value
    _recap(talk, question.kind.label, _as_text(talk, question, value, context))
    return True


def _default(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    """What is proposed: what the person said before, where that still can be, else the default."""
    if question.name in talk.before:
        try:
            return talk.form.check(question, talk.before[question.name], context)
        except BadAnswer:
            pass
    if question.kind is PROJECT:
        return PROJECT.free()
    return talk.form.default(question, context)


def _ask_choice(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    if question.type == "bool":
        options = [Option(True, "yes"), Option(False, "no")]
    else:
        options = [
            Option(
                choice.value,
                *_halves(choice.label),
                why_not=choice.why_not,
                description=_outcome(talk, question, choice.value, context),
            )
            for choice in talk.form.choices(question, context)
        ]
    return _select(talk, question.help, options, _default(talk, question, context), _progress(talk, question))


def _halves(label: str) -> tuple[str, str]:
    name, _, note = label.partition(" - ")
    return name, note


def _outcome(talk: Talk, question: Question, value: Any, context: Mapping[str, Any]) -> str:
    """What a strategy for the layers makes of this model."""
    if question.kind is not GROUPS_FROM or value == OWN:
        return ""
    try:
        groups = LAYER_GROUPS.of(talk.form.fill({**context, GROUPS_FROM.name: value}, talk.name))
    except BadAnswer:
        return ""
    model = MODEL.known(context)[1]
    return "  ".join(_group_line(group, model) for group in groups)


def _group_line(group: Mapping[str, Any], model: layers.Model | None) -> str:
    size = f" ({short_count(layers.parameters_of(group['layers'], model))})" if model else ""
    return f"{group['name']} ×{number(group['lr'])}{size}"


def _ask_text(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    default = _default(talk, question, context)

    def problem(line: str) -> str:
        try:
            value = talk.form.check(question, line.strip(), context)
            if question.kind is PROJECT:
                check_target(Path(value))
        except (BadAnswer, Refused) as error:
            return error.message
        return ""

    shown = _as_text(talk, question, default, context)
    words = question.kind.completions(talk.form, context)
    answer = talk.prompts.text(
        talk.screen, talk.screen.fit(question.about), shown, problem, words=(lambda _: words) if words else None
    )
    return answer if answer is BACK else answer.strip()


def _problem_of(talk: Talk, question: Question, context: Mapping[str, Any]) -> Callable[[str], str]:
    """What is wrong with a line as the answer to a question, or nothing."""

    def problem(line: str) -> str:
        try:
            talk.form.check(question, line, context)
        except BadAnswer as error:
            return error.message
        return ""

    return problem


def _ask_losses(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    """Which losses, then, when there are several, with which weights."""
    default = _default(talk, question, context)
    known = LOSSES.fitting(talk.form, context)
    problem = _problem_of(talk, question, context)

    while True:
        chosen = [loss["name"] for loss in default]
        if not talk.screen.is_ascii:  # the boxes of a checkbox are no ASCII: there the line alone is asked
            options = [Option(name, name) for name in known]
            chosen = talk.prompts.checkbox(talk.screen, "Which losses?", options, chosen, _progress(talk, question))
            if chosen is BACK:
                return BACK
            if len(chosen) == 1 and not problem(chosen[0]):
                return chosen
        weights = {loss["name"]: number(loss["weight"]) for loss in default}
        line = talk.prompts.text(
            talk.screen,
            "Which losses, with which weights?" if talk.screen.is_ascii else "With which weights?",
            " ".join(f"{name}={weights.get(name, '1')}" for name in chosen),
            problem,
            words=lambda _: known,
        )
        if line is not BACK or talk.screen.is_ascii:
            return line


def _ask_groups(talk: Talk, question: Question, context: Mapping[str, Any]) -> Any:
    """The groups as one line, with the table of what it means below."""
    model_name, model, has_head = MODEL.known(context)
    default = _default(talk, question, context)
    if default == talk.before.get(question.name):
        line = " ".join(layers.write_groups(default, model_name, model, has_head))
    else:
        line = "rest=1" if model is None else "backbone=0.1 head=1" if has_head else "backbone=1"
    problem = _problem_of(talk, question, context)

    def below(line: str) -> str:
        try:
            groups = talk.form.check(question, line, context)
        except BadAnswer as error:
            return f" {talk.screen.signs.wrong} {error.message}"
        return "\n".join([*group_table(groups, model), " tab completes layers · enter accepts · shift-tab back"])

    if talk.screen.plain and model:
        groups = layers.read_groups(line, model_name, model, has_head)
        talk.screen.say("\n" + "\n".join(group_table(groups, model)))
    return talk.prompts.text(
        talk.screen, "Layer groups:", line, problem, words=lambda _: layers.names_of(model, has_head), below=below
    )


def group_table(groups: list[dict[str, Any]], model: layers.Model | None) -> list[str]:
    """One line for each group: its name, multiplier, parameters, share and layers."""
    sizes = [layers.parameters_of(group["layers"], model) if model else 0 for group in groups]
    width = max(len(group["name"]) for group in groups)
    lines = []
    for group, size in zip(groups, sizes, strict=True):
        multiplier = "freeze" if group["lr"] == 0 else f"×{number(group['lr'])}"
        share = f"  {short_count(size):>7}  {100 * size / sum(sizes):5.1f} %" if model else ""
        lines.append(f" {group['name']:<{width}}  {multiplier:<6}{share}  {', '.join(group['layers'])}")
    return lines


# THE LAST YES


def _finish(talk: Talk, everything: bool) -> tuple[dict[str, Any], str] | None:
    """Show what would be made and have it accepted; nothing when the person went back to the start."""
    while True:
        try:
            chosen = talk.form.recorded(talk.form.fill(talk.values, talk.name))
        except BadAnswer as error:
            if error.question not in talk.said:
                raise
            talk.screen.say(f"{talk.screen.signs.wrong} {error.message}")
            talk.said.pop(error.question)
            if not _ask(talk, talk.form.questions[error.question]):
                return None
            continue
        files = preview(chosen)
        size = sum(len(content) for content in files.values()) / 1000
        options = [
            Option("create", "Create it", f"{len(files)} files, {size:.0f} KB, in {talk.folder}"),
            Option("show", "Show the files first"),
            Option("change", "Change an answer"),
            Option("cancel", "Cancel"),
        ]
        answer = _select(talk, "Create the project? (nothing has been written yet)", options, "create")
        if answer == "create":
            return chosen, talk.folder
        if answer == "cancel":
            raise Cancelled
        if answer == "show":
            for name, content in files.items():
                talk.screen.say(f"  {len(content) / 1000:6.1f} KB  {name}")
        elif answer == "change":
            _change(talk)
        elif not (everything and talk.said):
            return None
        else:
            name, value = talk.said.popitem()
            talk.before[name] = value
            talk.screen.erase_line()
            if not _ask_all(talk):
                return None


def _change(talk: Talk) -> None:
    """Ask one question again, and those that only its answer brings up."""
    context = talk.form.fill(talk.values, talk.name)
    asked = [question for question in talk.form.questions.values() if talk.form.is_asked(question, context)]
    if talk.target:
        asked = [question for question in asked if question.kind is not PROJECT]
    options = [
        Option(question.name, question.kind.label, _as_text(talk, question, context[question.name], context))
        for question in asked
    ]
    name = _select(talk, "Which answer?", options, None)
    if name is BACK:
        return
    given, said = Given(dict(talk.given.values), dict(talk.given.sources)), dict(talk.said)
    open_again = [name]
    if name == GROUPS_FROM.name and LAYER_GROUPS.name in talk.values:
        open_again.append(LAYER_GROUPS.name)
    for forgotten in open_again:
        talk.before[forgotten] = context[forgotten]
        talk.given.forget(forgotten)
        talk.said.pop(forgotten, None)
    question = talk.form.questions[name]
    if not _ask(talk, question):
        talk.given, talk.said = given, said
        return
    after = talk.form.fill({key: value for key, value in talk.values.items() if key not in _dropped(talk)}, talk.name)
    for key in _dropped(talk):
        talk.given.forget(key)
        talk.said.pop(key, None)
    for follower in talk.form.questions.values():
        is_open = follower not in asked or follower.name in open_again
        due = is_open and follower.name not in talk.values and talk.form.is_asked(follower, after)
        if due and not _ask(talk, follower):
            talk.given, talk.said = given, said
            return


def _dropped(talk: Talk) -> list[str]:
    """Answers that cannot stand beside the others any more."""
    dropped: list[str] = []
    while True:
        values = {name: value for name, value in talk.values.items() if name not in dropped}
        try:
            talk.form.fill(values, talk.name)
        except BadAnswer as error:
            if error.question not in values:
                raise
            dropped.append(error.question)
        else:
            return dropped


# SAYING THINGS


def _select(talk: Talk, message: str, options: list[Option], default: Any, where: str = "") -> Any:
    return talk.prompts.select(talk.screen, message, options, default, where)


def _recap(talk: Talk, label: str, value: str) -> None:
    talk.screen.say(f"{talk.screen.signs.done} {label:<15} {value}", sign=talk.screen.signs.done)


def _progress(talk: Talk, question: Question) -> str:
    try:
        asked = [name for name in talk.form.asked(talk.values, talk.name) if name not in talk.given.values]
    except BadAnswer:  # while an answer is changed, another may not fit it: that is put right afterwards
        return ""
    if question.name not in asked:
        return ""
    return f"  {asked.index(question.name) + 1}/{len(asked)}"


def _as_text(talk: Talk, question: Question, value: Any, context: Mapping[str, Any]) -> str:
    """An answer as a person would type it."""
    return " ".join(question.kind.write(talk.form, question, value, context))
