"""Buffers that `state_dict` leaves out (persistent=False): training may change them too, so checkpoints hold them."""

from __future__ import annotations

import io
from collections.abc import Mapping

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
        if isinstance(value, Tensor):
            continue
        try:
            content = io.BytesIO()
            torch.save(value, content)
            content.seek(0)
            torch.load(content, weights_only=True)
        except Exception:  # torch and pickle have many words for it
            kind = type(value).__name__
            raise RunError(
                f"a run cannot keep {key} of {name}, a {kind}: let get_extra_state return tensors, numbers and texts "
                "in lists and dictionaries"
            ) from None
