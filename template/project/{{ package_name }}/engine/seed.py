"""Randomness: one seed for a run, and generators that follow from it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def setup_seed(seed: int, deterministic: bool = True) -> None:
    """Seeds torch (CPU and every GPU), numpy and `random`; call it before the model is built.

    `deterministic` chooses algorithms that repeat bit for bit and multiplies in full precision, which costs some speed
    on a GPU. An operation that has no such algorithm warns.
    """
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # with which products of matrices repeat
    if torch.cuda.is_available():  # there the fast ways of attention only warn that their gradients do not repeat
        torch.backends.cuda.enable_flash_sdp(not deterministic)
        torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)
        torch.backends.cuda.enable_cudnn_sdp(not deterministic)
    # nothing here reads memory that it has not written, so filling it first would only cost time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch hides it from mypy
    torch.set_float32_matmul_precision("highest" if deterministic else "high")


def mixed(*key: int) -> int:
    """One 63-bit seed out of several numbers; neighbours such as (1, 2) and (2, 1) have nothing in common."""
    return int(np.random.SeedSequence([number % 2**32 for number in key]).generate_state(1, np.uint64)[0] >> 1)


def generator(*key: int) -> torch.Generator:
    """A generator of its own for, say, (seed, epoch), so that nothing else can move its numbers."""
    return torch.Generator().manual_seed(mixed(*key))


def rng_state() -> dict[str, Tensor]:
    """The state of every global generator as tensors: `host` as numbers, `torch` and that of the GPU in bytes."""
    _, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    host = np.concatenate([words, [np.nan if gauss is None else gauss], keys, [position, has_gauss, cached]])
    state = {"torch": torch.get_rng_state(), "host": torch.from_numpy(host)}
    name, accelerator = _of_accelerator()
    if accelerator is not None:
        state[name] = accelerator.get_rng_state()
    return state


def set_rng_state(state: dict[str, Tensor]) -> None:
    """Puts back what `rng_state` returned, as far as there is such a generator here."""
    host = state["host"].tolist()
    words, gauss, keys = host[:625], host[625], host[626:1250]
    position, has_gauss, cached = host[1250:]
    random.setstate((3, tuple(int(word) for word in words), None if gauss != gauss else gauss))
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state["torch"].clone())  # not a row of a table: torch crashes on a view (seen in 2.14)
    name, accelerator = _of_accelerator()
    if accelerator is not None and name in state:
        accelerator.set_rng_state(state[name].clone())


@contextmanager
def apart() -> Iterator[None]:
    """What is seeded or drawn in here moves nothing outside; much faster than `rng_state` and `set_rng_state`."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    _, accelerator = _of_accelerator()
    numbers = accelerator.get_rng_state() if accelerator is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
        if accelerator is not None:
            accelerator.set_rng_state(numbers)


def draws_random_numbers(work: Callable[[], T]) -> tuple[T, bool]:
    """What `work` returns, and whether it drew from a global generator; these are then as they were before."""
    before = rng_state()
    result = work()
    after = rng_state()
    set_rng_state(before)
    return result, any(not torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)


def _of_accelerator() -> tuple[str, Any]:
    """The name of the accelerator's generator in a checkpoint, and the module of torch that has it, if there is one."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        return "", None
    # CUDA's has the name that it got when it was the only one
    return "device" if device.type == "cuda" else device.type, torch.get_device_module(device)
