"""The table of figures, `docs/reliability.md`: each nightly test writes its line.

python -m tests.reliability.crash.report        writes the table anew from the figures, and the card in the README of projects;
                                    done before a release, since the card is a part of the template
"""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
FIGURES = ROOT / "docs" / "reliability.json"
TABLE = ROOT / "docs" / "reliability.md"
CARD = ROOT / "template" / "parts" / "reliability.md.jinja"
RANKS_ONLY = {"B7 dead or frozen rank"}  # no row in the card of a project of one process
HEAD = """# How reliable a generated project is

Written by the tests themselves (`pytest -m nightly tests/reliability`), which break rendered projects
in every way below and compare what they come to with an undisturbed run: SHA-256 of weights, optimizer, moving average and
random generators, where the run stands, every row of `metrics.jsonl`, and the list of images of every batch. Never a
tolerance, but for B14, where what was trained with another version is measured again. The rows that begin with A are of the generator
and of updates (`pytest --figures tests/updates tests/health tests/commands tests/conversation`), those that begin with C of data and
runs as people have them (`pytest --figures tests/generated tests/reliability`, C6 with `-m nightly`).

Which answers go together is another proof: projects that hold every pair of answers are rendered and linted on every commit, some of
them trained. In these, models count by family, so that one of torchvision's ResNets stands for all of them; that each name
builds, with the layers that it is said to have, is tried of every one ([why](decisions/0016-what-is-tried-of-all-pairs.md)).

| promise | what was tried | reached | of | on |
|---|---|---|---|---|
"""


def fingerprint() -> str:
    """What decides over the figures."""
    return (
        f"torch {version('torch')}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} CPUs, 1 thread for each process"
    )


def note(promise: str, what: str, reached: int, of: int) -> None:
    """Keeps one figure, in place of an older one of the same, and writes the table."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    date = datetime.now(timezone.utc).date().isoformat()
    name = re.sub(r" \(\d+ kills\)", "", f"{promise}: {what}")
    figures[name] = {
        "promise": promise,
        "what": what,
        "reached": reached,
        "of": of,
        "date": date,
        "fingerprint": fingerprint(),
    }
    FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    write()


def ordered() -> list[dict[str, Any]]:
    """All figures, by promise: A of the generator and its updates, B of a project that trains, C of what it meets."""
    figures = json.loads(FIGURES.read_text()).values()
    return sorted(figures, key=lambda row: (row["promise"][0], int(row["promise"].split()[0][1:]), row["what"]))


def write() -> None:
    """Writes the table."""
    order = ordered()
    lines = [f"| {row['promise']} | {row['what']} | {row['reached']} | {row['of']} | {row['date']} |" for row in order]
    made = "; ".join(sorted({row["fingerprint"] for row in order}))
    TABLE.write_text(HEAD + "\n".join(lines) + f"\n\nMade with: {made}.\n")


def card(figures: list[dict[str, Any]]) -> str:
    """One row for each promise, with the sums over all that was tried."""
    text = "| promise | kept |\n|---|---:|\n"
    for promise in dict.fromkeys(row["promise"] for row in figures):
        rows = [row for row in figures if row["promise"] == promise]
        reached, of = (sum(row[name] for row in rows) for name in ("reached", "of"))
        line = f"| {promise.split(maxsplit=1)[1]} | {reached:,} of {of:,} |\n"
        text += f"{{% if distributed != 'none' %}}\n{line}{{% endif %}}\n" if promise in RANKS_ONLY else line
    newest = max(row["date"] for row in figures)
    return text + f"\n{newest}, {figures[0]['fingerprint']}.\n"


if __name__ == "__main__":
    write()
    CARD.write_text(card([row for row in ordered() if row["promise"].startswith("B")]))
