"""The picture at the end: curves of losses, metrics and learning rates, drawn from metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path


def draw(folder: Path) -> Path:
    """Draws `folder`/curves.png, one panel each for losses, metrics and learning rates; returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # costs a second: only who draws pays
    from matplotlib.figure import Figure

    curves: dict[str, list[tuple[int, float]]] = {}
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            points = [(name, (row["step"], float(value))) for name, value in row.items() if "/" in name]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # damaged: the others can be drawn
        for name, point in points:
            curves.setdefault(name, []).append(point)
    panels = {
        "losses": [name for name in curves if name.startswith("train/") or name == "val/loss"],
        "metrics": [name for name in curves if name.startswith("val/") and name != "val/loss"],
        "learning rates": [name for name in curves if name.startswith("lr/")],
    }
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in names:
            steps, values = zip(*curves[name], strict=True)
            axes.plot(steps, values, label=name, marker="." if len(steps) < 30 else "", linewidth=1.4)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if names:
            axes.legend(fontsize=8)
    path = folder / "curves.png"
    figure.savefig(path, dpi=110)
    return path
