"""What is known of a model that is inspected, wherever it comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

# How the last layer is called in most models: all that a file of tensors tells of it.
HEADS = {"head", "heads", "fc", "classifier", "lm_head", "logits", "output", "embed_out", "score"}


@dataclass
class Inspected:
    """A model: its parameters by name, the layers that groups can take, and what can be guessed of it."""

    title: str
    parameters: dict[str, int]  # of each tensor, or of each layer where no more is known
    pieces: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    stages: dict[str, list[str]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    tied: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)  # those of a run
    lr: float = 0.0
    arguments: dict[str, Any] = field(default_factory=dict)
    in_catalogue: bool = False  # then `scaffold new` knows its layers as well

    @property
    def total(self) -> int:
        """All its parameters."""
        return sum(self.parameters.values())

    @property
    def backbone(self) -> list[str]:
        """All pieces but the head."""
        return [path for path in self.pieces if path not in self.head]

    def size(self, path: str) -> int:
        """The parameters in a layer."""
        return self._sizes.get(path, 0)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """The parameters in each layer, whatever its depth."""
        found: dict[str, int] = {}
        for name, count in self.parameters.items():
            for path in accumulate(name.split("."), lambda outer, inner: f"{outer}.{inner}"):
                found[path] = found.get(path, 0) + count
        return found

    def facts(self) -> dict[str, Any]:
        """The same as the catalogue has it, so that groups can be named by the same rules."""
        in_head = {path.split(".")[0] for path in self.head}
        # as whole layers, so that the path of a layer within names it more exactly
        tops = ((path, path.split(".")[0]) for path in self.backbone)
        backbone = list(dict.fromkeys(path if top in in_head else top for path, top in tops))
        groups = {**self.stages, "backbone": backbone, "head": self.head}
        return {
            "layers": {path: size for path, size in self._sizes.items() if "." not in path},
            "blocks": {path: size for path, size in self._sizes.items() if "." in path},
            "groups": {name: paths for name, paths in groups.items() if paths},
            "stages": [*self.stages, *(["head"] if self.head else [])],
        }


def of_catalogue(title: str, facts: Mapping[str, Any]) -> Inspected:
    """A model of the catalogue; what is known of it was counted before."""
    inside = {top: [path for path in facts["blocks"] if path.startswith(f"{top}.")] for top in facts["layers"]}
    pieces = [path for top, blocks in inside.items() for path in blocks or [top]]
    sizes = {**facts["layers"], **facts["blocks"]}
    groups = facts["groups"]

    def unfolded(paths: Sequence[str]) -> list[str]:
        return [piece for path in paths for piece in pieces if f"{piece}.".startswith(f"{path}.")]

    return Inspected(
        title,
        {path: sizes[path] for path in pieces},
        pieces,
        head=unfolded(groups["head"]),
        stages={name: list(groups[name]) for name in facts["stages"] if name != "head"},
        in_catalogue=True,
    )


def of_tensors(title: str, shapes: Mapping[str, Sequence[int]]) -> Inspected:
    """A file of tensors; what the model does with them cannot be known."""
    # they lie in the order of their names, in which layer 10 comes before layer 2
    names = sorted(shapes, key=lambda name: [(part.isdigit(), part.zfill(9)) for part in name.split(".")])
    parameters = {name: math.prod(shapes[name]) for name in names}
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    head = [path for path in layers if path.rpartition(".")[2] in HEADS]
    return Inspected(title, parameters, layers, head=head[-1:])
