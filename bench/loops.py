"""The same training step in six hands: the generated loop, a bare one, a tuned one, and three frameworks.

All get the same model, the same table of numbers in memory, the same optimizer with the same settings, and the same
clipping. Each function prepares one contender; what it returns trains one epoch and says how many seconds its loop took.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from bench import projects

Epoch = Callable[[], float]
BATCH, CLIP, LR, EPOCHS = 32, 1.0, 0.01, 1000


class MLP(nn.Module):
    """64-64-10: nothing but overhead."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.backbone = nn.Linear(64, 64)
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = F.relu(self.backbone(x))
        return self.head(embedding), embedding


def optimizer(net: nn.Module, kind: str, fused: bool = False, groups: int = 1) -> torch.optim.Optimizer:
    """The optimizer of every contender but the generated one, which has the same by its own build_optimizer."""
    parameters = list(net.parameters())
    dealt = [{"params": parameters[number::groups]} for number in range(groups)]
    if kind == "adamw":
        return torch.optim.AdamW(dealt, lr=LR, weight_decay=0.05, fused=fused or None)
    return torch.optim.SGD(dealt, lr=LR, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=fused or None)


def loader(images: Tensor, labels: Tensor) -> DataLoader[Any]:
    """What everybody writes."""
    return DataLoader(TensorDataset(images, labels), batch_size=BATCH, shuffle=True, drop_last=True)


def generated(
    project: str, build: Callable[[], nn.Module], images: Tensor, labels: Tensor, saving: bool = True
) -> Epoch:
    """The project's own train.py, as it is; only reading and augmentation of images give way to the table.

    Timed is the second of two epochs, from its first step to the end of the run, with the checkpoint that it ends with,
    or (where an epoch is much shorter than real ones) to its last step.
    """
    train = projects.module(project, "train")
    options = projects.module(project, "options").Options(
        batch_size=BATCH, lr=LR, epochs=2, new_run=True, run_dir=str(projects.scratch() / "run"), deterministic=False
    )
    process = projects.module(project, "engine").Process.start(options).__enter__()
    clock = stand_in(project, build, images, labels)
    vars(train).update(train_logger=quiet(train.train_logger))
    logging.getLogger(project).setLevel(logging.CRITICAL)

    def epoch() -> float:
        train.train(options, process)
        return (time.process_time() if saving else clock.ended) - clock.began

    return epoch


@dataclass
class Clock:
    """The processor time at the beginning of the last epoch, and at the end of its last step."""

    began: float = 0.0
    ended: float = 0.0


def quiet(open_logger: Callable[..., logging.Logger]) -> Callable[..., logging.Logger]:
    """A train_logger that writes its file and leaves the terminal alone."""

    def opened(*words: Any, **named: Any) -> logging.Logger:
        log = open_logger(*words, **named)
        for handler in list(log.handlers):
            if not isinstance(handler, logging.FileHandler):
                log.removeHandler(handler)
        return log

    return opened


class Table:
    """A data set in memory."""

    random = False

    def __init__(self, images: Tensor, labels: Tensor, classes: int = 10) -> None:
        self.images, self.labels = images, labels
        self.facts = {"classes": [*map(str, range(classes))], "image_size": 1}

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return self.images.index_select(0, numbers), self.labels.index_select(0, numbers)

    def fingerprint(self) -> str:
        return "a table"

    def describe(self) -> str:
        return "a table"


def stand_in(project: str, build: Callable[[], nn.Module], images: Tensor, labels: Tensor) -> Clock:
    """Gives a project's train.py a table in memory in the place of images in folders, and a model; none is evaluated."""
    train, data, metrics, run = (projects.module(project, name) for name in ("train", "data", "metrics", "engine.run"))
    clock = Clock()

    class Clocked(data.EpochBatchSampler):  # type: ignore[name-defined]  # rendered: mypy does not know it
        def order(self) -> Any:  # what an epoch begins with
            clock.began = time.process_time()
            return super().order()

    def train_loader(table: Any, opt: Any, process: Any) -> Any:
        loader = data.train_loader(table, opt, process)
        loader.batch_sampler.__class__ = Clocked
        return loader

    def evaluate(*_: Any) -> Any:
        clock.ended = time.process_time()
        return SimpleNamespace(compute=lambda: {metrics.BEST: 0.5, "loss": 1.0})

    table = Table(images, labels)
    vars(train).update(
        load_data=lambda opt, process: (table, table),
        build_model=lambda opt, facts: build(),
        train_loader=train_loader,
        augment=lambda images, *more: images,
        evaluate=evaluate,
    )
    vars(run).update(draw=lambda folder: folder)
    return clock


