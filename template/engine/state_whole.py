"""The state of models and optimizers in a checkpoint: tensors by the names of the parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only


def model_state(net: nn.Module) -> dict[str, Tensor]:
    """Parameters, buffers and what modules say of themselves (`get_extra_state`) by name, on the CPU."""
    state = net.state_dict()
    return {name: value.detach().cpu() if isinstance(value, Tensor) else value for name, value in state.items()}


def load_model_state(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads what `model_state` returned; a missing, unknown or differently shaped tensor is an error."""
    net.load_state_dict(state)


def optimizer_state(net: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """The state of each parameter by its name, so that layer groups may change."""
    return {
        name: tree_map_only(Tensor, Tensor.cpu, dict(optimizer.state[parameter]))
        for name, parameter in net.named_parameters()
        if parameter in optimizer.state
    }


def load_optimizer_state(net: nn.Module, optimizer: Optimizer, state: dict[str, dict[str, Any]]) -> None:
    """Loads what `optimizer_state` returned; learning rates stay as they are."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    # copies, since an optimizer changes its state in place
    copies = {
        number: tree_map_only(Tensor, torch.clone, state[name]) for number, name in enumerate(order) if name in state
    }
    optimizer.load_state_dict({"state": copies, "param_groups": optimizer.state_dict()["param_groups"]})


def local_tensors(net: nn.Module) -> list[Tensor]:
    """The parameters and buffers, of which each process may have a shard."""
    return [value.detach() for value in [*net.parameters(), *net.buffers()]]


def optimizer_tensors(optimizer: Optimizer) -> list[Tensor]:
    """The tensors in the optimizer's state, of which each process may have a shard."""
    return [value for memory in optimizer.state.values() for value in memory.values() if isinstance(value, Tensor)]
