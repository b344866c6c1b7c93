"""What a checkpoint holds of model and optimizer: tensors by the names of the parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def model_state(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the CPU."""
    return {name: value.detach().cpu() for name, value in net.state_dict().items()}


def load_model_state(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Puts back what `model_state` returned; a missing, unknown or differently shaped tensor is an error."""
    net.load_state_dict(state)


def optimizer_state(net: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Tensor]]:
    """What the optimizer remembers of each parameter, by name: order and number of layer groups do not matter to it."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in net.named_parameters()}
    return {
        names[parameter]: {key: value.detach().cpu() for key, value in memory.items() if isinstance(value, Tensor)}
        for parameter, memory in optimizer.state.items()
    }


def load_optimizer_state(net: nn.Module, optimizer: Optimizer, state: dict[str, dict[str, Tensor]]) -> None:
    """Puts back what `optimizer_state` returned, and leaves the learning rates as they are."""
    names = {parameter: name for name, parameter in net.named_parameters()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    # copies: an optimizer writes into its state, and the tensors of a checkpoint are not its own
    memory = {
        number: {key: torch.clone(value) for key, value in state[name].items()}
        for number, name in enumerate(order)
        if name in state
    }
    optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})


def local_tensors(net: nn.Module) -> list[Tensor]:
    """The memory behind parameters and buffers, for work that needs no other process."""
    return [value.detach() for value in [*net.parameters(), *net.buffers()]]


def optimizer_tensors(optimizer: Optimizer) -> list[Tensor]:
    """What the optimizer remembers in this process."""
    return [value for memory in optimizer.state.values() for value in memory.values() if isinstance(value, Tensor)]
