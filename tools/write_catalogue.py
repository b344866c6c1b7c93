"""Writes what a model's layers hold into the facts beside it, counted on the model itself (needs torch and torchvision).

python tools/write_catalogue.py            write template/parts/model/<model>.yml from its marked line on, and
                                           template/parts/model/torchvision/<name>.yml with template/torchvision.yml
python tools/write_catalogue.py --check    only say whether they are up to date
python tools/write_catalogue.py --check efficientnet_b0 vit_b_16    of torchvision's look at these alone
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
from tools import torchvision_facts

MARK = "# Parameters, counted by tools/write_catalogue.py for ten classes:\n"
COUNTED = "# Written by tools/write_catalogue.py, counted for ten classes.\n"


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


def written_out(check: bool) -> dict[Path, str]:
    """The files of the models that the template writes out, those of tasks too, as they should be."""
    texts = {}
    own = [*(ROOT / "template/parts/model").glob("*.yml"), *(ROOT / "template/tasks").glob("*/model/*.yml")]
    for path in sorted(own):
        text = path.read_text()
        if "groups:" not in text or (MARK not in text and "layers:" in text):
            # a model of one's own, or of a library, whose layers are not known here; or the only one of a task,
            # which is not of ten classes, and which its test counts
            continue
        if MARK not in text and not check:  # a new one is built as one's own are, without its layers
            path.write_text(text + MARK + "layers: {}\nblocks: {}\n")
        texts[path] = text_of(path)
    return texts


def by_name(names: list[str]) -> dict[Path, str]:
    """The files of these models of torchvision, as they should be."""
    return {ROOT / f"template/parts/model/torchvision/{name}.yml": COUNTED + facts_text(name) for name in names}


def facts_text(name: str) -> str:
    """What is known of a model of torchvision, as YAML."""
    return yaml.safe_dump(torchvision_facts.facts_of(name), sort_keys=False, default_flow_style=None, width=110)


def index() -> str:
    """Every model of torchvision by name, with its parameters, as the files of facts have them."""
    lines = [COUNTED, "torchvision_models:\n  type: yaml\n  when: false\n  default:\n"]
    for path in sorted((ROOT / "template/parts/model/torchvision").glob("*.yml")):
        layers = yaml.safe_load(path.read_text())["layers"]
        lines.append(f"    {path.stem}: {sum(layers.values())}\n")
    return "".join(lines)


def main() -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    parser.add_argument("names", nargs="*", help="of torchvision's models, these alone")
    given = parser.parse_args()
    (ROOT / "template/parts/model/torchvision").mkdir(exist_ok=True)
    own = {path.stem for path in (ROOT / "template/parts/model").glob("*.yml")}
    texts = by_name(given.names or torchvision_facts.names(own))
    texts |= written_out(given.check)
    status = 0
    for path, text in texts.items():
        if not given.check:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            print(f"{path.name} is out of date; run: python tools/write_catalogue.py", file=sys.stderr)
            status = 1
    listed = ROOT / "template/torchvision.yml"
    if not given.check:
        listed.write_text(index())
    elif listed.read_text() != index():
        print(f"{listed.name} is out of date; run: python tools/write_catalogue.py", file=sys.stderr)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
