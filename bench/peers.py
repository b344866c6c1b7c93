"""The default recipe by hand of two frameworks: the same network, optimizer, schedule and images of the digits.

    python -m bench.peers lightning|ignite PROJECT PACKAGE SIDE EPOCHS

Each says after every epoch how many of the held-out images it gets right, as a generated project does.
"""

from __future__ import annotations

import logging
import sys
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

BATCH, LR, DECAY, WARMUP = 64, 0.002, 0.05, 1


def loaders(side: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """ImageFolder with the classic transforms."""
    last = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    moved = transforms.RandomAffine(10, (0.08, 0.08), (0.9, 1.1))
    train = ImageFolder("data/digits/train", transforms.Compose([transforms.Resize(side), moved, *last]))
    val = ImageFolder("data/digits/val", transforms.Compose([transforms.Resize(side), *last]))
    return (
        DataLoader(train, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=1, persistent_workers=True),
        DataLoader(val, batch_size=BATCH),
    )


def parts(net: nn.Module, steps: int, epochs: int) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW without decay of biases and norms, and a cosine that begins with a rise."""
    matrices = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    rise = steps * WARMUP
    schedulers: list[torch.optim.lr_scheduler.LRScheduler] = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (rise + 1), total_iters=rise),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps - rise),
    ]
    return optimizer, torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers, [rise])


def say(epoch: int, accuracy: float) -> None:
    """As a generated project says it."""
    print(f"epoch {epoch}  accuracy {accuracy:.4f}", flush=True)


def lightning(net: nn.Module, side: int, epochs: int) -> None:
    """As Lightning's documentation has it."""
    import lightning

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    train, val = loaders(side)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.right = net, 0.0

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            loss = F.cross_entropy(self.net(batch[0])[0], batch[1])
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch: list[Tensor], number: int) -> None:
            right = (self.net(batch[0])[0].argmax(1) == batch[1]).float().mean()
            self.log("val/accuracy", right, on_epoch=True, batch_size=len(batch[1]))

        def on_validation_epoch_end(self) -> None:
            say(self.current_epoch + 1, float(self.trainer.callback_metrics["val/accuracy"]))

        def configure_optimizers(self) -> Any:
            optimizer, scheduler = parts(self, len(train), epochs)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, log_every_n_steps=20,
    )  # fmt: skip
    trainer.fit(Module(), train, val)


def ignite(net: nn.Module, side: int, epochs: int) -> None:
    """As Ignite's code generator has it."""
    from ignite.engine import Engine, Events, create_supervised_evaluator
    from ignite.handlers import Checkpoint, DiskSaver
    from ignite.metrics import Accuracy

    train, val = loaders(side)
    optimizer, scheduler = parts(net, len(train), epochs)

    def update(engine: Any, batch: list[Tensor]) -> float:
        net.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(net(batch[0])[0], batch[1])
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.item()

    trainer = Engine(update)
    evaluator = create_supervised_evaluator(
        net, {"accuracy": Accuracy()}, output_transform=lambda x, y, y_pred: (y_pred[0], y)
    )
    saver = Checkpoint({"net": net, "optimizer": optimizer}, DiskSaver("ignite", require_empty=False), n_saved=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saver)

    @trainer.on(Events.EPOCH_COMPLETED)
    def _(engine: Any) -> None:
        evaluator.run(val)
        say(engine.state.epoch, evaluator.state.metrics["accuracy"])

    trainer.run(train, max_epochs=epochs)


def main(peer: str, project: str, package: str, side: str, epochs: str) -> None:
    sys.path.insert(0, project)
    torch.manual_seed(2022)
    facts = {"classes": [*"0123456789"], "image_size": int(side)}
    net = import_module(f"{package}.model").build_model(import_module(f"{package}.options").Options(), facts)
    {"lightning": lightning, "ignite": ignite}[peer](net, int(side), int(epochs))


if __name__ == "__main__":
    main(*sys.argv[1:])
