"""Many projects rendered at a time."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from scaffold.questions.answer_types import MODEL
from scaffold.render.rendering import plain_copy, render
from scaffold.trials.cases import Case

# Stands in for a model of the user's own, whatever its task calls the size of the head; with these names the groups
# `backbone` and `head` exist.
OWN_MODEL = '''"""A model of one's own."""

from torch import Tensor, nn


class {name}(nn.Module):
    def __init__(self, **size: int) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, sum(size.values()) or 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.head(self.norm(self.backbone(x)).relu().mean(dim=(2, 3)))
        return scores, scores
'''


def render_all(template: Path, cases: Sequence[Case], root: Path, jobs: int) -> None:
    """Render every case into a folder of its name."""
    source = plain_copy(template, root.parent / "template")
    root.mkdir()
    with ProcessPoolExecutor(min(jobs, 61)) as pool:
        work = [(case.answers, root / case.name, source) for case in cases]
        for case, (problem, seconds) in zip(cases, pool.map(_render, work), strict=True):
            case.seconds["render"] = seconds
            if problem:
                case.problems["render"] = [problem]
            else:
                case.done.add("render")


def _render(work: tuple[dict[str, Any], Path, Path]) -> tuple[str, float]:
    answers, folder, source = work
    began = time.monotonic()
    try:
        render(answers, folder, source)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the result
        return str(error), time.monotonic() - began
    own = MODEL.own_module(answers)
    if own is not None:
        module, name = own
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OWN_MODEL.format(name=name), encoding="utf-8")
    return "", time.monotonic() - began
