def label_note(names: list[str], labels: Tensor) -> str:
    """What to say of labels (n, labels): how many items have none, and which labels no item has, or all have."""
    none = int((labels.sum(dim=1) == 0).sum())
    unused = [name for name, used in zip(names, labels.any(dim=0).tolist(), strict=True) if not used]
    some = ", ".join(unused[:3]) + (f" and {len(unused) - 3} more" if len(unused) > 3 else "")
    told = f" (without a label: {none})" * (none > 0) + f" (nothing with the label {some})" * bool(unused)
    every = [name for name, always in zip(names, labels.all(dim=0).tolist(), strict=True) if always]
    return told + f" (everything with the label {', '.join(every[:3])})" * bool(every)
