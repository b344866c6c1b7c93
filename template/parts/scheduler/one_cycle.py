def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> LRScheduler:
    """OneCycleLR (Smith and Topin, 2018) over all optimizer steps; step it after each of them.

    The rise takes `opt.warmup` epochs (0: three tenths of the run), and at least two steps: one low, one at full rate.
    """
    steps = opt.epochs * steps_per_epoch
    if steps < 3:
        raise RunError(f"one cycle is a rise and a fall, in 3 steps at least, and this run has {steps}; raise --epochs")
    rise = rise_steps(opt, steps_per_epoch) if opt.warmup else round(0.3 * steps)
    return lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],  # one number would level the layer groups
        total_steps=steps,
        pct_start=max(2, rise) / steps,  # whole steps, or none would have the full rate
        cycle_momentum=False,
    )
