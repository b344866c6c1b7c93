"""One process on one device; after `scaffold change --distributed ddp` (or fsdp), several share the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .errors import RunError, disk_error
from .options import FORMATS, RunOptions
from .seed import setup_seed

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """This process: number `rank` of `world`, working on `device`."""

    rank: int
    world: int
    device: torch.device

    @staticmethod
    @contextmanager
    def start(opt: RunOptions) -> Iterator[Process]:
        """This process, on the accelerator if there is one, else on the CPU."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world > 1:
            raise RunError(
                f"this project trains in one process, and {world} were started; start it with `python -m`, or type "
                "scaffold change --distributed ddp"
            )
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        yield Process(0, 1, device)

    def prepare(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, ready to train. Sets the seed anew, so build every model before."""
        if self.device.type == "cuda":
            net.to(memory_format=torch.channels_last)  # faster convolutions
        if opt.compile:
            net.compile(dynamic=False)  # what is compiled must not depend on which batch came first
        setup_seed(opt.seed, opt.deterministic)
        return net.to(self.device)

    def to_device(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, to be evaluated."""
        return net.to(self.device)

    def autocast(self, opt: RunOptions) -> AbstractContextManager[Any]:
        """Around a forward pass: computes in the number format of `--precision`."""
        return torch.autocast(self.device.type, FORMATS[opt.precision]) if opt.precision != "fp32" else nullcontext()

    @contextmanager
    def evaluating(self, net: nn.Module) -> Iterator[None]:
        """Around an evaluation: evaluation mode, and no gradients."""
        training = {module: module.training for module in net.modules()}  # a frozen batch norm is not in training
        net.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in training.items():
                module.training = mode

    # what several processes do together; this one is alone

    def sync_gradients(self, model: nn.Module, now: bool) -> None:
        """Whether the next backward pass averages the gradients over the processes."""

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        return tensor

    def any_process(self, yes: bool) -> bool:
        """Whether any process says yes."""
        return yes

    def broadcast(self, value: T) -> T:
        """The value of process 0."""
        return value

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one after another."""
        return rows

    @contextmanager
    def raise_together(self) -> Iterator[None]:
        """Around work that may fail in one process only: then all raise its error. They leave it together."""
        try:
            yield
        except OSError as problem:
            raise disk_error(problem) from problem

    def check_equal(self, facts: dict[str, Any]) -> None:
        """Raises an error in all processes if their facts differ."""
