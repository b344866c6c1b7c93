def build_optimizer(groups: list[dict[str, Any]], opt: Options) -> Optimizer:
    """SGD with Nesterov momentum; each group has its own `lr` and `weight_decay`."""
    # torch has no fused SGD for the shards of FSDP
    sharded = any(hasattr(parameter, "full_tensor") for parameter in groups[0]["params"])
    return torch.optim.SGD(groups, lr=opt.lr, momentum=opt.momentum, nesterov=opt.momentum > 0, fused=not sharded)
