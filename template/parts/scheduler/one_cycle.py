def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """OneCycleLR (Smith and Topin, 2018); step it after each optimizer step.

    The rate rises for `opt.warmup` epochs (0: for 30% of the run), and for at least two steps, the last at `opt.lr`.
    Momentum (beta1 of Adam) falls meanwhile from 0.95 to 0.85, and rises again as the rate falls.
    """
    steps = opt.epochs * steps_per_epoch
    if steps < 3:
        raise RunError(f"the one-cycle schedule needs at least 3 steps, and this run has {steps}; raise --epochs")
    warmup = warmup_steps(opt, steps_per_epoch) if opt.warmup else round(0.3 * steps)
    return lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],  # a single number would be the same for all groups
        total_steps=steps,
        pct_start=max(2, warmup) / steps,  # a whole number of steps, or no step would have the full rate
        cycle_momentum=opt.cycle_momentum and optimizer.defaults.get("momentum") != 0,
    )
