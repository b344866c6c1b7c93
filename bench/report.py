"""Writes docs/performance.md and its plots from what was measured: python -m bench.report"""

from __future__ import annotations

import json
from typing import Any

from bench.measure import RESULTS, ROOT, Table, text

SUBJECTS = ("step", "input", "epochs", "ranks", "saving", "generator", "growth", "memory")
DOCS = ROOT / "docs"
HEAD = """# How fast it is

Absolute times mean nothing on a machine that others use, so contenders take turns in one run, and what counts is the
median of the ratios within each turn. Each table is written by its script, `python -m bench.<subject>`
(`pip install -e ".[bench]"`), and this page by `python -m bench.report`. No GPU was at hand; the scripts run on one as they are.

"A over B" is the time of A divided by that of B: below 1, A is faster. *Generated* is the `train.py` of a project with everything
on; the *bare loop* is what everybody writes, without schedule, logging and checkpoints; *tuned by hand* is the fastest one that
we could write without compiling, with as many groups in the optimizer as the project has, or with one.

![Times as many as the generated code](performance.png)

"""


def main() -> None:
    results = {
        name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in SUBJECTS
        if (RESULTS / f"{name}.json").exists()
    }
    lines = [HEAD, "## What was wanted, and what was found\n", "| | wanted | found | |", "|---|---:|---:|---|"]
    for result in results.values():
        for aim in result["aims"]:
            lines.append(f"| {aim['what']} | {aim['wanted']} | {aim['found']} | {'' if aim['met'] else 'missed'} |")
    for name, result in results.items():
        lines.append(f"\n## `python -m bench.{name}`")
        for fields in result["tables"]:
            table = Table(**fields)
            lines.append(f"\n**{table.title}**: {table.how}.\n\n{text(table)}")
        if any(fields["points"] for fields in result["tables"]):
            lines.append(f"\n![What grows with what]({name}.png)")
            plot_growth(result["tables"], name)
        versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
        lines.append(f"\nMeasured on {result['date']} with {versions}.")
    plot_ratios(results)
    (DOCS / "performance.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def plot_ratios(results: dict[str, Any]) -> None:
    """Bars: how many times the time of the generated code others take, for the comparisons that people ask for."""
    from matplotlib.figure import Figure

    chosen = [
        ("step", "A step of a small network, adamw"),
        ("step", "A step of resnet18"),
        ("input", "Images from files, no workers"),
        ("epochs", "The digits as they are"),
        ("generator", "A new project"),
    ]
    chosen = [(subject, title) for subject, title in chosen if subject in results]
    figure = Figure(figsize=(13, 3), layout="constrained")
    for axes, (subject, title) in zip(figure.subplots(1, len(chosen)), chosen, strict=True):
        table = next(table for table in results[subject]["tables"] if table["title"] == title)
        rows = {row[0]: float(row[2]) for row in table["rows"]}
        ours = next(name for name in rows if name in ("generated", "scaffold new --yes"))
        bars = {name: value / rows[ours] for name, value in rows.items() if not name.startswith("tuned")}
        colours = ["tab:blue" if name == ours else "tab:gray" for name in bars]
        axes.barh(list(bars), list(bars.values()), color=colours)
        axes.axvline(1, color="tab:blue", linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
    figure.savefig(DOCS / "performance.png", dpi=110)


def plot_growth(tables: list[dict[str, Any]], name: str) -> None:
    """Time over size, both in powers of ten, beside a line that is as steep as linear growth."""
    from matplotlib.figure import Figure

    drawn = [table for table in tables if table["points"]]
    figure = Figure(figsize=(13, 3.2), layout="constrained")
    for axes, table in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        for label, points in table["points"].items():
            sizes, times = zip(*points, strict=True)
            axes.loglog(sizes, times, marker="o", label=label)
            axes.loglog(sizes, [times[-1] * size / sizes[-1] for size in sizes], color="tab:gray", linewidth=0.8)
        axes.set(title=table["title"], xlabel=table["columns"][0], ylabel="seconds")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(DOCS / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main()
