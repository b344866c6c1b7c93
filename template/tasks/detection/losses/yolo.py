"""The loss of YOLO (Redmon et al., CVPR 2016, equation 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def yolo(grid: Tensor, targets: list[dict[str, Any]], size: int, opt: Options) -> dict[str, Tensor]:
    """The five terms of the loss of a grid (n, g, g, 5 * boxes + classes), whose sum is the loss; means over images.

    Each box that a cell predicts is (x, y, square root of the width, that of the height, confidence): x and y within
    the cell, from 0 to 1; width and height as shares of the image, whose side is `size`. The network predicts the
    square roots themselves, so that nothing here has an infinite gradient where a box has no width.
    The cell that an object's centre lies in has to predict it. A cell has one set of class scores, so it learns one
    object: if several lie in it, the first of the target's. Of the cell's boxes that one is responsible which has the
    highest IoU with the object now; its confidence learns that IoU. The confidence of every other box learns 0.
    """
    images, side, boxes = len(grid), grid.shape[1], opt.boxes_per_cell
    cells = grid.float().flatten(0, 2)  # one row for each cell of each image
    cell, offset, root, label = objects_of(targets, side, size, cells.device)
    predicted = cells[cell, : 5 * boxes].view(-1, boxes, 5)
    with torch.no_grad():
        overlap = iou(predicted, offset, root, side)
        responsible = overlap.argmax(dim=1)  # the first of equals
    number = torch.arange(len(cell), device=cells.device)
    own = predicted[number, responsible]
    empty = torch.ones(len(cells), boxes, device=cells.device)
    empty[cell, responsible] = 0
    classes = cells[cell, 5 * boxes :]
    terms = {
        "center": opt.lambda_coord * (own[:, :2] - offset).square().sum(),
        "size": opt.lambda_coord * (own[:, 2:4] - root).square().sum(),
        "object": (own[:, 4] - overlap[number, responsible]).square().sum(),
        "no_object": opt.lambda_noobj * (empty * cells[:, 4 : 5 * boxes : 5].square()).sum(),
        "classes": (classes - F.one_hot(label, classes.shape[1])).square().sum(),
    }
    return {name: term / images for name, term in terms.items()}


def objects_of(
    targets: list[dict[str, Any]], side: int, size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The objects that cells learn, at most one each: cell, centre in it, square roots of width and height, class.

    A target has boxes (objects, 4), left, top, right, bottom in pixels, and labels (objects,).
    """
    boxes = torch.cat([target["boxes"] for target in targets]).to(device).float() / size
    label = torch.cat([target["labels"] for target in targets]).to(device)
    image = torch.arange(len(targets)).repeat_interleave(torch.tensor([len(target["labels"]) for target in targets]))
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 * side
    column, row = center.long().clamp(0, side - 1).unbind(dim=1)  # a centre on the right edge lies in the last cell
    cell = (image.to(device) * side + row) * side + column
    number = torch.arange(len(cell), device=device)
    first = torch.full((len(targets) * side * side,), len(cell), device=device).scatter_reduce(0, cell, number, "amin")
    kept = first[cell] == number
    offset = center - torch.stack([column, row], dim=1)
    root = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).sqrt()
    return cell[kept], offset[kept], root[kept], label[kept]


def iou(predicted: Tensor, offset: Tensor, root: Tensor, side: int) -> Tensor:
    """Intersection over union (objects, boxes) of predicted boxes (objects, boxes, 5) and the object in their cell."""
    center, extent = predicted[..., :2] / side, predicted[..., 2:4].square()
    true_center, true_extent = offset[:, None] / side, root[:, None].square()
    low = torch.maximum(center - extent / 2, true_center - true_extent / 2)
    high = torch.minimum(center + extent / 2, true_center + true_extent / 2)
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = extent.prod(dim=-1) + true_extent.prod(dim=-1) - shared
    return shared / union.clamp(min=1e-12)
