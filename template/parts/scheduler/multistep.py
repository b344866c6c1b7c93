def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """MultiStepLR with linear warm-up; step it after each optimizer step. Milestones are epochs of the run."""
    warmup = warmup_steps(opt, steps_per_epoch)
    for milestone in opt.milestones:
        if not 0 < milestone < opt.epochs:
            raise RunError(f"--milestones {milestone} is not within {opt.epochs} epochs; take 1 to {opt.epochs - 1}")
        if milestone * steps_per_epoch < warmup:
            raise RunError(f"--milestones {milestone} comes before --warmup {opt.warmup:g} ends; take a later one")
    halves = {opt.epochs // 2, opt.epochs * 3 // 4, opt.epochs * 7 // 8}
    epochs = sorted(set(opt.milestones) or {epoch for epoch in halves if epoch * steps_per_epoch > warmup})
    decay = lr_scheduler.MultiStepLR(optimizer, [epoch * steps_per_epoch for epoch in epochs], opt.gamma)
    linear = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return lr_scheduler.ChainedScheduler([decay, linear], optimizer)  # their factors multiply
