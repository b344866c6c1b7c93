"""What is said to the person at the terminal: in which colours, and whether there is anybody to ask."""

import os
import sys
from typing import Any

import click

# The options that go with every command, as far as they were said: also for errors, when click's own context is gone.
settings: dict[str, Any] = {}


def show(text: str) -> None:
    """Say something to the person; results go to stdout instead."""
    colour = use_colour()
    for line in text.split("\n"):
        sign, colon, rest = line.partition(":")
        paint = {"error": "red", " help": "cyan", "note": "yellow"}.get(sign) if colon and colour else None
        click.echo(click.style(sign + colon, fg=paint, bold=True) + rest if paint else line, err=True, color=colour)


def use_colour() -> bool:
    """Whether stderr takes colour: as told, else as the environment and the terminal say."""
    told = settings.get("color", "auto")
    if told != "auto":
        return bool(told == "always")
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or os.environ.get("ACCESSIBLE"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stderr.isatty()


def has_somebody() -> bool:
    """Whether there is a person to ask."""
    unwanted = settings.get("no_input") or os.environ.get("CI")
    return not unwanted and sys.stdin.isatty() and sys.stderr.isatty()


def as_json_text(value: Any) -> str:
    """A value as JSON that people can read too."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
