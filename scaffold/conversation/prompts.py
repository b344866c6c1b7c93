"""Prompts that redraw themselves, by questionary. Each answers BACK when the person goes back."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import questionary
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import to_filter
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.layout import HSplit, Layout, Window
from prompt_toolkit.output import ColorDepth, create_output

from scaffold.conversation.terminal import BACK, Option, Screen

_STYLE = questionary.Style(
    [
        ("qmark", "fg:ansicyan bold"),
        ("question", "bold"),
        ("answer", "nobold"),
        ("pointer", "fg:ansicyan bold"),
        ("selected", "noreverse"),
        ("highlighted", "fg:ansicyan"),
        ("instruction", "fg:ansibrightblack"),
        ("disabled", "fg:ansibrightblack"),
        ("bottom-toolbar", "noreverse"),
        ("validation-toolbar", "noreverse fg:ansired"),
    ]
)


def select(screen: Screen, message: str, options: Sequence[Option], default: Any, where: str = "") -> Any:
    """One of the options."""
    width = max(len(option.name) for option in options)
    choices = [
        questionary.Choice(
            screen.fit(f"{option.name:<{width}}  {option.note}".rstrip()),
            value=position,
            disabled=screen.fit(option.why_not) or None,
            description=screen.fit(option.description) or None,
        )
        for position, option in enumerate(options)
    ]
    possible = [position for position, option in enumerate(options) if not option.why_not]
    preset = [position for position in possible if options[position].value == default]
    answer = _run(
        questionary.select(
            message,
            choices,
            default=choices[preset[0] if preset else possible[0]],
            instruction=_keys(screen, message, f"{screen.signs.arrows} · enter", where),
            pointer=screen.signs.here,
            qmark=screen.signs.ask,
            style=_STYLE,
            **_terminal(screen),
        )
    )
    return answer if answer is BACK else options[answer].value


def checkbox(screen: Screen, message: str, options: Sequence[Option], chosen: Sequence[Any], where: str = "") -> Any:
    """Some of the options, at least one, in their order."""
    choices = [
        questionary.Choice(screen.fit(f"{option.name}  {option.note}".rstrip()), value=option.value)
        for option in options
    ]
    for choice in choices:
        choice.checked = choice.value in chosen
    return _run(
        questionary.checkbox(
            message,
            choices,
            validate=lambda values: bool(values) or "choose at least one, with the space bar",
            instruction=_keys(screen, message, "space chooses · enter", where),
            pointer=screen.signs.here,
            qmark=screen.signs.ask,
            style=_STYLE,
            **_terminal(screen),
        )
    )


def text(
    screen: Screen,
    message: str,
    default: str,
    problem: Callable[[str], str],
    *,
    words: Callable[[str], Iterable[str]] | None = None,
    below: Callable[[str], str] | None = None,
) -> Any:
    """A line of text in which `problem` finds nothing; `words` completes it, `below` shows what it means."""
    question = questionary.text(
        message,
        default=default,
        # where the toolbar shows the problem while it is typed, once is enough
        validate=lambda line: (" " if below and problem(line) else screen.fit(problem(line))) or True,
        qmark=screen.signs.ask,
        style=_STYLE,
        completer=_Words(words) if words else None,
        complete_while_typing=False,
        validate_while_typing=False,
        bottom_toolbar=(lambda: screen.fit(below(get_app().current_buffer.text))) if below else None,
        **_terminal(screen),
    )
    _pull_up(question)
    return _run(question)


def _keys(screen: Screen, message: str, keys: str, where: str) -> str:
    """What the keys do, as much of it as there is room for in the line of the question."""
    room = screen.width - len(f"{screen.signs.ask} {message} ")
    for hint in (f"({keys} · shift-tab back){where}", f"({keys}){where}", where.strip()):
        if len(shown := screen.fit(hint)) < room:
            return shown
    return " "


def _pull_up(question: questionary.Question) -> None:
    """Have what is said about a line stand right below it, not at the foot of the terminal."""
    layout = question.application.layout
    line = layout.current_window
    line.dont_extend_height = to_filter(True)
    question.application.layout = Layout(HSplit([layout.container, Window()]), line)


def _terminal(screen: Screen) -> dict[str, Any]:
    """Questions go to stderr, in as many colours as wanted, and leave no trace: the recap is printed by us."""
    return {
        "output": create_output(stdout=sys.stderr),
        "color_depth": None if screen.colour else ColorDepth.DEPTH_1_BIT,
        "erase_when_done": True,
    }


def _run(question: questionary.Question) -> Any:
    """Ask, with shift-tab for going back."""
    keys = KeyBindings()

    @keys.add("s-tab")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(result=BACK)

    own = question.application.key_bindings
    question.application.key_bindings = merge_key_bindings([*([own] if own else []), keys])
    return question.unsafe_ask()


class _Words(Completer):
    """Completes the last word of a line."""

    def __init__(self, words: Callable[[str], Iterable[str]]) -> None:
        self.words = words

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Every word that begins as the one before the cursor."""
        begun = document.get_word_before_cursor(pattern=None, WORD=True)
        # after the colon and the plus of NAME:PATH+PATH a path begins
        last = begun.replace("+", ":").rsplit(":", 1)[-1]
        if "=" in last:
            return
        for word in self.words(document.text):
            if word.startswith(last):
                yield Completion(word, start_position=-len(last))
