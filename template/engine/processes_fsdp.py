"""Several processes, each with a shard of the model and its share of every batch (FSDP2, `fully_shard`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from .options import FORMATS, RunOptions
from .process_group import ProcessGroup


class Process(ProcessGroup):
    """One of several processes that share the model."""

    def to_device(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, its parameters sharded layer by layer."""
        net.to(self.device)
        mesh = init_device_mesh(self.device.type, (self.world,))
        policy, norms = MixedPrecisionPolicy(), []
        if opt.precision != "fp32":
            # the weights stay in 32 bits; they are gathered in 16, and gradients add up in 32; autocast says what is
            # computed in which: if FSDP cast what goes into a layer, whatever is measured in pixels would be rounded
            policy = MixedPrecisionPolicy(FORMATS[opt.precision], torch.float32, cast_forward_inputs=False)
            # batch norms stay in 32 bits, like their statistics: torch does not normalise with one of each
            norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            fully_shard(norm, mesh=mesh)
        for layer in layers(net):
            if layer not in norms:
                fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(net, mesh=mesh, mp_policy=policy)
        return net

    def sync_gradients(self, model: nn.Module, now: bool) -> None:
        """Whether the next backward pass averages the gradients over the processes."""
        cast(FSDPModule, model).set_requires_gradient_sync(now)

    @contextmanager
    def evaluating(self, net: nn.Module) -> Iterator[None]:
        """Around an evaluation: evaluation mode, no gradients, and the same buffers in every process."""
        try:
            with super().evaluating(net):
                yield
        finally:
            if isinstance(net, FSDPModule):
                # the root's parameters stay gathered after a forward pass, and may be those of a moving average
                net.reshard()


def layers(net: nn.Module) -> list[nn.Module]:
    """The layers to shard one by one; parameters that several layers share are left to the root module."""
    found = dict.fromkeys(_called(net))  # a layer that comes twice counts once
    users = Counter(parameter for layer in found for parameter in layer.parameters())
    return [layer for layer in found if {users[parameter] for parameter in layer.parameters()} == {1}]


def _called(net: nn.Module) -> Iterator[nn.Module]:
    """The layers that a model calls: of a list or dictionary of layers those in it."""
    for layer in net.children():
        if isinstance(layer, nn.ModuleList | nn.ModuleDict):
            yield from _called(layer)
        elif not isinstance(layer, nn.ParameterList | nn.ParameterDict):
            yield layer
