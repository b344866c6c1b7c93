def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> LRScheduler:
    """A rise, then every group stays at its rate; step it after each optimizer step."""
    return warmup(optimizer, rise_steps(opt, steps_per_epoch))
