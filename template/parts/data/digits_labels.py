def digits() -> Iterator[tuple[str, str, Tensor, list[int]]]:
    """Of each picture with up to four digits: train or val, its name, the image (16, 16) in uint8, and for each of the
    ten digits whether it is there, 0 or 1. The digits of val, every fifth of a class, are not among those of train.

    They are the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI, 1998,
    https://doi.org/10.24432/C50P49, CC BY 4.0, as scikit-learn has it.
    """
    data, seen = np.load(Path(__file__).with_name("digits.npz")), [0] * 10
    images = torch.from_numpy(data["images"]).int().mul(16).clamp(max=255).byte()
    known: dict[str, list[tuple[Tensor, int]]] = {"train": [], "val": []}
    for number, label in enumerate(data["labels"].tolist()):
        seen[label] += 1
        known["val" if seen[label] % 5 == 0 else "train"].append((images[number], label))
    draw, noise = random.Random(0), torch.Generator().manual_seed(0)
    for number in range(2500):
        split = "val" if number % 5 == 0 else "train"
        image = torch.randint(0, 64, (16, 16), generator=noise, dtype=torch.uint8)
        there = [0] * 10
        for place in draw.sample(range(4), draw.randint(0, 4)):
            digit, label = draw.choice(known[split])
            top, left = place // 2 * 8, place % 2 * 8
            corner = image[top : top + 8, left : left + 8]
            corner.copy_(torch.maximum(corner, digit))
            there[label] = 1
        yield split, f"{number:04}", image, there
