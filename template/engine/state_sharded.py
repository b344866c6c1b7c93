"""The state of models and optimizers in a checkpoint: whole tensors by the names of the parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def model_state(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the CPU of process 0; every process must call it."""
    state: dict[str, Any] = get_model_state_dict(net, options=WHOLE)
    return state


def load_model_state(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads what `model_state` returned; a missing, unknown or differently shaped tensor is an error."""
    set_model_state_dict(net, dict(state), options=WHOLE)


def optimizer_state(net: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """The state of each parameter by its name, on process 0; every process must call it."""
    state: dict[str, Any] = get_optimizer_state_dict(net, optimizer, options=WHOLE)
    return {name: dict(memory) for name, memory in state.get("state", {}).items()}


def load_optimizer_state(net: nn.Module, optimizer: Optimizer, state: dict[str, dict[str, Any]]) -> None:
    """Loads what `optimizer_state` returned; learning rates stay as they are."""
    rates = [group["lr"] for group in optimizer.param_groups]
    now: dict[str, Any] = get_optimizer_state_dict(net, optimizer)
    groups = now["param_groups"]
    known = {name: memory for name, memory in state.items() if any(name in group["params"] for group in groups)}
    before: dict[str, Any] = {"state": known, "param_groups": groups}
    set_optimizer_state_dict(net, optimizer, before, options=WHOLE)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def local_tensors(net: nn.Module) -> list[Tensor]:
    """The shards of the parameters that this process has, and the buffers."""
    tensors = [value.detach() for value in [*net.parameters(), *net.buffers()]]
    return [value.to_local() if isinstance(value, DTensor) else value for value in tensors]


def optimizer_tensors(optimizer: Optimizer) -> list[Tensor]:
    """The tensors in the optimizer's state, of which this process has a shard."""
    tensors = [value for memory in optimizer.state.values() for value in memory.values() if isinstance(value, Tensor)]
    return [value.to_local() if isinstance(value, DTensor) else value for value in tensors]
