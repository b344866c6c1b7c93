"""What the model sees of an image: a square view of it, with its boxes, and the way back to the pixels."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image

from .options import Options


def as_input(images: Tensor) -> Tensor:
    """What the model sees of images in uint8: from 0 to 1."""
    return images.float().div_(255)


def as_boxes(corners: Tensor, height: int, width: int) -> BoundingBoxes:
    """Corners (n, 4) as what transforms move with an image of this size."""
    return BoundingBoxes(corners, format=BoundingBoxFormat.XYXY, canvas_size=(height, width))


class View(NamedTuple):
    """The square of an image that the model sees, in pixels of the image; what lies beyond the image is black."""

    left: int
    top: int
    side: int


def whole_view(width: int, height: int) -> View:
    """The smallest square around the middle that holds the image."""
    side = max(width, height)
    return View((width - side) // 2, (height - side) // 2, side)


def random_view(width: int, height: int, opt: Options) -> View:
    """That square, grown or shrunk by up to `opt.zoom`, and moved by up to `opt.shift` of its side."""
    left, top, side = whole_view(width, height)
    seen = max(1, round(side / (1 + opt.zoom * random.uniform(-1, 1))))
    across, down = (opt.shift * side * random.uniform(-1, 1) for _ in range(2))
    return View(round(left + (side - seen) / 2 + across), round(top + (side - seen) / 2 + down), seen)


def look(
    image: Image, boxes: BoundingBoxes, labels: Tensor, view: View, size: int
) -> tuple[Image, BoundingBoxes, Tensor]:
    """What is seen in a view, scaled to (size, size); of a box that is cut a quarter at least has to be left."""
    before = box_area(boxes) * (size / view.side) ** 2
    window = (view.top, view.left, view.side, view.side)
    image = F.resized_crop(image, *window, [size, size], antialias=True)
    boxes = F.resized_crop(boxes, *window, [size, size])
    kept = box_area(boxes) >= 0.25 * before
    return image, as_boxes(boxes[kept], size, size), labels[kept]


def box_area(boxes: Tensor) -> Tensor:
    """The areas (n,) of boxes (n, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def see_whole(image: Tensor, size: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What the model sees of a whole image, (1, 3, size, size), and what takes boxes found there back to its pixels."""
    height, width = image.shape[1:]
    view = whole_view(width, height)
    seen, _, _ = look(Image(image), as_boxes(torch.zeros(0, 4), height, width), torch.zeros(0), view, size)

    def in_image(boxes: Tensor) -> Tensor:
        found = boxes * (view.side / size) + boxes.new_tensor([view.left, view.top, view.left, view.top])
        return found.clamp(min=0).minimum(found.new_tensor([width, height, width, height]))

    return as_input(seen.as_subclass(Tensor)[None]), in_image
