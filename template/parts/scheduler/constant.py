def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """Linear warm-up to a constant learning rate; step it after each optimizer step."""
    warmup = warmup_steps(opt, steps_per_epoch)
    return lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
