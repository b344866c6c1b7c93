def take_targets(net: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What torchvision's detectors take, of the images and, in training, their targets; its class 0 is nothing."""
    (inputs,) = arguments
    images, targets = inputs if isinstance(inputs, tuple) else (inputs, None)
    if targets is not None:
        targets = [{"boxes": target["boxes"], "labels": target["labels"] + 1} for target in targets]
    return [*images], targets


def give_labels(net: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    """The losses in training; else the boxes, scores and labels of each image, whose class 0 is the first."""
    return output if net.training else [{**found, "labels": found["labels"] - 1} for found in output]
