"""Several processes, each with the whole model and its share of every batch (DistributedDataParallel)."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .errors import RunError
from .options import RunOptions
from .process_group import ProcessGroup


class Process(ProcessGroup):
    """One of several processes with the whole model each."""

    def prepare(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, ready to train; from here on each process draws random numbers of its own."""
        if self.device.type == "cuda":
            net.to(memory_format=torch.channels_last)  # faster convolutions
        net = super().prepare(net, opt)
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise RunError("the whole model is frozen, so there is nothing to learn; let a layer group learn")
        # a gradient lives in the memory that is sent to the others, instead of being copied there and back
        return DistributedDataParallel(net, gradient_as_bucket_view=True)

    def sync_gradients(self, model: nn.Module, now: bool) -> None:
        """Whether the next backward pass averages the gradients over the processes."""
        cast(DistributedDataParallel, model).require_backward_grad_sync = now  # what `no_sync` sets
