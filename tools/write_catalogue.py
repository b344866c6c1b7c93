"""Writes what a model's layers hold into the facts beside it, counted on the model itself (needs torch and torchvision).

python tools/write_catalogue.py            write template/parts/model/<model>.yml from its marked line on
python tools/write_catalogue.py --check    only say whether they are up to date
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.generated.rendered import importable, render_project  # the repository need not be installed

MARK = "# Parameters, counted by tools/write_catalogue.py for ten classes:\n"


def build(path: Path) -> nn.Module:
    """The model of a fresh project with ten classes, of the task that it belongs to."""
    tasks = {} if "tasks" not in path.parts else {"task": path.parts[-3]}
    with tempfile.TemporaryDirectory() as folder:
        project = render_project(Path(folder) / "counted", model=path.stem, **tasks)
        with importable(project) as module, torch.device("meta"):
            facts = {"classes": [*"0123456789"], "image_size": 448 if tasks else 8}
            model = module("model").build_model(module("options").Options(), facts)
    assert isinstance(model, nn.Module)
    return model


def counted(path: Path) -> dict[str, Any]:
    """The parameters of each layer of a model, and of each block inside one."""
    model = build(path)
    layers: dict[str, int] = {}
    blocks: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        top, *inner = name.split(".")
        layers[top] = layers.get(top, 0) + parameter.numel()
        if len(inner) > 1:
            block = f"{top}.{inner[0]}"
            blocks[block] = blocks.get(block, 0) + parameter.numel()
    return {"layers": layers, "blocks": blocks}


def text_of(path: Path) -> str:
    """The file of a model as it should be: what is said of it, with its layers counted anew."""
    said = path.read_text().partition(MARK)[0]
    found = counted(path)
    groups = yaml.safe_load(said)["groups"]
    pieces = [piece for name in ("backbone", "head") for piece in groups[name]]
    assert sorted(pieces) == sorted(found["layers"]), f"{path.name}: the groups backbone and head are not all layers"
    return said + MARK + yaml.safe_dump(found, sort_keys=False, default_flow_style=None, width=110)


def main() -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args().check
    status = 0
    for path in sorted(
        [*(ROOT / "template/parts/model").glob("*.yml"), *(ROOT / "template/tasks").glob("*/model/*.yml")]
    ):
        text = path.read_text()
        if "groups:" not in text or (MARK not in text and "layers:" in text):
            continue  # a model of one's own; the only one of a task, which is not of ten classes, and which its test counts
        if MARK not in text and not check:  # a new one is built as one's own are, without its layers
            path.write_text(text + MARK + "layers: {}\nblocks: {}\n")
        counted_anew = text_of(path)
        if not check:
            path.write_text(counted_anew)
        elif text != counted_anew:
            print(f"{path.name} is out of date; run: python tools/write_catalogue.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
