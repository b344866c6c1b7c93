def digits() -> Iterator[tuple[str, str, Tensor, float]]:
    """Of each digit, turned four times: train or val (every fifth of a class), its name, the image (8, 8) in uint8, and
    by how many degrees it is turned (between -45 and 45, anticlockwise).

    It is the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI, 1998,
    https://doi.org/10.24432/C50P49, CC BY 4.0, as scikit-learn has it.
    """
    data, seen = np.load(Path(__file__).with_name("digits.npz")), [0] * 10
    images = torch.from_numpy(data["images"]).int().mul(16).clamp(max=255).float()
    for number, label in enumerate(data["labels"].tolist()):
        seen[label] += 1
        split = "val" if seen[label] % 5 == 0 else "train"
        # multiples of the golden ratio, which fill the range evenly
        angles = [round((4 * number + turn) * 0.618033988749895 % 1 * 90 - 45, 2) for turn in range(4)]
        for turn, image in enumerate(turned(images[number].expand(4, 1, 8, 8), torch.tensor(angles))):
            yield split, f"{number:04}-{turn}", image[0], angles[turn]


def turned(images: Tensor, degrees: Tensor) -> Tensor:
    """The images (n, 1, height, width) turned anticlockwise by so many degrees (n,), uint8."""
    cos, sin = degrees.deg2rad().cos(), degrees.deg2rad().sin()
    zero = torch.zeros_like(cos)
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).round().to(torch.uint8)
