"""Checkpoints that are whole or not there: written beside, made safe, renamed; checked by their hashes before use.

`python -m <package>.engine.checkpoint run/1` lists those of a run.

A checkpoint is a folder `<step>` with `model.pt` and `optimizer.pt` (tensors), `state.json` (where the run was) and
`MANIFEST.json` (size and SHA-256 of each file, and what made it). There is no pointer to the newest one that could go
stale: the highest step that verifies is the newest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import torch

from .errors import RunError, report

FORMAT = 1


def save(folder: Path, step: int, tensors: dict[str, Any], state: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    """Makes the checkpoint `folder`/`step`; `tensors` maps names such as "model" to what `torch.save` can write.

    A crash at any point leaves either no such checkpoint or a whole one.
    """
    beside = folder / f".tmp-{step}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        facts: dict[str, Future[dict[str, Any]]] = {}
        with ThreadPoolExecutor(max_workers=1) as helper:  # hashes a file while it goes to the disk
            for name, content in tensors.items():
                with (beside / f"{name}.pt").open("wb") as file:
                    _save_tensors(content, file)
                    file.flush()
                    facts[f"{name}.pt"] = helper.submit(_facts, beside / f"{name}.pt")
                    os.fsync(file.fileno())
            write(beside / "state.json", json.dumps(state, indent=1).encode())
            facts["state.json"] = helper.submit(_facts, beside / "state.json")
        manifest = {
            "format": FORMAT,
            "files": {name: found.result() for name, found in facts.items()},
            "fingerprint": fingerprint,
        }
        write(beside / "MANIFEST.json", json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode())
        sync_folder(beside)
    except OSError as problem:
        shutil.rmtree(beside, ignore_errors=True)
        raise no_room(problem, _size(tensors), folder) from problem
    final = folder / str(step)
    if final.exists():  # the run was stopped between an epoch's last step and its evaluation, or it does not verify
        _set_aside(final)  # `purge` removes it, when the new one is safe
    beside.rename(final)
    sync_folder(folder)


def no_room(problem: OSError, needed: int, folder: Path) -> OSError:
    """What the disk refused, with the bytes that were needed and those that are free."""
    free = shutil.disk_usage(folder).free
    return OSError(f"{problem.strerror}: {needed / 2**20:.1f} MB needed, {free / 2**20:.1f} MB free in {folder}")


def write(path: Path, data: bytes) -> None:
    """Writes a file, and returns when it would survive a power cut."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes sure that names in a folder survive a power cut as well: new ones, and those that a rename has given."""
    if os.name == "nt":  # Windows cannot open folders, and writes their entries through
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def purge(folder: Path, keep: set[int]) -> None:
    """Removes the checkpoints that are not to be kept; called only when a newer one is safe.

    One that cannot be removed keeps no other from it; then there is an OSError at the end.
    """
    wrong: OSError | None = None
    for step in steps(folder):
        if step not in keep and (folder / str(step)).is_dir():
            try:
                shutil.rmtree(_set_aside(folder / str(step)))
            except OSError as problem:
                wrong = problem
    for left in [*folder.glob(".tmp-*"), *folder.glob(".del-*")]:
        shutil.rmtree(left, ignore_errors=True)
    if wrong:
        raise wrong


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, oldest first, whether it is good or not.

    A folder that cannot be read is an error: whoever took it for an empty one would begin again from nothing.
    """
    try:
        found = list(folder.iterdir())
    except OSError as problem:
        raise RunError(f"{folder} cannot be read ({problem.strerror}); restore it, or take --new-run", 4) from None
    return sorted(int(path.name) for path in found if path.name.isdecimal())


def problem(checkpoint: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty if every file is as it was written."""
    try:
        if not (checkpoint / "MANIFEST.json").is_file() or (checkpoint / "MANIFEST.json").stat().st_size > 1 << 20:
            return "MANIFEST.json is missing or no manifest"
        manifest = json.loads((checkpoint / "MANIFEST.json").read_text())
        signature = manifest.pop("sha256")
        if signature != _digest(manifest):
            return "MANIFEST.json was changed"
        if manifest["format"] != FORMAT:
            return f"format {manifest['format']} is not known here"
        for name, facts in manifest["files"].items():
            path = checkpoint / name
            if path.parent != checkpoint or path.is_symlink() or not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != facts["size"]:
                return f"{name} has another size than when it was written"
            if _sha256(path) != facts["sha256"]:
                return f"{name} was changed"
        if json.loads((checkpoint / "state.json").read_text())["step"] != int(checkpoint.name):
            return "it belongs to another step"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "MANIFEST.json is damaged"
    return ""


