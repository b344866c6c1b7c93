def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> LRScheduler:
    """StepLR counted in optimizer steps; step it after each of them. A fall that never comes is an error.

    Falls are counted in epochs from the start of the run, of which the rise takes the first.
    """
    rise = rise_steps(opt, steps_per_epoch)
    if opt.step_size >= opt.epochs:
        raise RunError(f"--step-size {opt.step_size} never comes in {opt.epochs} epochs; 0 takes a third of them")
    if 0 < opt.step_size * steps_per_epoch < rise:
        raise RunError(f"--step-size {opt.step_size} falls before --warmup {opt.warmup:g} ends; take a longer one")
    step_size = opt.step_size or max(rise // steps_per_epoch + 1, opt.epochs // 3)
    falls = lr_scheduler.StepLR(optimizer, step_size * steps_per_epoch, opt.gamma)
    # chained schedulers multiply, so that the falls stay where they were
    return lr_scheduler.ChainedScheduler([falls, warmup(optimizer, rise)], optimizer)
