"""What a step costs besides the mathematics: python -m bench.step"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from bench import loops, projects
from bench.measure import Result, compared, finish, ratio, turns

PEERS = ["lightning", "accelerate", "ignite"]
MLP_GROUPS = [
    {"name": "backbone", "layers": ["backbone"], "lr": 0.1},
    {"name": "head", "layers": ["rest"], "lr": 1.0},
]
RESNET_GROUPS = [
    {"name": "head", "layers": ["net.fc"], "lr": 1.0},
    {"name": "backbone", "layers": ["rest"], "lr": 0.1},
]


def table(steps: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Numbers to train on, enough for an epoch of so many steps."""
    numbers = torch.Generator().manual_seed(0)
    count = steps * loops.BATCH
    return torch.randn(count, *shape, generator=numbers), torch.randint(10, (count,), generator=numbers)


def contenders(
    project: str, build: Callable[[], nn.Module], images: Tensor, labels: Tensor, kind: str, saving: bool = True
) -> dict[str, loops.Epoch]:
    """Each loop by its name."""
    return {
        "bare loop": loops.bare(build, images, labels, kind),
        "generated": loops.generated(project, build, images, labels, saving),
        "tuned by hand, same groups": loops.tuned(build, images, labels, kind),
        "tuned by hand, one group": loops.tuned(build, images, labels, kind, groups=1),
        **{name: getattr(loops, name)(build, images, labels, kind) for name in PEERS if find_spec(name)},
    }


def project(name: str, kind: str, groups: Any) -> None:
    """A project with everything on; its model is put in later."""
    projects.make(
        name, optimizer=kind, clip=loops.CLIP, model="own", model_class="bench.loops:MLP", groups_from="own",
        layer_groups=groups, warmup=1,
    )  # fmt: skip


def mlp(result: Result, kind: str, rounds: int, steps: int) -> None:
    """64-64-10 on a table of 64 numbers, with four optimizer groups."""
    project(f"mlp_{kind}", kind, MLP_GROUPS)
    times = turns(contenders(f"mlp_{kind}", loops.MLP, *table(steps, 64), kind), rounds)
    how = f"64-64-10, {kind}, batch {loops.BATCH}, {steps:,} steps a turn, {rounds} turns, processor time of one thread"
    result.tables.append(compared(f"A step of a small network, {kind}", how, times, "bare loop", steps, "step"))
    result.aim(f"MLP, {kind}: generated over the bare loop", ratio(times, "generated", "bare loop").value, most=0.90)
    tuned = ratio(times, "generated", "tuned by hand, same groups").value
    result.aim(f"MLP, {kind}: generated over the tuned loop that does the same work", tuned, most=1.25)


def resnet(result: Result, rounds: int, steps: int) -> None:
    """resnet18 on 32 x 32, where overhead should vanish."""
    import torchvision

    class Resnet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torchvision.models.resnet18(num_classes=10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.net(x)
            return logits, logits

    project("resnet", "adamw", RESNET_GROUPS)
    times = turns(contenders("resnet", Resnet, *table(steps, 3, 32, 32), "adamw", saving=False), rounds)
    how = (
        f"resnet18 on 32 x 32, adamw, batch {loops.BATCH}, {steps} steps a turn without the checkpoint after them, "
        f"{rounds} turns, processor time of one thread"
    )
    result.tables.append(compared("A step of resnet18", how, times, "bare loop", steps, "step"))
    result.aim("resnet18: generated over the bare loop", ratio(times, "generated", "bare loop").value, most=1.0)


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    result = Result("step")
    for kind in ("adamw", "sgd"):
        mlp(result, kind, 3 if quick else 15, 500 if quick else 1000)
    resnet(result, 2 if quick else 7, 2 if quick else 8)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
