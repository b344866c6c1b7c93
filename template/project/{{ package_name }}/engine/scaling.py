"""Loss scaling for fp16 (Micikevicius et al., ICLR 2018), in which small gradients would be 0."""

from __future__ import annotations

import torch
from torch import nn

START = 2.0**16
GROWTH_INTERVAL = 2000  # steps without an overflow after which the scale doubles, as torch.amp.GradScaler has it


def unscale(model: nn.Module, scale: float) -> bool:
    """Divides the gradients by what the loss was multiplied by; whether those in this process are finite."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    local = [one.to_local() if hasattr(one, "to_local") else one for one in gradients]  # FSDP has a shard in each
    torch._foreach_mul_(local, 1 / scale)
    return not local or bool(torch.nn.utils.get_total_norm(local).isfinite())


def next_scale(scale: float, steps: int, overflow: bool) -> tuple[float, int]:
    """The scale of the next step, and for how many steps there has been no overflow with it."""
    if overflow:
        return scale / 2, 0
    return (scale, steps + 1) if steps + 1 < GROWTH_INTERVAL else (2 * scale, 0)
