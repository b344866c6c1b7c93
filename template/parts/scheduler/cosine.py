def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """Linear warm-up, then CosineAnnealingLR (Loshchilov and Hutter, ICLR 2017); step it after each optimizer step.

    It ends at zero, because any other `eta_min` would be the same for all layer groups.
    """
    warmup = warmup_steps(opt, steps_per_epoch)
    falling = lr_scheduler.CosineAnnealingLR(optimizer, opt.epochs * steps_per_epoch - warmup)
    if not warmup:
        return falling
    linear = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return lr_scheduler.SequentialLR(optimizer, [linear, falling], [warmup])
