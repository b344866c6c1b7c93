"""What a model is made of, as torch has it: pieces that layer groups can take, its head, its stages.

It is run by a project's own Python as well, so it imports nothing of torch-scaffold, and torch only where it is called.
"""

import math
from collections.abc import Iterator
from typing import Any

# Modules that only hold the layers of a network: one looks into them.
_TRUNKS = {
    "backbone",
    "base_model",
    "bert",
    "blocks",
    "body",
    "classifier",
    "decoder",
    "encoder",
    "features",
    "h",
    "heads",
}
_TRUNKS |= {"layer", "layers", "model", "module", "net", "network", "resblocks", "stages", "transformer", "trunk"}
_TRUNKS |= {"trunk_output", "visual"}


def pieces(net: Any, prefix: str = "") -> Iterator[str]:
    """The paths of the layers that together hold every parameter: blocks of features, and what stands beside them."""
    yield from (prefix + name for name, _ in net.named_parameters(recurse=False))
    for name, layer in net.named_children():
        inner = any(next(child.parameters(), None) is not None for child in layer.children())
        if inner and name in _TRUNKS:
            yield from pieces(layer, f"{prefix}{name}.")
        elif next(layer.parameters(), None) is not None:
            yield prefix + name


def size_of(net: Any, path: str) -> int:
    """The number of parameters in a layer, or of one parameter."""
    return sum(one.numel() for name, one in net.named_parameters() if f"{name}.".startswith(f"{path}."))


def last_layer(net: Any) -> str:
    """The path of the last layer that multiplies by a matrix, which gives the scores of a classifier."""
    found = [
        name
        for name, layer in net.named_modules()
        if not any(True for _ in layer.children()) and getattr(getattr(layer, "weight", None), "ndim", 0) > 1
    ]
    return found[-1] if found else ""


def first_convolution(net: Any) -> str:
    """The path of the layer that sees the channels of images."""
    from torch import nn

    return next((name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)), "")


def sides(net: Any, paths: list[str], image: Any) -> dict[str, int]:
    """The side of what each of these layers gives for an image: 0 for a sequence, 1 for a vector."""
    found: dict[str, int] = {}

    def note(path: str) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple | list) and output else output
            dims = getattr(output, "ndim", 2)
            found[path] = {4: output.shape[2] if dims == 4 else 1, 3: 0}.get(dims, 1)

        return hook

    layers = {path: layer for path, layer in net.named_modules() if path in paths}
    hooks = [layer.register_forward_hook(note(path)) for path, layer in layers.items()]
    try:
        net(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def stages(net: Any, paths: list[str], seen: dict[str, int]) -> dict[str, list[str]]:
    """The layers from the input to the output, in stages: a new one where features shrink; each block of a transformer."""
    layers = dict(net.named_modules())
    found: list[list[str]] = []
    side = math.inf  # of the features of this stage
    for path in paths:
        here, layer = seen.get(path, -1), layers.get(path)
        # parameters of the network itself, and norms, go with what comes before them
        alone = here < 0 or layer is None or (not [*layer.children()] and "Norm" in type(layer).__name__)
        shrinks = side < math.inf and (here == 0 or here <= 0.75 * side)
        if found and (alone or not shrinks):
            found[-1].append(path)
        else:
            found.append([path])
        side = side if alone else here
    return _named(found, blocks=any(side == 0 for side in seen.values()))


def _named(found: list[list[str]], *, blocks: bool) -> dict[str, list[str]]:
    """Stages by name: the first is the stem; the others have the names of their layers, where these are alike."""
    own = [paths[0].rpartition(".")[2] for paths in found[1:]]
    words = {name.rstrip("0123456789") for name in own}
    alike = len(words) == 1 and "" not in words and len(set(own)) == len(own)
    names = own if alike and not blocks else [f"{'block' if blocks else 'stage'}{n}" for n in range(1, len(found))]
    return dict(zip(["stem", *names], found, strict=True))
