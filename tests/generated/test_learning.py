"""Each model learns the digits within four epochs, with scores and with embeddings, and by how much they are turned."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.generated.rendered import importable, render_project

How = tuple[dict[str, Any], float]  # answers, and what to expect of them at least, where chance has a tenth
SCORES: How = ({}, 0.85)
TRIPLETS: How = ({"task": "metric_learning", "losses": ["triplet=1"]}, 0.85)
AVERAGED: How = ({"ema": True}, 0.95)  # which random weights in the average would spoil
PAIRS: How = ({"task": "metric_learning", "losses": ["hinge_embedding=1"]}, 0.75)
METRICS = ("accuracy", "recall@1", "triplet_accuracy", "r2", "mAP")
EVERY_COMMIT = [("vit", SCORES), ("vit", TRIPLETS), ("resnet18", TRIPLETS), ("cnn", PAIRS), ("cnn", AVERAGED)]
ANGLES: How = ({"task": "regression"}, 0.95)  # of R2, where the mean of all has 0
EVERY_COMMIT.append(("cnn", ANGLES))
LABELS: How = ({"task": "multi_label"}, 0.7)  # of mean average precision, where guessing has a fifth
EVERY_COMMIT.append(("cnn", LABELS))
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


@pytest.mark.nightly
def test_a_project_of_default_answers_tells_which_digits_there_are(tmp_path: Path) -> None:
    assert reached(tmp_path / "digits", task="multi_label") >= 0.97


@pytest.mark.nightly
def test_a_project_of_default_answers_tells_positives_from_negatives(tmp_path: Path) -> None:
    assert reached(tmp_path / "digits", task="triplet_learning") >= 0.99


@pytest.mark.nightly
def test_the_average_is_no_worse_than_the_weights(tmp_path: Path) -> None:
    """By more than noise, which is two of the 355 images, at the end of each of three runs of default answers."""
    assert reached(tmp_path / "averaged", "--seeds", "3", ema=True) >= 0.98
    with importable(tmp_path / "averaged") as module:
        for run in (1, 2, 3):
            folder = tmp_path / "averaged" / "run" / str(run)
            opt = module("engine").read_options(folder, module("options").Options)
            opt = replace(opt, data_dir=str(tmp_path / "averaged" / opt.data_dir))
            newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
            found = {}
            with module("engine").Process.start(opt) as process:
                train_set, val_set = module("data").load_data(opt, process)
                net = module("model").build_model(opt, train_set.facts)
                for name in ("model", "ema"):
                    net.load_state_dict(torch.load(newest / f"{name}.pt", weights_only=True))
                    loader = module("data").val_loader(val_set, opt, process)
                    metrics = module("evaluate").evaluate(net, loader, process, opt, train_set.facts)
                    found[name] = metrics.compute()["accuracy"]
            assert found["ema"] >= found["model"] - 2.5 / len(val_set), (run, found)


def reached(folder: Path, *flags: str, **answers: Any) -> float:
    """How good a project of these answers is at the end of its training."""
    project = render_project(folder, **answers)
    command = [sys.executable, "-m", f"{folder.name}.train", *flags]
    done = subprocess.run(
        command, check=False, cwd=project, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (project / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    return max(float(rows[-1].get(f"val/{name}", 0)) for name in METRICS)
