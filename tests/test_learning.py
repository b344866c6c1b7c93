"""Each model learns the digits within four epochs, with scores and with embeddings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.rendered import render_project

How = tuple[dict[str, Any], float]  # answers, and what to expect of them at least, where chance has a tenth
SCORES: How = ({}, 0.85)
TRIPLETS: How = ({"task": "metric_learning", "losses": ["triplet=1"]}, 0.85)
AVERAGED: How = ({"ema": True}, 0.95)  # which random weights in the average would spoil
PAIRS: How = ({"task": "metric_learning", "losses": ["hinge_embedding=1"]}, 0.75)
EVERY_COMMIT = [("vit", SCORES), ("vit", TRIPLETS), ("resnet18", TRIPLETS), ("cnn", PAIRS), ("cnn", AVERAGED)]
NIGHTLY = [(model, how) for model in ("cnn", "vit", "resnet18") for how in (SCORES, AVERAGED, TRIPLETS, PAIRS)]


@pytest.mark.parametrize(
    ("model", "how"),
    EVERY_COMMIT + [pytest.param(*case, marks=pytest.mark.nightly) for case in NIGHTLY if case not in EVERY_COMMIT],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[0].get("losses", [*value[0]] or ["scores"])),
)
def test_it_learns(model: str, how: How, tmp_path: Path) -> None:
    answers, least = how
    project = render_project(tmp_path / "digits", model=model, **answers)
    command = [sys.executable, "-m", "digits.train", "--epochs", "4"]
    done = subprocess.run(
        command, check=False, cwd=project, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (project / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    assert max(value for name, value in rows[-1].items() if name in ("val/accuracy", "val/recall@1")) >= least
