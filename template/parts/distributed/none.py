"""One process on one device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from .errors import RunError
from .options import Options

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """This process: number `rank` of `world`, working on `device`."""

    rank: int
    world: int
    device: torch.device


def start(opt: Options) -> Process:
    """Chooses the device: the accelerator if there is one, else the CPU."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        raise RunError(
            f"this project trains in one process, and {world} were started; start it with `python -m`, or let several "
            "processes share the work:   scaffold change --distributed ddp"
        )
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    return Process(rank=0, world=1, device=device)


def prepare(net: nn.Module, process: Process) -> nn.Module:
    """Moves the model to the device."""
    return net.to(process.device)


def total(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    return tensor


def anyone(yes: bool, process: Process) -> bool:
    """Whether any process says yes."""
    return yes


def stop_now(asked: bool, step: int, opt: Options, process: Process) -> bool:
    """Whether to stop after this step."""
    return asked


def tell(value: T) -> T:
    """What process 0 knows, told to all."""
    return value


def gather_rows(rows: Tensor, process: Process) -> Tensor:
    """The rows of all processes, one after another."""
    return rows


@contextmanager
def first(process: Process) -> Iterator[None]:
    """Process 0 goes first; the others find its work done."""
    yield


def shutdown() -> None:
    """Nothing to end."""
