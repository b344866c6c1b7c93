"""What processes share: layers of models of every make, and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torchvision.ops import FrozenBatchNorm2d

from tests.generated.rendered import importable, render_project


def dense() -> nn.Linear:
    return nn.Linear(4, 4)


def tied(one: nn.Linear) -> nn.Linear:
    """A layer with the weight of another one."""
    other = dense()
    other.weight = one.weight
    return other


class Model(nn.Module):
    """Layers that are called one after another."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        self.layers = list(layers)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        def called(layer: nn.Module, x: Tensor) -> Tensor:
            if isinstance(layer, nn.ModuleDict):
                layer = nn.ModuleList(layer.values())
            if isinstance(layer, nn.ModuleList):
                for each in layer:
                    x = called(each, x)
                return x
            out: Tensor = layer(x)
            return out

        for name in self.layers:
            x = called(self.get_submodule(name), x)
        return x


def blocks() -> nn.Module:
    return Model(
        first=dense(), blocks=nn.ModuleList([dense(), nn.ReLU(), nn.ModuleList([dense()]), nn.ModuleList()]),
        named=nn.ModuleDict({"last": dense()}),
    )  # fmt: skip


def comes_twice() -> nn.Module:
    block = dense()
    return Model(first=block, blocks=nn.ModuleList([block, dense(), block]))


def shares_a_weight() -> nn.Module:
    block = dense()
    return Model(blocks=nn.ModuleList([block, dense()]), head=tied(block))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module of a project with FSDP."""
    with importable(render_project(tmp_path_factory.mktemp("sharing") / "shared", distributed="fsdp")) as module:
        yield module("engine.processes")


@pytest.mark.parametrize(
    ("build", "alone"),
    [
        (blocks, ["first", "blocks.0", "blocks.2.0", "named.last"]),
        (comes_twice, ["first", "blocks.1"]),
        (shares_a_weight, ["blocks.1"]),
    ],
)
def test_a_model_is_shared_out_layer_by_layer_and_computes_as_before(
    processes: ModuleType, build: Callable[[], nn.Module], alone: list[str]
) -> None:
    torch.manual_seed(0)
    net, images = build(), torch.randn(2, 4)
    expected = net(images)
    opt = processes.RunOptions()
    with processes.Process.start(opt) as process:
        process.to_device(net, opt)
        result = net(images)
        result.sum().backward()

    assert torch.equal(result, expected)
    assert [name for name, module in net.named_modules() if name and isinstance(module, FSDPModule)] == alone
    assert all(parameter.grad is not None for parameter in net.parameters())


class Boxes(nn.Module):
    """A detector in small: a norm that only has statistics between two convolutions, and boxes beside the images."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), FrozenBatchNorm2d(8), nn.Conv2d(8, 4, 3))
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, boxes = inputs
        features = self.norm(self.body(images).mean(dim=(2, 3)))
        return self.head(features), boxes + 0.125


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_16_bits_what_is_no_product_stays_in_32(processes: ModuleType, precision: str) -> None:
    torch.manual_seed(0)
    net, inputs = Boxes(), (torch.rand(2, 3, 8, 8), torch.tensor([[500.25, 511.5]]))
    opt = processes.RunOptions(precision=precision)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with torch.autocast("cpu", dtype):
        expected, _ = net(inputs)
    with processes.Process.start(opt) as process:
        process.to_device(net, opt)
        with process.autocast(opt):
            found, boxes = net(inputs)
        (found.sum() + boxes.sum()).backward()

    assert boxes.tolist() == [[500.375, 511.625]]
    assert found.dtype == expected.dtype == dtype
    assert torch.allclose(found, expected, atol=1e-2)
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_weights_on_a_gpu_are_as_fsdp_takes_them(processes: ModuleType) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3)).to(memory_format=torch.channels_last)
    opt = processes.RunOptions()
    not_so = pytest.raises(NotImplementedError, match="non-contiguous")  # so nothing must make them so
    with processes.Process.start(opt) as process, not_so:
        process.to_device(net, opt)

    package = Path(str(processes.__file__)).parents[1]
    made = [path.name for path in package.rglob("*.py") if "channels_last" in path.read_text()]
    assert made == ["data.py"]  # of images only


def test_only_what_is_saved_is_taken_from_process_0_whatever_its_place_in_memory(
    processes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def received(tensor: Tensor, src: int) -> None:
        assert src == 0
        assert tensor.is_contiguous()  # gloo writes through the rows of any other
        tensor.fill_(7)

    process = processes.Process(rank=0, world=2, device=torch.device("cpu"))
    monkeypatch.setattr(torch.distributed, "broadcast", received)
    memory = torch.zeros(6)
    net = nn.BatchNorm1d(2)
    net.register_buffer("some", memory[::2])
    net.register_buffer("mask", torch.zeros(1).expand(4), persistent=False)

    process.same_buffers(net)

    assert memory.tolist() == [7, 0, 7, 0, 7, 0]
    assert net.running_mean is not None
    assert net.running_mean.tolist() == [7, 7]
    assert net.get_buffer("mask").tolist() == [0, 0, 0, 0]


def test_only_what_a_group_froze_thaws_and_in_one_process(
    processes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: Any = import_module(processes.__name__.replace("processes", "groups"))
    layers = {"first": ["0", "1"], "last": ["2"]}
    net = nn.Sequential(*(nn.Linear(1, 1) for _ in range(3)))
    net[1].requires_grad_(False)
    groups.freeze_groups(net, layers, {"first": 0, "last": 1})
    assert [one.weight.requires_grad for one in net] == [False, False, True]

    monkeypatch.setattr(groups, "is_initialized", lambda: True)
    with pytest.raises(groups.RunError, match="cannot thaw: several processes have agreed"):
        groups.freeze_groups(net, layers, {"first": 1, "last": 1})
    monkeypatch.undo()
    groups.freeze_groups(net, layers, {"first": 1, "last": 0})

    assert [one.weight.requires_grad for one in net] == [True, False, False]
