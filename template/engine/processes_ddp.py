"""Several processes, each with the whole model and its share of every batch (DistributedDataParallel)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .options import RunOptions
from .process_group import ProcessGroup
from .seed import setup_seed


class Process(ProcessGroup):
    """One of several processes with the whole model each."""

    def prepare(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, its gradients to be averaged; from here on each process draws its own numbers."""
        if self.device.type == "cuda":
            net.to(memory_format=torch.channels_last)  # faster convolutions
        if opt.compile:
            net.compile()
        self.share_batch_norm(net)
        # a gradient lives in the memory that is sent to the others, instead of being copied there and back
        model = DistributedDataParallel(net.to(self.device), gradient_as_bucket_view=True)
        setup_seed(opt.seed + self.rank, opt.deterministic)
        return model

    def share_gradients(self, model: nn.Module, now: bool) -> None:
        """Whether the next backward pass averages the gradients over the processes."""
        cast(DistributedDataParallel, model).require_backward_grad_sync = now  # what `no_sync` sets

    def place(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, to be evaluated."""
        return net.to(self.device)

    def autocast(self, opt: RunOptions) -> AbstractContextManager[None]:
        """Around a forward pass: the arithmetic of `--precision`."""
        return torch.autocast(self.device.type, torch.bfloat16) if opt.precision == "bf16" else nullcontext()

    @contextmanager
    def evaluating(self, net: nn.Module) -> Iterator[None]:
        """Around an evaluation: no gradients, layers as they are in use, and the same statistics in every process."""
        self.same_buffers(net)
        training = net.training
        net.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            net.train(training)

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each process may have a part."""
        return tensor
