"""Writes template/catalogue.yml: the layers of every model, counted on the model itself (needs torch and torchvision).

python tools/write_catalogue.py            write it
python tools/write_catalogue.py --check    only say whether it is up to date
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import jinja2
import torch
import yaml
from torch import nn

ROOT = Path(__file__).resolve().parent.parent

# What torch cannot tell: which layers belong together. A stage is a group of the `gradual` strategy, input first.
RESNET = {
    "head": ["fc"],
    "stages": {
        "stem": ["conv1", "bn1"],
        "layer1": ["layer1"],
        "layer2": ["layer2"],
        "layer3": ["layer3"],
        "layer4": ["layer4"],
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "cnn": {
        "head": ["head"],
        "stages": {"stem": ["conv1", "bn1"], "middle": ["conv2", "bn2"], "top": ["conv3", "bn3"]},
    },
    "resnet18": RESNET,
    "resnet34": RESNET,
    "resnet50": RESNET,
    "vit": {
        "head": ["head"],
        "stages": {
            "stem": ["position", "patches"],
            "early": ["blocks.0", "blocks.1"],
            "late": ["blocks.2", "blocks.3", "norm"],
        },
    },
}
OPTIONS = types.SimpleNamespace(
    classes=tuple("0123456789"), image_size=8, width=32, patch_size=2, dim=128, depth=4, heads=4, dropout=0.0
)


def build(name: str) -> nn.Module:
    """The model of a fresh project with ten classes, on the meta device."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    source = (ROOT / "template/parts/model" / f"{name}.py.jinja").read_text()
    code = environment.from_string(source).render(has_head=True)
    namespace: dict[str, Any] = {"__name__": f"{name}_model"}
    for line in ("errors import RunError", "options import Options"):  # of the project, which is not there
        code = code.replace(f"from .{line}\n", f"{line.split()[-1]} = object\n")
    exec(code, namespace)  # noqa: S102  # a file of this repository
    with torch.device("meta"):
        model = namespace["build_model"](OPTIONS)
    assert isinstance(model, nn.Module)
    return model


def entry(name: str) -> dict[str, Any]:
    """The catalogue's entry of a model: parameters of each layer, of each block inside one, and the named groups."""
    model = build(name)
    layers: dict[str, int] = {}
    blocks: dict[str, int] = {}
    for path, parameter in model.named_parameters():
        top, *inner = path.split(".")
        layers[top] = layers.get(top, 0) + parameter.numel()
        if isinstance(getattr(model, top), (nn.Sequential, nn.ModuleList)):
            block = f"{top}.{inner[0]}"
            blocks[block] = blocks.get(block, 0) + parameter.numel()
    head, stages = MODELS[name]["head"], MODELS[name]["stages"]
    groups = {**stages, "backbone": [layer for layer in layers if layer not in head], "head": head}
    return {"layers": layers, "blocks": blocks, "groups": groups, "stages": [*stages, "head"]}


class PlainDumper(yaml.SafeDumper):
    """Writes equal lists out each time, instead of pointing back at the first."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def catalogue() -> str:
    """The whole file."""
    top = (
        "# The layers of every model, with their parameters for ten classes, and the names of groups of them.\n"
        "# A fact for copier.yml, never asked. Written by tools/write_catalogue.py, checked against torch by the tests.\n"
    )
    entries = {name: entry(name) for name in MODELS}
    fact = {"catalogue": {"type": "yaml", "when": False, "default": entries}}
    body = yaml.dump(fact, Dumper=PlainDumper, sort_keys=False, default_flow_style=None, width=110)
    return top + body


def main() -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is out of date")
    path = ROOT / "template/catalogue.yml"
    text = catalogue()
    if parser.parse_args().check:
        if path.read_text() != text:
            print(f"{path.name} is out of date; run: python tools/write_catalogue.py", file=sys.stderr)
            return 1
    else:
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
