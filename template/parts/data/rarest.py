def rarest(labels: Tensor) -> list[int]:
    """The label of each item that the fewest items have, as a number, -1 for none: items are held out by it."""
    counts = labels.sum(dim=0).expand_as(labels)
    found = counts.masked_fill(labels == 0, torch.inf).argmin(dim=1)
    numbers: list[int] = torch.where(labels.any(dim=1), found, -1).tolist()
    return numbers
