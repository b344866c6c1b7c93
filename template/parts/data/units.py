def standardise(values: Tensor, facts: dict[str, Any]) -> Tensor:
    """Targets (n, targets) as a model learns them: with mean 0 and deviation 1 over the training items, float32."""
    return ((values - values.new_tensor(facts["target_mean"])) / values.new_tensor(facts["target_std"])).float()


def in_units(values: Tensor, facts: dict[str, Any]) -> Tensor:
    """What a model gives (n, targets) in the units of the targets, as float64 on the CPU: `standardise` undone."""
    mean, std = (torch.tensor(facts[name], dtype=torch.float64) for name in ("target_mean", "target_std"))
    return values.cpu().double() * std + mean
