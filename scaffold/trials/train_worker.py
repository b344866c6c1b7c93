"""Trains rendered projects for a few steps, each in a process of its own that need not import torch again.

Run by `scaffold smoke` as a program: it reads the projects as JSON, and writes one line of JSON for each trial done.
"""

import importlib
import json
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from scaffold.system.signals import end_group
from scaffold.trials.trial import CONTEXT, trial

# What projects import, and what takes its time.
SHARED = (
    "torch",
    "torch.distributed",
    "torch.utils.data",
    "torchvision",
    "torchvision.transforms.v2",
    "matplotlib.pyplot",
    "tqdm",
    "tyro",
    "pytest",
)
SECONDS = 1800  # for one trial; fp16 is slow on a CPU


def main() -> None:
    """Trains and tests every project, so many at a time."""
    work = json.load(sys.stdin)
    for name in SHARED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    waiting = [(project, what) for project in work["projects"] for what in ("train", "quick")]
    running: list[tuple[BaseProcess, dict[str, Any], str, float]] = []
    try:
        while waiting or running:
            while waiting and len(running) < work["jobs"]:
                project, what = waiting.pop(0)
                process = CONTEXT.Process(target=trial, args=(project, what))
                process.start()
                running.append((process, project, what, time.monotonic()))
            for entry in list(running):
                process, project, what, began = entry
                seconds = time.monotonic() - began
                process.join(0.05)
                if process.exitcode is None and seconds < SECONDS:
                    continue
                end(process)
                running.remove(entry)
                log = Path(project["folder"], f"smoke-{what}.log")
                said = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
                last = "\n".join(said.splitlines()[-25:])
                problem = "" if process.exitcode == 0 else last or f"exit {process.exitcode}"
                result = {"name": project["name"], "what": what, "seconds": round(seconds, 1), "problem": problem}
                print(json.dumps(result), flush=True)
    finally:
        for process, *_ in running:
            end(process)


def end(process: BaseProcess) -> None:
    """Ends a trial with all that it has started, if it has not ended by itself."""
    if process.exitcode is None:
        if process.pid:
            end_group(process.pid)
        process.kill()
    process.join()


if __name__ == "__main__":
    main()
