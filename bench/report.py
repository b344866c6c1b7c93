"""Writes docs/performance.md with its plots, and docs/gpu.md, from what was measured: python -m bench.report"""

from __future__ import annotations

import json
from typing import Any

from bench.measure import RESULTS, ROOT, Table, text

SUBJECTS = ("step", "input", "epochs", "ranks", "saving", "generator", "growth", "memory")
DOCS = ROOT / "docs"
HEAD = """# How fast it is

Absolute times mean nothing on a machine that others use, so contenders take turns in one run, and what counts is the
median of the ratios within each turn. Each table is written by its script, `python -m bench.<subject>`
(`pip install -e ".[bench]"`), and this page by `python -m bench.report`. [GPUs have a page
of their own](gpu.md).

"A over B" is the time of A divided by that of B: below 1, A is faster. *Generated* is the `train.py` of a project with everything
on; the *bare loop* is what everybody writes, without schedule, logging and checkpoints; *tuned by hand* is the fastest one that
we could write without compiling, with as many groups in the optimizer as the project has, or with one.

![Times as many as the generated code](performance.png)

"""

GPU_HEAD = """# On a GPU

{state}

`bench/gpu.py` finds out, in at most eight minutes on one card:

- whether the quick tests and `test_resume` of five unlike projects pass there: the default cnn, resnet50 in bf16, metric learning
  with a transformer, DDP, and FSDP, both with averaged weights and batches in parts;
- whether runs that are killed at random and started again, several at a time, end with the very bits of one that was left alone;
- whether a step ever waits for the card between those that are logged;
- how many images a second a project trains on, beside the fastest loop that we could write by hand, Lightning and accelerate, and
  how much memory each takes.

The machine with the card needs torch and torchvision (Lightning and accelerate are compared with where they are there), but neither
a network nor anything of this repository. Here:

```sh
python -m bench.gpu prepare carried     # a folder of some megabytes: projects, wheels in pure Python, one script
```

Carry the folder to that machine by whatever means there are, and there:

```sh
python carried/gpu.py --out results     # --parts resume,waits and the like run some of it
```

It writes `results/gpu.json` anew after every part, and `results/gpu.log` with all that was said. Each part is a process with a share
of the time: one that crashes, hangs or runs out of memory ends alone, and what no time was left for is named. Bring `gpu.json` back
to `bench/results`; `python -m bench.report` then writes this page. `--device cpu` runs the same in tiny, to see that it works.
"""
UNTESTED = """**GPUs are untested.** Nobody has run this on one yet: all that is promised was tried on CPUs, and what generated code does for
GPUs (pinned memory, channels_last, algorithms that repeat, no reading between logged steps) follows torch's documentation."""


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
    (DOCS / "gpu.md").write_text(gpu_page(gpu_result()), encoding="utf-8")


def gpu_result() -> dict[str, Any] | None:
    """What was found on a GPU, if anything was; a run on a CPU only shows that the script works."""
    path = RESULTS / "gpu.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return result if result and result["device"] != "cpu" and "card" in result["versions"] else None


def gpu_page(result: dict[str, Any] | None) -> str:
    """docs/gpu.md: what was found, with card and date, or that nothing was."""
    if result is None:
        return GPU_HEAD.format(state=UNTESTED)
    facts = dict(result["versions"])
    state = f"Tried on one **{facts.pop('card')}** on {result['date']}; all that was found is below."
    lines = [GPU_HEAD.format(state=state)]
    lines += ["## What was wanted, and what was found\n", "| | wanted | found | |", "|---|---:|---:|---|"]
    for aim in result["aims"]:
        lines.append(f"| {aim['what']} | {aim['wanted']} | {aim['found']} | {'' if aim['met'] else 'missed'} |")
    for part in result["parts"]:
        lines.append(f"\n## {part['name']}: {part['what']}\n")
        seconds = f" in {part['seconds']:.0f} s" if part["state"] == "done" else ""
        lines.append(f"{part['state'].capitalize()}{seconds}.")
        for fields in result["tables"]:
            if fields["part"] == part["name"]:
                table = Table(**{name: value for name, value in fields.items() if name != "part"})
                lines.append(f"\n**{table.title}**: {table.how}.\n\n{text(table)}")
        said = [
            (trouble["where"], trouble["said"]) for trouble in result["troubles"] if trouble["part"] == part["name"]
        ]
        said += [("its last words", part["tail"])] if part.get("tail") else []
        for where, words in said:
            lines.append(f"\nWhat went wrong, {where}:\n\n```text\n{words.replace('```', '')}\n```")
    versions = ", ".join(f"{package} {version}" for package, version in facts.items())
    lines.append(f"\nMeasured on {result['date']} with {versions}.")
    return "\n".join(lines) + "\n"


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
