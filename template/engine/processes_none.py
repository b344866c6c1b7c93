"""One process on one device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .errors import RunError
from .options import RunOptions
from .seed import setup_seed

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """This process: number `rank` of `world`, working on `device`."""

    rank: int
    world: int
    device: torch.device

    @staticmethod
    def start(opt: RunOptions) -> Process:
        """Chooses the device: the accelerator if there is one, else the CPU."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world > 1:
            raise RunError(
                f"this project trains in one process, and {world} were started; start it with `python -m`, or let "
                "several processes share the work:   scaffold change --distributed ddp"
            )
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        return Process(rank=0, world=1, device=device)

    def prepare(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, ready to train; from here on this process draws random numbers of its own."""
        if self.device.type == "cuda":
            net.to(memory_format=torch.channels_last)  # faster convolutions
        if opt.compile:
            net.compile()
        setup_seed(opt.seed + self.rank, opt.deterministic)
        return net.to(self.device)

    def place(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, to be evaluated."""
        return net.to(self.device)

    def autocast(self, opt: RunOptions) -> AbstractContextManager[None]:
        """Around a forward pass: the arithmetic of `--precision`."""
        return torch.autocast(self.device.type, torch.bfloat16) if opt.precision == "bf16" else nullcontext()

    @contextmanager
    def evaluating(self, net: nn.Module) -> Iterator[None]:
        """Around an evaluation: no gradients, and layers such as dropout and batch norm as they are in use."""
        training = net.training
        net.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            net.train(training)

    def share_gradients(self, model: nn.Module, now: bool) -> None:
        """Whether the next backward pass averages the gradients over the processes."""

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        return tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each process may have a part."""
        return tensor

    def any_process(self, yes: bool) -> bool:
        """Whether any process says yes."""
        return yes

    def stop_now(self, asked: bool, step: int, opt: RunOptions) -> bool:
        """Whether to stop after this step because some process was asked to."""
        return asked

    def broadcast(self, value: T) -> T:
        """What process 0 knows, sent to all."""
        return value

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one after another."""
        return rows

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around work that may fail in one process and not in another: then all stop with its sentence."""
        yield

    def compare(self, facts: dict[str, Any]) -> None:
        """Stops all processes together, with one sentence, where one knows other facts than process 0."""

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Process 0 goes first; the others find its work done."""
        yield

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves the other processes."""
