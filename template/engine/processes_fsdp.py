"""Several processes, each with a share of the model and of every batch (FSDP2, `fully_shard`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from .options import RunOptions
from .process_group import ProcessGroup
from .seed import setup_seed


class Process(ProcessGroup):
    """One of several processes that share the model."""

    def prepare(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, shared among the processes; from here on each has randomness of its own."""
        if opt.compile:
            net.compile()
        self.share_batch_norm(net)
        self.place(net, opt)
        setup_seed(opt.seed + self.rank, opt.deterministic)
        return net

    def place(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, its parameters shared among the processes, layer by layer."""
        net.to(self.device)
        mesh = init_device_mesh(self.device.type, (self.world,))
        policy, norms = MixedPrecisionPolicy(), []
        if opt.precision == "bf16":
            # the weights stay in 32 bits; they are gathered and multiplied in 16, and gradients add up in 32
            policy = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32)
            # batch norms stay in 32 bits, like their statistics: torch does not normalise with one of each
            norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            fully_shard(norm, mesh=mesh)
        for layer in layers(net):
            if layer not in norms:
                fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(net, mesh=mesh, mp_policy=policy)
        return net

    def share_gradients(self, model: nn.Module, now: bool) -> None:
        """Whether the next backward pass averages the gradients over the processes."""
        cast(FSDPModule, model).set_requires_gradient_sync(now)

    def autocast(self, opt: RunOptions) -> AbstractContextManager[None]:
        """Around a forward pass; FSDP sees to the arithmetic of `--precision` by itself."""
        return nullcontext()

    @contextmanager
    def evaluating(self, net: nn.Module) -> Iterator[None]:
        """Around an evaluation: no gradients, layers as they are in use, and the same statistics in every process."""
        self.same_buffers(net)
        training = net.training
        net.eval()
        try:
            # not inference_mode: FSDP keeps the memory of its first forward pass, and could not train with it then
            with torch.no_grad():
                yield
        finally:
            if isinstance(net, FSDPModule):
                # the parameters of the whole stay gathered after a forward pass, and may be a moving average's
                net.reshard()
            net.train(training)

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each process may have a part."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def layers(net: nn.Module) -> list[nn.Module]:
    """The layers to share out one by one; parameters that are not one layer's alone stay with the model as a whole."""
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
