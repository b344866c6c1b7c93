"""Projects trained for a few steps, by a program that imports torch once for all of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from scaffold.questions.answer_types import CLIP, DATA, GROUPS_FROM, LAYER_GROUPS, LR, WEIGHTS
from scaffold.questions.form import Answers, Form
from scaffold.trials.cases import Case


def from_nothing(form: Form, answers: Answers) -> list[list[str]]:
    """The flags with which a network learns from random weights, which is all that there is to begin with: one rate for
    all layers, as high as the template proposes; and for one that learns too little so, its gradient clipping as well,
    since the steps of SGD are as short as their gradients are clipped."""
    own = {LR.name, GROUPS_FROM.name, LAYER_GROUPS.name, CLIP.name}
    others = {name: value for name, value in answers.items() if name not in own}
    usual = form.fill({**others, WEIGHTS.name: "none"}, "p")
    groups = [word for group in LAYER_GROUPS.of(answers) for word in (f"--groups.{group['name']}", "1")]
    flags = ["--lr", str(LR.of(usual)), *groups]
    return [flags, [*flags, "--clip", str(CLIP.of(usual))]]


def try_all(cases: Sequence[Case], root: Path, jobs: int, say: Callable[[str], None]) -> None:
    """Train cases for a few steps and run their own quick tests, sharing one import of torch."""
    if not cases:
        return
    form = Form(root / "template")
    work = {
        "jobs": jobs,
        "projects": [
            {
                "name": case.name,
                "folder": str(root / "projects" / case.name),
                "answers": case.answers,
                "sample": DATA.sample(form, case.answers),
                "from_nothing": from_nothing(form, case.answers),
            }
            for case in cases
        ],
    }
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("RANK", "WORLD_SIZE")}
    by_name = {case.name: case for case in cases}
    process = subprocess.Popen(
        [sys.executable, "-m", "scaffold.trials.train_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(work))
        process.stdin.close()
        for line in process.stdout:
            result = json.loads(line)
            case, what = by_name[result["name"]], result["what"]
            case.done.add(what)
            case.seconds[what] = result["seconds"]
            if result["problem"]:
                case.problems[what] = result["problem"].splitlines()
            say(f"{what}: {case.name} {'failed' if result['problem'] else 'is fine'} ({result['seconds']} s)")
    for case in cases:
        for what in ("train", "quick"):
            if what not in case.done:
                case.problems[what] = [f"the trial ended without a result (exit {process.returncode})"]
