"""Prompts line by line, for screen readers and terminals that cannot redraw: `<` goes back. Same calls as prompts."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scaffold.conversation.terminal import BACK, Option, Screen


def select(screen: Screen, message: str, options: Sequence[Option], default: Any, where: str = "") -> Any:
    """One of the options, by its number or its name."""
    screen.say(f"\n{message}{where}")
    for number, option in enumerate(options, 1):
        reason = f"  (not here: {option.why_not})" if option.why_not else ""
        details = "  ".join(part for part in (option.note, option.description) if part)
        screen.say(f"  {number}. {option.name}  {details}{reason}".rstrip())
    possible = [option for option in options if not option.why_not]
    preset = next((option for option in possible if option.value == default), possible[0])
    while True:
        line = _read(f"Number or name (Enter keeps {preset.name}, < goes back): ")
        if line == "<":
            return BACK
        if not line:
            return preset.value
        for number, option in enumerate(options, 1):
            if line in (str(number), option.name):
                if not option.why_not:
                    return option.value
                screen.say(f"{option.name} cannot be chosen here: {option.why_not}")
                break
        else:
            screen.say(f"There is no '{line}'; type a number from 1 to {len(options)}.")


def checkbox(screen: Screen, message: str, options: Sequence[Option], chosen: Sequence[Any], where: str = "") -> Any:
    """Some of the options, by their numbers or names."""
    screen.say(f"\n{message}{where}")
    for number, option in enumerate(options, 1):
        screen.say(f"  {number}. {option.name}  {option.note}".rstrip())
    keeps = " ".join(option.name for option in options if option.value in chosen)
    while True:
        line = _read(f"Numbers or names, with spaces between (Enter keeps {keeps}, < goes back): ")
        if line == "<":
            return BACK
        said = line.split() or keeps.split()
        known = {key: option for number, option in enumerate(options, 1) for key in (str(number), option.name)}
        if said and all(word in known for word in said):
            wanted = [known[word].value for word in said]
            return [option.value for option in options if option.value in wanted]
        screen.say(f"Type numbers from 1 to {len(options)}.")


def text(
    screen: Screen,
    message: str,
    default: str,
    problem: Callable[[str], str],
    *,
    words: Callable[[str], Iterable[str]] | None = None,
    below: Callable[[str], str] | None = None,
) -> Any:
    """A line of text in which `problem` finds nothing."""
    screen.say(f"\n{message}")
    if words:
        screen.say(f"  there is: {' '.join(words(''))}")
    while True:
        line = _read(f"(Enter keeps {default}, < goes back): ")
        if line == "<":
            return BACK
        wrong = problem(line or default)
        if not wrong:
            return line or default
        screen.say(wrong)


def _read(prompt: str) -> str:
    """One line from the person; the end of the input is a no."""
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise KeyboardInterrupt
    return line.strip()
