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
