"""Buffers that `state_dict` leaves out (persistent=False): training may change them too, so checkpoints hold them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .errors import RunError


def other_buffers(net: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers that `state_dict` leaves out, on the CPU."""
    saved = net.state_dict().keys()
    return {name: buffer.detach().cpu().clone() for name, buffer in net.named_buffers() if name not in saved}


@torch.no_grad()
def load_other_buffers(net: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Puts back what `other_buffers` returned."""
    for name, value in found.items():
        module, _, own = name.rpartition(".")
        buffer = net.get_buffer(name)
        if buffer.shape == value.shape:
            buffer.copy_(value)
        else:  # such as a table that grows
            setattr(net.get_submodule(module), own, value.to(buffer.device))


def check_state(name: str, net: nn.Module) -> None:
    """Refuses a model that says of itself (`get_extra_state`) what a checkpoint cannot give back."""
    for key, value in net.state_dict().items():
        if not isinstance(value, Tensor):
            check_kept(f"{key} of {name}", value)


def check_kept(what: str, value: Any) -> None:
    """Refuses what a checkpoint cannot give back."""
    try:
        content = io.BytesIO()
        torch.save(value, content)
        content.seek(0)
        torch.load(content, weights_only=True)
    except Exception:  # torch and pickle have many words for it
        kind = f", a {type(value).__name__}" * (not isinstance(value, list))
        wanted = "tensors, numbers and texts in lists and dictionaries"
        raise RunError(f"a run cannot keep {what}{kind}: it takes {wanted}") from None
