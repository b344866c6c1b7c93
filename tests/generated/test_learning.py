"""Each model learns the digits within four epochs, with scores and with embeddings, and by how much they are turned."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.generated.rendered import render_project

How = tuple[dict[str, Any], float]  # answers, and what to expect of them at least, where chance has a tenth
SCORES: How = ({}, 0.85)
TRIPLETS: How = ({"task": "metric_learning", "losses": ["triplet=1"]}, 0.85)
AVERAGED: How = ({"ema": True}, 0.95)  # which random weights in the average would spoil
PAIRS: How = ({"task": "metric_learning", "losses": ["hinge_embedding=1"]}, 0.75)
EVERY_COMMIT = [("vit", SCORES), ("vit", TRIPLETS), ("resnet18", TRIPLETS), ("cnn", PAIRS), ("cnn", AVERAGED)]
ANGLES: How = ({"task": "regression"}, 0.95)  # of R2, where the mean of all has 0
EVERY_COMMIT.append(("cnn", ANGLES))
NIGHTLY = [(model, how) for model in ("cnn", "vit", "resnet18") for how in (SCORES, AVERAGED, TRIPLETS, PAIRS, ANGLES)]


@pytest.mark.parametrize(
    ("model", "how"),
    EVERY_COMMIT + [pytest.param(*case, marks=pytest.mark.nightly) for case in NIGHTLY if case not in EVERY_COMMIT],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[0].get("losses", [*value[0]] or ["scores"])),
)
def test_it_learns(model: str, how: How, tmp_path: Path) -> None:
    answers, least = how

    assert reached(tmp_path / "digits", "--epochs", "4", model=model, **answers) >= least


@pytest.mark.nightly
def test_a_project_of_default_answers_tells_angles(tmp_path: Path) -> None:
    assert reached(tmp_path / "digits", task="regression") >= 0.98


def reached(folder: Path, *flags: str, **answers: Any) -> float:
    """How good a project of these answers is at the end of its training."""
    project = render_project(folder, **answers)
    command = [sys.executable, "-m", f"{folder.name}.train", *flags]
    done = subprocess.run(
        command, check=False, cwd=project, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (project / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    return max(float(rows[-1].get(f"val/{name}", 0)) for name in ("accuracy", "recall@1", "r2"))
