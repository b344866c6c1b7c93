def train_loader(dataset: Any, opt: Options, process: Process) -> Loader:
    """Batches of the training items for this process, shuffled anew in each epoch."""
    return DataLoader(**loader_settings(EpochBatchSampler(dataset, opt, process, train=True)))


def val_loader(dataset: Any, opt: Options, process: Process) -> Loader:
    """Batches of items to evaluate, in their order."""
    return DataLoader(**loader_settings(EpochBatchSampler(dataset, opt, process, train=False)))
