def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """StepLR with linear warm-up; step it after each optimizer step. `opt.step_size` is in epochs."""
    warmup = warmup_steps(opt, steps_per_epoch)
    if opt.step_size >= opt.epochs:
        raise RunError(f"--step-size {opt.step_size} is not within {opt.epochs} epochs; 0 takes a third of them")
    if 0 < opt.step_size * steps_per_epoch < warmup:
        raise RunError(f"--step-size {opt.step_size} ends before --warmup {opt.warmup:g} does; take a larger one")
    step_size = opt.step_size or max(warmup // steps_per_epoch + 1, opt.epochs // 3)
    decay = lr_scheduler.StepLR(optimizer, step_size * steps_per_epoch, opt.gamma)
    linear = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return lr_scheduler.ChainedScheduler([decay, linear], optimizer)  # their factors multiply
