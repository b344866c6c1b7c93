"""The conversation: a start, the questions one after another with a way back, and a last yes."""

import threading
from importlib import import_module
from types import ModuleType
from typing import Any

from scaffold import __version__
from scaffold.conversation.change_answer import change_answer
from scaffold.conversation.questions import ask, ask_all
from scaffold.conversation.talk import Talk, recap, select
from scaffold.conversation.terminal import BACK, Option, Screen
from scaffold.errors import BadAnswer, Cancelled
from scaffold.paths import presets
from scaffold.questions import answers
from scaffold.questions.answer_types import PACKAGE, PROJECT
from scaffold.questions.answers import Given
from scaffold.questions.form import Form
from scaffold.questions.tables import about
from scaffold.render.rendering import preview


def converse(form: Form, screen: Screen, given: Given, target: str | None) -> tuple[dict[str, Any], str]:
    """Every answer, and the folder to put the project in; Cancelled when the person has none of it."""
    # the slow imports happen while the person reads
    loading = threading.Timer(0.1, _load)
    loading.daemon = True
    loading.start()

    talk = Talk(form, screen, _prompts(screen), given, target)
    screen.say(f"scaffold {__version__} · nothing is written until you say so · ctrl-c cancels")
    screen.say()
    while True:
        talk.said.clear()
        talk.given = Given(dict(given.values), dict(given.sources))  # without those of a preset that was gone back from
        everything = _start(talk) == "everything"
        if everything and not ask_all(talk):
            continue
        done = _finish(talk, everything)
        if done is not None:
            return done


def reconsider(form: Form, screen: Screen, before: Given) -> dict[str, Any]:
    """Every answer of a project asked again, with those it has proposed; its names stay."""
    names = (PROJECT.name, PACKAGE.name)
    kept = Given({name: before.values[name] for name in names}, {name: before.sources[name] for name in names})
    talk = Talk(form, screen, _prompts(screen), kept, PROJECT.or_else(before.values), before=dict(before.values))
    screen.say("enter keeps an answer · nothing is changed until you say so · ctrl-c cancels")
    screen.say()
    while not ask_all(talk):
        pass
    return form.recorded(form.fill(talk.values, talk.name))


def _prompts(screen: Screen) -> ModuleType:
    """The prompts that go with a terminal; the other ones are not loaded."""
    return import_module("scaffold.conversation.line_prompts" if screen.plain else "scaffold.conversation.prompts")


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
        way = select(talk, "How do you want to start?", options, "recommended")
        if way is BACK:
            continue
        if way == "preset":
            chosen = select(talk, "Which preset?", [Option(name, name, about(name)) for name in known], None)
            if chosen is BACK:
                continue
            talk.given = answers.gather(talk.form, {}, preset=chosen, answers_file=None)
            for name, value in base.values.items():
                talk.given.take(name, value, base.sources[name])
            recap(talk, "Preset", chosen)
        else:
            talk.given = base
        return str(way)


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
            if not ask(talk, talk.form.questions[error.question]):
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
        answer = select(talk, "Create the project? (nothing has been written yet)", options, "create")
        if answer == "create":
            return chosen, talk.folder
        if answer == "cancel":
            raise Cancelled
        if answer == "show":
            for name, content in files.items():
                talk.screen.say(f"  {len(content) / 1000:6.1f} KB  {name}")
        elif answer == "change":
            change_answer(talk)
        elif not (everything and talk.said):
            return None
        else:
            name, value = talk.said.popitem()
            talk.before[name] = value
            talk.screen.erase_line()
            if not ask_all(talk):
                return None
