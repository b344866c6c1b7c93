def build_scheduler(optimizer: Optimizer, opt: Options, steps_per_epoch: int) -> LRScheduler:
    """CosineAnnealingLR (Loshchilov and Hutter, ICLR 2017) from the end of the rise to zero; step it after each step.

    With another end than zero the multipliers of the layer groups would not last.
    """
    rise = rise_steps(opt, steps_per_epoch)
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, opt.epochs * steps_per_epoch - rise)
    return lr_scheduler.SequentialLR(optimizer, [warmup(optimizer, rise), cosine], [rise]) if rise else cosine
