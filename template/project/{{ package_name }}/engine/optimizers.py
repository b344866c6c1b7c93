"""What an optimizer remembers beside tensors: numbers in its state, and in its groups what changes as it steps."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from .buffers import check_kept

SCHEDULED = ("lr", "initial_lr", "momentum", "betas")  # as settings and schedule say
Groups = list[dict[str, Any]]


def group_entries(optimizer: Optimizer) -> Groups:
    """A copy of what the groups say of themselves."""
    said = [{key: group[key] for key in group.keys() - {"params", *SCHEDULED}} for group in optimizer.param_groups]
    return deepcopy(said)


def changed_entries(name: str, optimizer: Optimizer, first: Groups) -> Groups:
    """What the groups say now and did not say at first; what a checkpoint cannot give back is refused."""
    found: Groups = [
        {key: value for key, value in now.items() if not torch.as_tensor(value == before.get(key)).all()}
        for now, before in zip(group_entries(optimizer), first, strict=False)  # groups may be added later
    ]
    odd = [value for memory in optimizer.state.values() for value in memory.values() if not isinstance(value, Tensor)]
    if odd or any(found):
        check_kept(f"what {name} remembers", [odd, found])
    return found
