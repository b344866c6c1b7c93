"""What came of the trials, as a table and as a list of what failed."""

from collections.abc import Sequence

from scaffold.questions.answer_types import PACKAGE
from scaffold.trials.cases import STAGES, Case


def table(cases: Sequence[Case]) -> str:
    """A line for each case: what was tried, how it went, how long it took, and how its answers differ from the
    defaults."""
    lines = ["".join(f"{title:<8}" for title in ("case", *STAGES, "s")) + "answers"]
    for number, case in enumerate(cases, start=1):
        marks = ["FAILED" if stage in case.problems else "ok" if stage in case.done else "-" for stage in STAGES]
        seconds = f"{sum(case.seconds.values()):.1f}"
        cells = "".join(f"{cell:<8}" for cell in (f"{number:02}", *marks, seconds))
        lines.append(cells + case.differing)
    return "\n".join(lines)


def failures(cases: Sequence[Case]) -> str:
    """What failed, what failed alike together, with the command that makes the first such project again."""
    alike: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        for stage, lines in case.problems.items():
            text = "\n".join(f"    {line}" for line in lines[:30])
            text += f"\n    … and {len(lines) - 30} more" if len(lines) > 30 else ""
            text = text.replace(PACKAGE.of(case.answers), "PACKAGE").replace(case.name, "PROJECT")
            alike.setdefault((stage, text), []).append(case)
    parts = []
    for (stage, text), found in alike.items():
        others = f"   (and {len(found) - 1} more)" if len(found) > 1 else ""
        parts.append(f"{stage} failed{others}   {found[0].command}\n{text}")
    return "\n\n".join(parts)
