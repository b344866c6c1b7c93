"""Keep checkpoints of a released version, which every later one has to go on from: `python tools/keep_checkpoint.py v0.1.0`.

Each project below is made by that version's template, trained on tiny images, and stopped in the middle of an epoch.
Its run stays in `tests/reliability/checkpoints/<version>/<project>`, beside the answers and the settings that made it and what it
measures.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scaffold.render.rendering import render
from scaffold.updates.addresses import BUNDLE
from scaffold.updates.template_history import open_history
from tests.reliability.crash.projects import write_images

# Between them: both optimizers, batch norms, averages, parts of a batch, 16 bits, groups, random numbers in the model.
PROJECTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "vit": (
        {"model": "vit", "ema": True, "clip": 1.0, "accumulate": 2, "precision": "bf16", "logger": "none"},
        ["--dropout", "0.1", "--dim", "8", "--depth", "1", "--heads", "2"],
    ),
    "cnn": (
        {
            "losses": [{"name": "cross_entropy", "weight": 1.0}, {"name": "triplet", "weight": 0.5}],
            "optimizer": "sgd",
            "scheduler": "multistep",
            "groups_from": "fine-tune",
            "logger": "none",
        },
        ["--width", "4"],
    ),
}
# Trains in this process, as on a machine of no name, and asks itself to stop in the fifth step.
CODE = """
import os, platform, runpy, signal, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook

platform.node = lambda: "somewhere"
steps = []

def counted(*_):
    steps.append(1)
    if len(steps) == 5:
        os.kill(os.getpid(), signal.SIGTERM)

register_optimizer_step_pre_hook(counted)
sys.argv[0] = "train"
runpy.run_module("{package}.train", run_name="__main__")
"""
LEFT_OUT = shutil.ignore_patterns("lock", "train.log", "*.png", "3")  # of the checkpoints the newest one stays


def keep(version: str, folder: Path) -> None:
    """Makes the checkpoints of a version."""
    for name, (answers, flags) in PROJECTS.items():
        package = f"kept_{name}"
        with tempfile.TemporaryDirectory() as place:
            work = Path(place)
            template = open_history(BUNDLE, version, work / "history").check_out(version, work / "template")
            render({"project_name": package, **answers}, work / "project", template)
            write_images(work / "project" / "images")
            settings = ["--batch-size", "16", "--epochs", "2", "--log-every", "2", *flags]
            command = [sys.executable, "-c", CODE.format(package=package), "--data-dir", "images", *settings]
            done = subprocess.run(command, cwd=work / "project", check=False)
            if done.returncode != 143:
                raise SystemExit(f"the training of {name} was to be stopped, and ended with status {done.returncode}")
            measure = [sys.executable, "-m", f"{package}.evaluate", "run/1", "--step", "5"]
            measured = subprocess.run(measure, cwd=work / "project", check=True, capture_output=True, text=True).stdout
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(work / "project" / "run", folder / name / "run", ignore=LEFT_OUT)
        # the metrics come first; a report of each class and the pictures that were drawn follow
        values = dict(
            line.split() for line in takewhile(lambda line: len(line.split()) == 2, measured.splitlines()[1:])
        )
        made = {"answers": answers, "settings": settings, "measured": {key: float(values[key]) for key in values}}
        (folder / name / "made.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("give a released version: python tools/keep_checkpoint.py v0.1.0")
    keep(sys.argv[1], ROOT / "tests" / "reliability" / "checkpoints" / sys.argv[1])
