"""Atomic checkpoints: written to a folder beside, synced to the disk, renamed; verified by their hashes before use.

A checkpoint is a folder `<step>` with `model.pt` and `optimizer.pt` (tensors), `state.json` (where the run was) and
`MANIFEST.json` (size and SHA-256 of each file, and what made it). There is no pointer to the newest one that could go
stale: the highest step that verifies is the newest.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import RunError, disk_error
from .files import read, regular, remove, sync_folder, write

FORMAT = 1


class Checkpoint(NamedTuple):
    """A checkpoint that was verified: its folder, where the run was, and what MANIFEST.json says."""

    folder: Path
    state: dict[str, Any]
    manifest: dict[str, Any]


def save(folder: Path, step: int, tensors: dict[str, Any], state: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    """Makes the checkpoint `folder`/`step`; `tensors` maps names such as "model" to what `torch.save` can write.

    A crash at any point leaves either no such checkpoint or a whole one.
    """
    beside, final = folder / f".tmp-{step}", folder / str(step)
    try:
        remove(beside)
        beside.mkdir(parents=True)
        hashed: dict[str, Future[dict[str, Any]]] = {}
        with ThreadPoolExecutor(max_workers=1) as helper:  # hashes a file while it goes to the disk
            for name, content in tensors.items():
                with (beside / f"{name}.pt").open("wb") as file:
                    torch.save(content, file)
                    file.flush()
                    hashed[f"{name}.pt"] = helper.submit(_size_and_hash, beside / f"{name}.pt")
                    os.fsync(file.fileno())
            write(beside / "state.json", json.dumps(state, indent=1).encode())
            hashed["state.json"] = helper.submit(_size_and_hash, beside / "state.json")
        files = {name: future.result() for name, future in hashed.items()}
        manifest = {"format": FORMAT, "files": files, "fingerprint": fingerprint}
        write(beside / "MANIFEST.json", json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode())
        sync_folder(beside)
    except (OSError, RuntimeError) as problem:
        with suppress(OSError):
            remove(beside)
        cause = problem if isinstance(problem, OSError) else problem.__context__  # torch hides what the disk has said
        if not isinstance(cause, OSError):
            raise
        raise no_room(cause, _num_bytes(tensors), folder) from problem
    if os.path.lexists(final):  # it was stopped before an epoch's evaluation, or does not verify
        _set_aside(final)  # `purge` removes it, when the new one is safe
    beside.rename(final)
    sync_folder(folder)


def no_room(problem: OSError, needed: int, folder: Path) -> OSError:
    """What the disk refused; if it is full, with the bytes that were needed and those that are free."""
    if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OSError(str(disk_error(problem)))
    free = shutil.disk_usage(folder).free
    return OSError(f"{problem.strerror}: {needed / 2**20:.1f} MB needed, {free / 2**20:.1f} MB free in {folder}")


def purge(folder: Path, keep: set[int]) -> None:
    """Removes all other checkpoints, once a newer one is safe; one that cannot be removed is only warned of."""
    for step in steps(folder):
        if step not in keep and (folder / str(step)).is_dir():
            try:
                shutil.rmtree(_set_aside(folder / str(step)))
            except OSError as problem:
                logging.getLogger(__package__).warning(f"the old checkpoint {step} could not be removed: {problem}")
    for left in [*folder.glob(".tmp-*"), *folder.glob(".del-*")]:
        with suppress(OSError):
            remove(left)


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, oldest first, whether it is good or not.

    A folder that cannot be read is an error: whoever took it for an empty one would begin again from nothing.
    """
    try:
        found = list(folder.iterdir())
    except OSError as problem:
        raise RunError(f"{folder} cannot be read ({problem.strerror}); restore it, or take --new-run", 4) from None
    return sorted(int(path.name) for path in found if path.name.isdecimal())


def verify(checkpoint: Path) -> Checkpoint:
    """A checkpoint of which every file is as it was written; any other is an error."""

    def damaged(wrong: str) -> RunError:
        return RunError(f"checkpoint {checkpoint.name} is not used: {wrong}", 4)

    try:
        path = checkpoint / "MANIFEST.json"
        if not path.is_file():
            raise damaged("MANIFEST.json is missing or not a file")
        manifest = json.loads(read(path))
        if manifest.pop("sha256") != _digest(manifest):
            raise damaged("MANIFEST.json was changed")
        if manifest["format"] != FORMAT:
            raise damaged(f"format {manifest['format']} is not known here")
        for name, written in manifest["files"].items():
            file = checkpoint / name
            if file.parent != checkpoint or file.is_symlink() or not file.is_file():
                raise damaged(f"{name} is missing or not a file")
            if _size_and_hash(file) != written:
                raise damaged(f"{name} was changed")
        state = json.loads(read(checkpoint / "state.json"))
        if state["step"] != int(checkpoint.name):
            raise damaged("it belongs to another step")
        return Checkpoint(checkpoint, state, manifest)
    except OSError as problem:
        raise damaged(str(disk_error(problem))) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise damaged(f"MANIFEST.json is damaged ({problem})") from None


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and a sentence for each newer one that does not.

    None means that there is no checkpoint at all. If there are some and none is good it is an error: to begin again
    from nothing would be the worst answer to a damaged disk.
    """
    complaints: list[str] = []
    for step in reversed(steps(folder)):
        try:
            return verify(folder / str(step)), complaints
        except RunError as problem:
            complaints.append(str(problem))
    if complaints:
        reasons = "; ".join(complaints)
        raise RunError(f"no checkpoint in {folder} is good ({reasons}); restore one, or begin anew with --new-run", 4)
    return None, []


def best(folder: Path) -> Checkpoint | None:
    """The best checkpoint if it is still there and good, else the newest good one."""
    found, _ = newest(folder)
    if found is not None:
        with suppress(RunError):
            return verify(folder / str(found.state["best_step"]))
    return found


@contextmanager
def loaded(checkpoint: Checkpoint) -> Iterator[dict[str, Any]]:
    """The tensors of a checkpoint by name; no code in it is run. What does not fit a model ends with a sentence."""
    names = [name for name in checkpoint.manifest["files"] if name.endswith(".pt")]
    try:
        yield {
            name.removesuffix(".pt"): torch.load(checkpoint.folder / name, map_location="cpu", weights_only=True)
            for name in names
        }
    except KeyError as name:
        raise RunError(f"{checkpoint.folder} lacks {name}", 4) from None
    except Exception as problem:  # a manifest can be forged, and torch has many words for what it cannot load
        reason = (str(problem) or repr(problem)).splitlines()[-1].strip()
        raise RunError(f"{checkpoint.folder} does not fit the model: {reason:.300}", 4) from None


def _num_bytes(content: Any) -> int:
    """Those of the tensors in nested dictionaries."""
    return sum(map(_num_bytes, content.values())) if isinstance(content, dict) else getattr(content, "nbytes", 0)


def _set_aside(checkpoint: Path) -> Path:
    """Gives a checkpoint a name that is none, so that half of one never looks like one; returns where it is now."""
    gone = checkpoint.with_name(f".del-{checkpoint.name}")
    remove(gone)
    return checkpoint.rename(gone)


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _size_and_hash(path: Path) -> dict[str, Any]:
    size, digest = 0, hashlib.sha256()
    with open(path, "rb", opener=regular) as file:
        while block := file.read(1 << 20):
            size += len(block)
            digest.update(block)
    return {"size": size, "sha256": digest.hexdigest()}
