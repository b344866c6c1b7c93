"""Many projects rendered at a time."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from scaffold.questions.answer_types import DATA, MODEL
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy, render
from scaffold.trials.cases import Case

# Stands in for a model of the user's own, whatever its task calls the size of the head; with these names the groups
# `backbone` and `head` exist.
OWN_MODEL = '''"""A model of one's own."""

from torch import Tensor, nn
from torch.nn import functional as F


class {name}(nn.Module):
    def __init__(self, **size: int) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(32, sum(size.values()) or 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x[:, :3, None, None] if x.ndim == 2 else x  # features
        scores = self.head(F.adaptive_avg_pool2d(self.norm(self.backbone(x)).relu(), 2).flatten(1))
        return scores, scores
'''

# What makes its targets, numbers from 0 to 3, such as a task needs.
UNITS = {"classes": "", "numbers": "[None].float()", "labels": "[None].gt(1).float()"}
# Stands in for data of the user's own, with targets of the given facts.
OWN_DATA = '''"""Data of one's own."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset


class {name}(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, folder: Path, opt: Any, facts: dict[str, Any] | None) -> None:
        self.inputs = torch.load(folder / "inputs.pt")
        self.labels = torch.arange(len(self.inputs)) % 4
        self.facts: dict[str, Any] = {{"classes": [*"abcd"], "targets": ["a"], "target_mean": [1.5], "labels": ["a"]}}

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self.inputs[number], self.labels[number]{unit}

    @staticmethod
    def write_sample(folder: Path, train: int, val: int) -> None:
        noise = torch.Generator().manual_seed(0)
        for split, count in (("train", train), ("val", val)):
            (folder / split).mkdir()
            inputs = torch.rand(count, 3, 32, 32, generator=noise)
            for number, image in enumerate(inputs):  # a bright quarter for each label
                top, left = 16 * (number % 4 // 2), 16 * (number % 2)
                image[:, top : top + 16, left : left + 16] += 1
            torch.save(inputs, folder / split / "inputs.pt")
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
    write_own(folder, MODEL.own_module(answers), OWN_MODEL)
    if DATA.own_module(answers) is not None:
        unit = UNITS[DATA.targets(Form(source), answers)]
        write_own(folder, DATA.own_module(answers), OWN_DATA, unit=unit)
    return "", time.monotonic() - began


def write_own(folder: Path, own: tuple[str, str] | None, text: str, **words: str) -> None:
    """Writes a class that stands in for one of the user's own."""
    if own is not None:
        module, name = own
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(name=name, **words), encoding="utf-8")
