"""What is to be inspected: found by how it is written."""

import json
import os
import re
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer, CreateFailed, ProgramMissing, ScaffoldError, did_you_mean
from scaffold.health.project_python import find_python, run_probe
from scaffold.layers import probe
from scaffold.layers.model import Inspected, of_catalogue, of_tensors
from scaffold.questions.answer_types import MODEL, PACKAGE
from scaffold.questions.form import Form
from scaffold.system.shell import join
from scaffold.updates import answers_file

PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
LARGEST_HEADER = 100_000_000  # in bytes, as safetensors itself has it
KINDS = "a name (scaffold list models), timm:NAME, package.module:Class, file.py:Class, x.safetensors, run/1"


def look(form: Form, target: str, python: str, given: Mapping[str, Any], seconds: float) -> Inspected:
    """What a model is made of; a sentence where it cannot be known."""
    path = Path(target)
    if target.startswith("timm:"):
        return ask(form, "timm", target.removeprefix("timm:"), target, python, given, seconds)
    if re.fullmatch(r".+:[A-Za-z_]\w*", target):
        place = target.rpartition(":")[0]
        if place.endswith(".py"):
            _check_file(Path(place))
        return ask(form, "class", target, target, python, given, seconds)
    if (path / "options.json").is_file():
        return run(form, path, python, seconds)
    if path.suffix == ".safetensors" or target.endswith(".safetensors.index.json"):
        shapes = shapes_of(path)
        if not shapes:
            raise BadAnswer(f"{target} holds no tensors", at="TARGET")
        return of_tensors(target, shapes)
    if path.suffix in PICKLED:
        _check_file(path)
        load, save = f"torch.load({json.dumps(target)})", "from safetensors.torch import save_file"
        code = f'import torch; {save}; save_file({load}, "{path.stem}.safetensors")'
        raise BadAnswer(
            f"{target} is a pickle, which can run code of whoever made it, and is not opened here",
            at="TARGET",
            help=f"look at the class instead   scaffold inspect file.py:Class\nor turn its tensors into a file that holds no code   {join(['python', '-c', code])}",
        )
    if path.suffix == ".py":
        _check_file(path)
        raise BadAnswer(f"which class of {target}?", at="TARGET", help=join(["scaffold", "inspect", f"{target}:Class"]))
    if path.is_dir():
        raise BadAnswer(f"the folder {target} is no run: it has no options.json", at="TARGET", help=KINDS)
    known = MODEL.catalogue(form)
    if target in known:
        return of_catalogue(target, MODEL.facts_for(form, target))
    raise BadAnswer(
        f"there is nothing called '{target}' to look at" + did_you_mean(target, known), at="TARGET", help=KINDS
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise BadAnswer(f"there is no file {path}", at="TARGET")


def run(form: Form, path: Path, python: str, seconds: float) -> Inspected:
    """The model of a run, in the project that it lies in."""
    project = answers_file.find(path.resolve(), "inspect")
    package = PACKAGE.of(answers_file.read(project).answers)
    place = os.path.relpath(path.resolve(), project)
    return ask(form, "run", f"{place}|{package}", str(path), python, {}, seconds, project)


def ask(
    form: Form,
    kind: str,
    target: str,
    title: str,
    python: str,
    given: Mapping[str, Any],
    seconds: float,
    folder: Path | None = None,
) -> Inspected:
    """What the user's own Python says of a model."""
    folder = folder or Path.cwd()
    program = find_python(folder, python)
    try:
        words = [kind, target, json.dumps(dict(given))]
        offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = run_probe(program, probe, words, folder=folder, seconds=seconds, **offline)
    except subprocess.TimeoutExpired:
        raise _failed(f"{title} was not made within {seconds:g} seconds", "give it more   --seconds 600") from None
    except OSError as error:
        raise _failed(f"{program} cannot be run: {error.strerror}", "name another   --python PATH") from None
    for line in reversed(done.stdout.splitlines()):  # the model's own code may print anything before
        if line.startswith(probe.MARK):
            return _read(title, json.loads(line.removeprefix(probe.MARK)))
    said = done.stderr.strip().splitlines()
    raise _failed(f"{program} ended with {done.returncode}: {said[-1] if said else 'nothing said'}", "")


def _read(title: str, found: dict[str, Any]) -> Inspected:
    if "wrong" not in found:
        return Inspected(title, **found)
    message = found["message"]
    if found["wrong"] == "answer":
        raise BadAnswer(message, at="TARGET")
    if found["wrong"] == "missing":
        raise ProgramMissing(message, help="install it there, or name another Python   --python PATH")
    raise _failed(message, "")


def _failed(message: str, help: str) -> ScaffoldError:
    failed = CreateFailed(message, at="TARGET", help=help)
    failed.last_line = ""
    return failed


def shapes_of(path: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in a file of safetensors, or in those that an index names: their headers alone are read."""
    try:
        if path.name.endswith(".index.json"):
            files = sorted({*json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()})
            parts = [shapes_of(path.parent / file) for file in files]
            return {name: shape for part in parts for name, shape in part.items()}
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(path.stat().st_size, LARGEST_HEADER):
                raise ValueError
            header = json.loads(file.read(length))
        shapes = {name: [*map(int, one["shape"])] for name, one in header.items() if name != "__metadata__"}
        if any(side < 0 for shape in shapes.values() for side in shape):
            raise ValueError
        return shapes
    except FileNotFoundError:
        raise BadAnswer(f"there is no file {path}", at="TARGET") from None
    except (AttributeError, IsADirectoryError, LookupError, RecursionError, TypeError, ValueError, struct.error):
        raise BadAnswer(f"{path} is damaged, cut short or no file of safetensors", at="TARGET") from None
