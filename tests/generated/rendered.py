"""Rendered projects whose code tests import into this process."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from scaffold import paths
from scaffold.questions.answer_types import MODEL
from scaffold.questions.answers import complete, gather
from scaffold.questions.form import Form
from scaffold.render.rendering import render
from scaffold.trials.rendered import write_own

# A small net with the five layer groups of the reference design.
NET = '''"""A net of five parts."""

import torch
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.interaction = nn.Conv2d(8, 8, 1)
        self.large_conv1_1 = nn.Conv2d(8, 8, (5, 1), padding=(2, 0))
        self.large_conv1_2 = nn.Conv2d(8, 8, (1, 5), padding=(0, 2))
        self.classifier = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.interaction(self.backbone(x))
        embedding = torch.relu(self.large_conv1_1(x) + self.large_conv1_2(x)).mean(dim=(2, 3))
        return self.classifier(embedding), embedding
'''


def render_project(folder: Path, **flags: Any) -> Path:
    """The project of these flags, in a folder of its name; a model `NAME.net:Net` comes with the net above."""
    form = Form(paths.template_root())
    answers = complete(form, gather(form, flags, preset=None, answers_file=None), folder.name)
    render(answers, folder)
    write_own(folder, MODEL.own_module(answers), NET)
    return folder


def own_tests(project: Path, *files: str) -> str:
    """What the tests of the project itself say, all or those in some files; they must pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def importable(folder: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Lets the modules of a project's package be imported by name, and forgets them afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield lambda name: importlib.import_module(f"{folder.name}.{name}")
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def write_images(folder: Path, classes: int = 4, train: int = 12, val: int = 5, size: int = 8) -> Path:
    """Images of noise in which a bright quarter tells the class."""
    import torch
    from torchvision.io import write_png

    dice = torch.Generator().manual_seed(0)
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            (folder / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                picture = torch.randint(0, 120, (3, size, size), generator=dice, dtype=torch.uint8)
                half = size // 2
                top, left = half * (label // 2 % 2), half * (label % 2)
                picture[:, top : top + half, left : left + half] += 130
                write_png(picture, str(folder / split / f"class{label}" / f"{number}.png"))
    return folder
