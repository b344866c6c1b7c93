"""A baseline: resnet18 in a plain PyTorch loop, by the recipe of torchvision's references (references/classification)."""

from __future__ import annotations

import torch
from accuracy_data import Images
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18
from torchvision.transforms import v2

# 90 epochs of batches of 32, of which torchvision has eight at a time at a rate of 0.1
EPOCHS, BATCH, LR = 90, 32, 0.1 / 8


def predictions(train: Images, val: Images, photographs: bool) -> list[str]:
    """The classes that it gives the images of `val` after the last epoch; photographs are cropped at random and mirrored."""
    classes = sorted({label for _, label in train})
    inputs, labels = tensors(train, classes)
    torch.manual_seed(0)
    net = resnet18(num_classes=len(classes))
    loader = DataLoader(TensorDataset(inputs, labels), BATCH, shuffle=True)
    optimizer = SGD(net.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    scheduler = StepLR(optimizer, step_size=30, gamma=0.1)
    crop, flip = v2.RandomResizedCrop(inputs.shape[-2:], antialias=True), v2.RandomHorizontalFlip()
    net.train()
    for _ in range(EPOCHS):
        for images, targets in loader:
            seen = torch.stack([flip(crop(image)) for image in images]) if photographs else images
            optimizer.zero_grad()
            F.cross_entropy(net(seen), targets).backward()
            optimizer.step()
        scheduler.step()
    net.eval()
    with torch.inference_mode():
        logits = torch.cat([net(images) for images in tensors(val, classes)[0].split(BATCH)])
    return [classes[number] for number in logits.argmax(1).tolist()]


def tensors(images: Images, classes: list[str]) -> tuple[Tensor, Tensor]:
    """Images (n, 3, height, width) normalised as torchvision does, and their labels (n,)."""
    pixels = [torch.from_numpy(one.copy()) for one, _ in images]
    colours = torch.stack([one.permute(2, 0, 1) if one.ndim == 3 else one.expand(3, -1, -1) for one in pixels])
    normalise = v2.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return normalise(colours / 255), torch.tensor([classes.index(label) for _, label in images])
