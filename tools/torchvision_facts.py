"""What is known of torchvision's networks for images, counted on the models themselves, without their numbers (meta device)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models, regnet

from scaffold.layers import structure

# Those of which torchvision's auxiliary classifiers are left out, and whose weights want images scaled otherwise.
AUXILIARY = {"googlenet", "inception_v3"}


def names(written_out: set[str]) -> list[str]:
    """Every network of torchvision that tells classes but for those that the template writes out."""
    return [name for name in list_models(module=torchvision.models) if name not in written_out]


@contextlib.contextmanager
def regnets_on_meta() -> Iterator[None]:
    """RegNets compute with tensors how wide they are, which needs their numbers."""
    plain = regnet.BlockParams.from_init_params

    def really(*words: Any, **more: Any) -> Any:
        with torch.device("cpu"):
            return plain(*words, **more)

    regnet.BlockParams.from_init_params = really
    try:
        yield
    finally:
        regnet.BlockParams.from_init_params = plain


def build(name: str, **more: Any) -> nn.Module:
    """A model of torchvision's, without its numbers."""
    arguments = {"aux_logits": False, "init_weights": False} if name in AUXILIARY else {}
    with regnets_on_meta(), torch.device("meta"):
        net = get_model(name, **arguments, **more)
    assert isinstance(net, nn.Module)
    return net


def facts_of(name: str) -> dict[str, Any]:
    """What is known of a model with a head for ten classes in the place of its last layer."""
    net = build(name)
    last, first = structure.last_layer(net), structure.first_convolution(net)
    weight = net.get_submodule(last).weight
    assert isinstance(weight, torch.Tensor)
    paths = [path for path in structure.pieces(net) if path != last]
    assert not [path for path in paths if last.startswith(f"{path}.")], name
    side = getattr(get_model_weights(name).DEFAULT.transforms(), "crop_size", [224])[0]
    seen = structure.sides(net, paths, torch.zeros(2, 3, 224, 224, device="meta"))
    found = structure.stages(net, paths, seen)
    blocks = {f"backbone.{path}": structure.size_of(net, path) for path in paths}
    known: dict[str, Any] = {
        "imagenet": True,
        "family": type(net).__name__,
        "image_size": side,
        "least_size": least_size(net, name),
    }
    if sized(name, 224):
        known |= {"sized": next(iter(sized(name, 224))), "step": step(net), "square": True}
    if name in AUXILIARY:
        known |= {"auxiliary": True}
    momenta = {layer.momentum for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)} - {0.1}
    if momenta:
        known |= {"batch_norm_momentum": round(momenta.pop(), 6)}
    if not any("norm" in type(layer).__name__.lower() for layer in net.modules()):
        known |= {
            "sgd": 0.01
        }  # torchvision's recipe for these; at 0.05 squeezenet1_1 learns next to nothing in 300 steps
    return known | {
        "first": first,
        "convolution": arguments_of(net.get_submodule(first)),
        "last": last,
        "embedding": weight.shape[1],
        "groups": {
            **{stage: [f"backbone.{path}" for path in paths_] for stage, paths_ in found.items()},
            "backbone": ["backbone"],
            "head": ["head"],
        },
        "stages": [*found, "head"],
        "layers": {"backbone": sum(blocks.values()), "head": 10 * (weight.shape[1] + 1)},
        "blocks": blocks,
    }


def arguments_of(layer: nn.Module) -> str:
    """How a convolution is written, after its channels."""
    assert isinstance(layer, nn.Conv2d)
    size, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    assert (size, stride, padding) == (layer.kernel_size[1], layer.stride[1], layer.padding[1])
    more = {"stride": stride, "padding": padding, "bias": layer.bias is not None}
    usual = {"stride": 1, "padding": 0, "bias": True}
    said = [f"{name}={value}" for name, value in more.items() if value != usual[name]]
    return ", ".join([str(layer.out_channels), str(size), *said])


def sized(name: str, side: int) -> dict[str, Any]:
    """The arguments of a model that is made for images of one size."""
    if name.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if name.startswith("maxvit") else {}


def step(net: nn.Module) -> int:
    """What the side of images has to be a multiple of."""
    patch = getattr(net, "patch_size", None)
    return patch if isinstance(patch, int) else 224


def least_size(net: nn.Module, name: str) -> int:
    """The smallest side of images that goes through a model, 32 or more: below that, hardly a pixel is left at its end."""
    if sized(name, 224):
        return -(-32 // step(net)) * step(net)
    for side in range(32, 512):
        try:
            net(torch.zeros(2, 3, side, side, device="meta"))
        except (RuntimeError, ValueError):
            continue
        return side
    raise AssertionError(f"no image goes through {name}")
