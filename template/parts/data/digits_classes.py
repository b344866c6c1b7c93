def digits() -> Iterator[tuple[str, str, Tensor, int]]:
    """Of each digit: train or val (every fifth of a class), its name, the image (8, 8) in uint8, and which one it is.

    It is the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI, 1998,
    https://doi.org/10.24432/C50P49, CC BY 4.0, as scikit-learn has it.
    """
    data, seen = np.load(Path(__file__).with_name("digits.npz")), [0] * 10
    images = torch.from_numpy(data["images"]).int().mul(16).clamp(max=255).byte()
    for number, label in enumerate(data["labels"].tolist()):
        seen[label] += 1
        yield "val" if seen[label] % 5 == 0 else "train", f"{number:04}", images[number], label
