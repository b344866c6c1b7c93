"""Pictures of a run: curves.png, drawn from metrics.jsonl, and those that an evaluation draws."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from . import files
from .errors import disk_error


def draw(folder: Path) -> Path:
    """Draws `folder`/curves.png; returns its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second to import
    from matplotlib.figure import Figure

    curves: dict[str, list[tuple[int, float]]] = {}
    for line in files.read(folder / "metrics.jsonl").decode(errors="replace").splitlines():
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
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    files.replace(folder / "curves.png", drawn.getvalue())
    return folder / "curves.png"


def draw_into(folder: Path, draw: Callable[[Path], object]) -> list[Path]:
    """Lets `draw` make pictures in an empty folder, and puts each, whole, into `folder`; returns their paths."""
    with tempfile.TemporaryDirectory() as empty:
        draw(Path(empty))
        try:
            names = sorted(path.name for path in Path(empty).iterdir())
            for name in names:
                files.replace(folder / name, Path(empty, name).read_bytes())
            return [folder / name for name in names]
        except OSError as problem:
            raise disk_error(problem) from problem