def bare(build: Callable[[], nn.Module], images: Tensor, labels: Tensor, kind: str) -> Epoch:
    """The loop of every tutorial: no schedule, no logging, no checkpoint, nothing."""
    net, batches = build(), loader(images, labels)
    optim = optimizer(net, kind)

    def epoch() -> float:
        total = 0.0
        began = time.process_time()
        for x, y in batches:
            optim.zero_grad()
            logits, _ = net(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optim.step()
            total += loss.item()
        assert math.isfinite(total)
        return time.process_time() - began

    return epoch


def tuned(build: Callable[[], nn.Module], images: Tensor, labels: Tensor, kind: str, groups: int = 4) -> Epoch:
    """The fastest that we could write by hand without compiling: no DataLoader, a fused optimizer, nothing looked up.

    With four groups it does the work of the generated loop, with one less than that.
    """
    net = build()
    parameters = list(net.parameters())
    optim = optimizer(net, kind, fused=True, groups=groups)
    steps = len(images) // BATCH

    def epoch() -> float:
        total = torch.zeros(())
        began = time.process_time()
        for step, index in enumerate(torch.randperm(len(images))[: steps * BATCH].view(steps, BATCH)):
            optim.zero_grad()
            logits, _ = net(images[index])
            loss = F.cross_entropy(logits, labels[index])
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            rate = LR * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in optim.param_groups:
                group["lr"] = rate
            optim.step()
            total += loss.detach()
        assert math.isfinite(total.item())
        return time.process_time() - began

    return epoch


def lightning(build: Callable[[], nn.Module], images: Tensor, labels: Tensor, kind: str) -> Epoch:
    """Lightning as its documentation has it: a logger, a schedule per step, clipping by the trainer."""
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    steps = len(images) // BATCH

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = build()
            self.began = self.seconds = 0.0

        def training_step(self, batch: list[Tensor], number: int) -> Tensor:
            logits, _ = self.net(batch[0])
            loss = F.cross_entropy(logits, batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optim = optimizer(self, kind)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optim, steps)
            return {"optimizer": optim, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        def on_train_epoch_start(self) -> None:
            self.began = time.process_time()

        def on_train_epoch_end(self) -> None:
            self.seconds = time.process_time() - self.began

    def epoch() -> float:
        net = Module()
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="cpu", gradient_clip_val=CLIP, log_every_n_steps=20, enable_progress_bar=False,
            logger=CSVLogger(projects.scratch() / "lightning"), enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(net, loader(images, labels))
        return net.seconds

    return epoch


def accelerate(build: Callable[[], nn.Module], images: Tensor, labels: Tensor, kind: str) -> Epoch:
    """Accelerate as its documentation has it."""
    import accelerate

    accelerator = accelerate.Accelerator(cpu=True)
    raw = build()
    plain = optimizer(raw, kind)
    schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(plain, EPOCHS * (len(images) // BATCH))
    net, optim, batches, schedule = accelerator.prepare(raw, plain, loader(images, labels), schedule)

    def epoch() -> float:
        total: Tensor | float = 0.0
        began = time.process_time()
        for x, y in batches:
            optim.zero_grad()
            logits, _ = net(x)
            loss = F.cross_entropy(logits, y)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(net.parameters(), CLIP)
            optim.step()
            schedule.step()
            total += loss.detach()
        assert math.isfinite(float(total))
        return time.process_time() - began

    return epoch


def ignite(build: Callable[[], nn.Module], images: Tensor, labels: Tensor, kind: str) -> Epoch:
    """Ignite as its code generator has it: an engine, a running average, a schedule per step."""
    from ignite.engine import Engine, Events
    from ignite.handlers.param_scheduler import LRScheduler
    from ignite.metrics import RunningAverage

    net, batches = build(), loader(images, labels)
    optim = optimizer(net, kind)

    def update(engine: Any, batch: list[Tensor]) -> dict[str, float]:
        net.train()
        optim.zero_grad()
        logits, _ = net(batch[0])
        loss = F.cross_entropy(logits, batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optim.step()
        return {"loss": loss.item()}

    trainer = Engine(update)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optim, EPOCHS * (len(images) // BATCH))
    trainer.add_event_handler(Events.ITERATION_STARTED, LRScheduler(schedule))
    RunningAverage(output_transform=lambda output: output["loss"]).attach(trainer, "loss")

    def epoch() -> float:
        began = time.process_time()
        trainer.run(batches, max_epochs=1)
        return time.process_time() - began

    return epoch
