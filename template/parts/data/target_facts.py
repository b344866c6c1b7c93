def target_facts(names: list[str], values: Tensor) -> dict[str, Any]:
    """What the targets (n, targets) to train on tell: their names, means and deviations."""
    mean, std = values.mean(dim=0).tolist(), values.std(dim=0, correction=0).tolist()
    for name, same in zip(names, (values == values[:1]).all(dim=0).tolist(), strict=True):
        if same:
            raise RunError(f"the target {name!r} is the same for all items to train on; there is nothing to learn")
    return {"targets": names, "target_mean": mean, "target_std": std}
