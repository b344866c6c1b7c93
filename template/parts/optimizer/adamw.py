"""The optimizer: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from torch.optim import AdamW, Optimizer

from .options import Options


def build_optimizer(groups: list[dict[str, Any]], opt: Options) -> Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019) over the layer groups; each brings its own `lr` and `weight_decay`."""
    return AdamW(groups, lr=opt.lr, betas=(opt.beta1, opt.beta2), fused=True)
