"""Answers in which every allowed pair (or three) of values comes together, in few rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from scaffold.errors import BadAnswer
from scaffold.questions.form import Form
from scaffold.trials.values import families

# The value of a question, as its place among those that are tried.
Choice = tuple[str, int]
Together = tuple[Choice, ...]


@dataclass(frozen=True)
class Row:
    """One whole set of answers, and which of the tried values it has."""

    choices: dict[str, int]
    answers: dict[str, Any]


def complete(
    form: Form, tried: dict[str, list[Any]], wanted: dict[str, int], order: Callable[[str, dict[str, int]], list[int]]
) -> Row | None:
    """The first row that has what is wanted, if there is one, trying the other values in the given order."""
    questions = list(form.questions.values())

    def go(number: int, choices: dict[str, int], context: dict[str, Any]) -> Row | None:
        if number == len(questions):
            return Row(choices, form.recorded(context)) if wanted.keys() <= choices.keys() else None
        question = questions[number]
        if question.name not in tried or not form.is_asked(question, context):
            if question.name in wanted:
                return None
            return go(number + 1, choices, {**context, question.name: form.default(question, context)})
        for place in [wanted[question.name]] if question.name in wanted else order(question.name, choices):
            value = tried[question.name][place]
            try:
                value = form.check(question, form.default(question, context) if value is None else value, context)
            except BadAnswer:
                continue
            found = go(number + 1, {**choices, question.name: place}, {**context, question.name: value})
            if found:
                return found
        return None

    return go(0, {}, {"_folder_name": "my-project"})


def simplest(form: Form, tried: dict[str, list[Any]], wanted: dict[str, int]) -> Row | None:
    """The row that has what is wanted, and the first value of everything else that goes with it."""
    return complete(form, tried, wanted, lambda name, _: list(range(len(tried[name]))))


def every(form: Form, tried: dict[str, list[Any]], size: int = 2) -> list[Row]:
    """Rows that hold every pair (or three, or more) of values that any project can hold, found greedily. The values of a
    family count as one in them, and each is in some row."""
    family = families(form, tried)

    def together(choices: Iterable[Choice]) -> Together:
        return _together(family.get(choice, choice) for choice in choices)

    left = dict.fromkeys(map(together, _all(tried, size)))  # a set that keeps its order
    left |= dict.fromkeys((choice,) for choice in family)
    rows: list[Row] = []
    while left:
        wanted = dict(next(iter(left)))
        del left[_together(wanted.items())]

        def most_new(name: str, choices: dict[str, int], wanted: dict[str, int] = wanted) -> list[int]:
            others = list(combinations({**wanted, **choices}.items(), size - 1))
            gain = [
                sum(together([(name, place), *some]) in left for some in others) + (((name, place),) in left)
                for place in range(len(tried[name]))
            ]
            # among equals each row begins elsewhere, or the first values would come again and again
            turn = [(place - len(rows)) % len(gain) for place in range(len(gain))]
            return sorted(range(len(gain)), key=lambda place: (-gain[place], turn[place]))

        row = complete(form, tried, wanted, most_new)
        if row is None:
            continue  # no project has them all
        rows.append(row)
        for some in combinations(row.choices.items(), size):
            left.pop(together(some), None)
        for choice in row.choices.items():
            left.pop((choice,), None)
    return rows


def telling_first(rows: list[Row], size: int = 2) -> list[Row]:
    """The rows in such an order that however many come first hold as many answers, and then as many of the pairs, as so
    few can, nearly."""

    def held(row: Row, size: int) -> set[Together]:
        return {_together(some) for some in combinations(row.choices.items(), size)}

    left, ordered = [(row, held(row, 1), held(row, size)) for row in rows], []
    while left:
        row, answers, pairs = max(left, key=lambda entry: (len(entry[1]), len(entry[2])))  # the first of equals
        ordered.append(row)
        left = [(other, one - answers, two - pairs) for other, one, two in left if other is not row]
    return ordered


def _all(tried: dict[str, list[Any]], size: int) -> Iterable[Together]:
    """So many values of different questions, in all ways, those of the questions with the most values first."""
    names = sorted(tried, key=lambda name: -len(tried[name]))
    for some in combinations(names, size):
        for places in product(*(range(len(tried[name])) for name in some)):
            yield tuple(zip(some, places, strict=True))


def _together(choices: Iterable[Choice]) -> Together:
    return tuple(sorted(choices))
