"""What `evaluate` tells of labels besides the metrics: precision, recall, F1 and average precision of each."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .engine import counted

MOST = 20  # labels whose curves are drawn


def precision_recall(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall of one label at each threshold, the highest first; equal scores are told together."""
    order = scores.argsort(descending=True, stable=True)
    scores, found = scores[order], labels[order].cumsum(dim=0)
    last = torch.cat([scores[1:] != scores[:-1], torch.ones_like(scores[:1], dtype=torch.bool)])
    told = torch.arange(1, len(scores) + 1, device=scores.device)
    return (found / told)[last], found[last] / found[-1].clamp(min=1)


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """The mean of the precisions of each label, weighted by what recall gains at each: (labels,), 0 without images."""
    columns = [precision_recall(scores[:, number], labels[:, number]) for number in range(labels.shape[1])]
    return torch.stack([(precision * recall.diff(prepend=recall.new_zeros(1))).sum() for precision, recall in columns])


def f1(counts: Tensor) -> Tensor:
    """2 x right / (told + there), 0 where there is nothing; `counts` are (3, ...): right, told, there."""
    right, told, there = counts
    shares: Tensor = 2 * right / (told + there).clamp(min=1)
    return shares


def report(counts: Tensor, precisions: Tensor, names: list[str], labels: Tensor) -> str:
    """A line for each label, and how many images have none."""
    lines = ["", f"{'label':<20}{'images':>8}{'precision':>11}{'recall':>8}{'F1':>8}{'AP':>8}"]
    right, told, there = counts.cpu()
    shares = torch.stack([right / told.clamp(min=1), right / there.clamp(min=1), f1(counts).cpu(), precisions.cpu()])
    for name, images, (precision, recall, both, average) in zip(names, there.tolist(), shares.T.tolist(), strict=True):
        found = f"{recall:>8.4f}{both:>8.4f}{average:>8.4f}" if images else f"{'-':>8}{'-':>8}{'-':>8}"
        lines.append(f"{name:<20}{images:>8.0f}{precision:>11.4f}{found}")
    without = int((labels.sum(dim=1) == 0).sum())
    none = [name for name, some in zip(names, there.tolist(), strict=True) if not some]
    lines += ["", f"over {counted(len(labels), 'image')}, {without} of them without a label"]
    if none:
        lines.append(f"left out of the means over labels, since no image has them: {', '.join(none)}")
    return "\n".join(lines)


def draw_curves(scores: Tensor, labels: Tensor, names: list[str], folder: Path) -> None:
    """Draws precision_recall.png: what precision each recall costs, a curve for each of some labels."""
    from matplotlib.figure import Figure  # takes a second to import: only who draws pays

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    for number in labels.any(dim=0).nonzero().flatten().tolist()[:MOST]:
        precision, recall = precision_recall(scores[:, number], labels[:, number])
        name = names[number].encode(errors="replace").decode()  # not all are UTF-8
        axes.step(recall.tolist(), precision.tolist(), where="post", linewidth=1, label=name.replace("$", r"\$"))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(folder / "precision_recall.png", dpi=110)