def newest(folder: Path) -> tuple[int | None, list[str]]:
    """The newest checkpoint that verifies, and a sentence for each newer one that does not.

    None means that there is no checkpoint at all. If there are some and none is good it is an error: to begin again
    from nothing would be the worst answer to a damaged disk.
    """
    complaints: list[str] = []
    for step in reversed(steps(folder)):
        wrong = problem(folder / str(step))
        if not wrong:
            return step, complaints
        complaints.append(f"checkpoint {step} is not used: {wrong}")
    if complaints:
        raise RunError(
            f"no checkpoint in {folder} is good ({'; '.join(complaints)}); restore one, or begin anew with --new-run", 4
        )
    return None, []


def load(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors by name and the state of a checkpoint that was verified; runs no code from it."""
    names = sorted(json.loads((checkpoint / "MANIFEST.json").read_text())["files"])
    try:
        tensors = {
            name.removesuffix(".pt"): torch.load(checkpoint / name, map_location="cpu", weights_only=True)
            for name in names
            if name.endswith(".pt")
        }
    except Exception as problem:  # whoever can write a manifest can write anything: torch has many words for it
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise RunError(f"{checkpoint} verifies, but holds something else than tensors ({reason})", 4) from None
    return tensors, json.loads((checkpoint / "state.json").read_text())


def best(folder: Path) -> int | None:
    """The step of the best checkpoint that is still there and good, else of the newest good one."""
    step, _ = newest(folder)
    if step is None:
        return None
    wanted = json.loads((folder / str(step) / "state.json").read_text())["best_step"]
    return wanted if wanted in steps(folder) and not problem(folder / str(wanted)) else step


def _save_tensors(content: Any, file: IO[bytes]) -> None:
    try:
        torch.save(content, file)
    except RuntimeError as problem:  # of torch, which hides what the disk has said
        if isinstance(problem.__context__, OSError):
            raise problem.__context__ from None
        raise


def _size(content: Any) -> int:
    """Bytes of the tensors in nested dictionaries."""
    return sum(map(_size, content.values())) if isinstance(content, dict) else getattr(content, "nbytes", 0)


def _set_aside(checkpoint: Path) -> Path:
    """Gives a checkpoint a name that is none, so that half of one never looks like one; returns where it is now."""
    gone = checkpoint.with_name(f".del-{checkpoint.name}")
    shutil.rmtree(gone, ignore_errors=True)
    return checkpoint.rename(gone)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _facts(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main() -> int:
    """Lists the checkpoints of the run given on the command line: step, epoch, size, state, hash of the weights."""
    try:
        if len(sys.argv) != 2 or not os.path.lexists(Path(sys.argv[1], "checkpoints")):
            raise RunError(f"give the folder of a run:   python -m {__package__}.checkpoint run/1")
        folder = Path(sys.argv[1], "checkpoints")
        found = steps(folder)
    except RunError as error:
        return report(error)
    for step in found:
        checkpoint = folder / str(step)
        wrong = problem(checkpoint)
        if wrong:
            print(f"step {step:>8}  {wrong}")
            continue
        state = json.loads((checkpoint / "state.json").read_text())
        files = json.loads((checkpoint / "MANIFEST.json").read_text())["files"]
        size = sum(facts["size"] for facts in files.values()) / 2**20
        mark = "  best" if state["best_step"] == step else ""
        weights = files["model.pt"]["sha256"]
        print(f"step {step:>8}  epoch {state['epoch']:>4}  {size:>8.1f} MB  verified  {weights}{mark}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
