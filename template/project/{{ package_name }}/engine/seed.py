"""Randomness: one seed for a run, and generators that follow from it."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator
from torch import Tensor

T = TypeVar("T")
_kept: dict[str, Any] = {}  # the state of numpy when it last was looked at


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
    (_, words, gauss), (_, keys, *rest), tensors = _states()
    host = np.concatenate([words, [np.nan if gauss is None else gauss], keys, rest])
    accelerators = {name: module.get_rng_state() for name, module in _accelerators().items()}
    return {"torch": tensors, "host": torch.from_numpy(host), **accelerators}


def set_rng_state(state: dict[str, Tensor]) -> None:
    """Puts back what `rng_state` returned, as far as there is such a generator here."""
    words, (gauss,), keys, (position, has_gauss, cached) = state["host"].split([625, 1, 624, 3])
    random.setstate((3, tuple(words.long().tolist()), None if gauss.isnan() else float(gauss)))
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), int(position), int(has_gauss), float(cached)))
    torch.set_rng_state(state["torch"].clone())  # not a row of a table: torch crashes on a view (seen in 2.14)
    for name, module in _accelerators().items():
        if name in state:
            module.set_rng_state(state[name].clone())


def draws_random_numbers(work: Callable[[], T]) -> tuple[T, bool]:
    """What `work` returns, and whether it drew from `random`, numpy or torch; these are then as they were before."""
    python, arrays, tensors = _states()
    result = work()
    now = _states()
    if python == now[0] and arrays is now[1] and torch.equal(tensors, now[2]):
        return result, False
    random.setstate(python)
    np.random.set_state(arrays)
    torch.set_rng_state(tensors)
    _kept.clear()
    return result, True


def _states() -> tuple[Any, Any, Tensor]:
    """The states of `random`, numpy and torch. That of numpy takes longer than many an item: the same until it moves.

    Half of a pair of normal numbers moves nothing in its memory, so a state with one in it is never the same.
    """
    memory = ctypes.string_at(get_bit_generator().ctypes.state_address, 2500)
    if _kept.get("memory") != memory or _kept["state"][3]:
        _kept.update(memory=memory, state=np.random.get_state())
    return random.getstate(), _kept["state"], torch.get_rng_state()


def _accelerators() -> dict[str, Any]:
    """The module of torch with the generator of the accelerator, if there is one, by its name in a checkpoint."""
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        return {}
    # CUDA's has the name that it got when it was the only one
    return {"device" if device.type == "cuda" else device.type: torch.get_device_module(device)}
