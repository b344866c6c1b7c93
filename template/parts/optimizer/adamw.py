def build_optimizer(groups: list[dict[str, Any]], opt: Options) -> Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019); each group has its own `lr` and `weight_decay`."""
    return torch.optim.AdamW(groups, lr=opt.lr, betas=(opt.beta1, opt.beta2), fused=True)
