"""How a run stands (finished, stopped by a signal, or unfinished), and which checkpoints it has.

Type:  python -m <package>.engine run/1
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import checkpoint
from .errors import RunError
from .history import read_record
from .launch import exit_status


def show(run: Path) -> None:
    """Prints how a run stands, and a line for each checkpoint."""
    epochs, folder = read_record(run).options["epochs"], run / "checkpoints"
    found, _ = checkpoint.newest(folder)
    state = {} if found is None else found.state
    done = state.get("finished") or state.get("epoch", 0) >= epochs
    print("finished" if done else "stopped" if state.get("stopped") else "unfinished")
    for step in checkpoint.steps(folder):
        try:
            _, then, manifest = checkpoint.verify(folder / str(step))
        except RunError as error:
            print(error)
            continue
        files = [*manifest["files"].values()]
        size = sum(file["size"] for file in files) / 2**20
        mark = "  best" if state["best_step"] == step else ""
        print(f"step {step:>8}  epoch {then['epoch']:>4}  {size:>8.1f} MB  verified  {files[0]['sha256']}{mark}")


def main() -> int:
    """Shows the run given on the command line; returns the exit status."""
    with exit_status() as status:
        if len(sys.argv) != 2:
            raise RunError(f"give the folder of a run:   python -m {__package__} run/1")
        show(Path(sys.argv[1]))
    return status.code


if __name__ == "__main__":
    sys.exit(main())
