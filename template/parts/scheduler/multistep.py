def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> LRScheduler:
    """MultiStepLR counted in optimizer steps; step it after each of them. A milestone that never comes is an error.

    Milestones are epochs from the start of the run, of which the rise takes the first.
    """
    rise = rise_steps(opt, steps_per_epoch)
    for milestone in opt.milestones:
        if not 0 < milestone < opt.epochs:
            raise RunError(f"the milestone {milestone} never comes in {opt.epochs} epochs; take 1 to {opt.epochs - 1}")
        if milestone * steps_per_epoch < rise:
            raise RunError(f"the milestone {milestone} comes before --warmup {opt.warmup:g} ends; take later ones")
    halves = {opt.epochs // 2, opt.epochs * 3 // 4, opt.epochs * 7 // 8}
    epochs = sorted(set(opt.milestones) or {epoch for epoch in halves if epoch * steps_per_epoch > rise})
    falls = lr_scheduler.MultiStepLR(optimizer, [epoch * steps_per_epoch for epoch in epochs], opt.gamma)
    # chained schedulers multiply, so that the milestones stay where they were
    return lr_scheduler.ChainedScheduler([falls, warmup(optimizer, rise)], optimizer)
