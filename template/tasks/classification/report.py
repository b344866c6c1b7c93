"""What `evaluate` tells of a classifier besides its metrics: calibration, each class, and which is taken for which."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15  # of confidences, for the calibration error
FEW = 12  # classes whose confusion matrix is printed
MANY = 10  # classes above which top-5 accuracy says something


def calibration_bins(logits: Tensor, labels: Tensor) -> Tensor:
    """For each bin of confidences the number of images, how many are right, and the sum of confidences: (3, BINS)."""
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64, device=logits.device)
    bins = F.one_hot(torch.bucketize(confidence, edges[1:-1]), BINS).double()
    return torch.stack([torch.ones_like(confidence), (predicted == labels).double(), confidence]) @ bins


def calibration_error(bins: Tensor) -> float:
    """Expected calibration error (Guo et al., ICML 2017): how far confidence is from accuracy, mean over images."""
    images, right, confidence = bins
    return float((right - confidence).abs().sum() / images.sum())


def in_top5(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images have their class among the five with the highest scores."""
    return (logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]).sum()


def report(confusion: Tensor, bins: Tensor, top5: Tensor, classes: list[str]) -> str:
    """Calibration, a line for each class, and the confusion matrix of a few classes."""
    lines = [f"{'top5_accuracy':<18} {int(top5) / int(confusion.sum()):.4f}"] if len(classes) > MANY else []
    lines += [f"{'calibration_error':<18} {calibration_error(bins):.4f}", ""]
    lines.append(f"{'class':<20}{'images':>8}{'precision':>11}{'recall':>8}{'F1':>8}")
    for number, name in enumerate(classes):
        correct = float(confusion[number, number])
        images, predicted = float(confusion[number].sum()), float(confusion[:, number].sum())
        shares = correct / max(predicted, 1), correct / max(images, 1), 2 * correct / max(images + predicted, 1)
        lines.append(f"{name:<20}{images:>8.0f}{shares[0]:>11.4f}{shares[1]:>8.4f}{shares[2]:>8.4f}")
    if len(classes) <= FEW:
        lines += ["", f"{'true, predicted:':<20}" + "".join(f"{name[:7]:>8}" for name in classes)]
        for name, row in zip(classes, confusion.tolist(), strict=True):
            lines.append(f"{name:<20}" + "".join(f"{count:>8}" for count in row))
    return "\n".join(lines)


def draw_confusion(confusion: Tensor, classes: list[str], folder: Path) -> None:
    """Draws confusion.png: which classes are taken for which."""
    from matplotlib.figure import Figure  # takes a second to import: only who draws pays

    shares = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares.cpu(), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title="share of the images of each class")
    if len(classes) <= 40:
        names = [name.encode(errors="replace").decode() for name in classes]  # not all are UTF-8
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    figure.savefig(folder / "confusion.png", dpi=110)
