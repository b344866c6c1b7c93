"""curves.png: losses, metrics and learning rates, drawn from metrics.jsonl."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path


def draw(folder: Path) -> Path:
    """Draws `folder`/curves.png; returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second to import
    from matplotlib.figure import Figure

    curves: dict[str, list[tuple[int, float]]] = {}
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, TypeError, KeyError, AttributeError):  # a damaged line; the others can be drawn
            row = json.loads(line)
            points = {name: (row["step"], float(value)) for name, value in row.items() if "/" in name}
            for name, point in points.items():
                curves.setdefault(name, []).append(point)
    panels = {
        "losses": [name for name in curves if name.startswith("train/") or name.endswith("/loss")],
        "metrics": [name for name in curves if name.startswith("val/") and not name.endswith("/loss")],
        "learning rates": [name for name in curves if name.startswith("lr/")],
    }
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in names:
            axes.plot(*zip(*curves[name], strict=True), label=name, marker="." if len(curves[name]) < 30 else "")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if names:
            axes.legend(fontsize=8)
    path = folder / "curves.png"
    figure.savefig(path, dpi=110)
    return path
