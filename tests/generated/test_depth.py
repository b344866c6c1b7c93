"""The cnn is deeper for larger images, and a run that began before it was stays as it is."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.generated.rendered import importable, render_project, write_images

OLD = {"conv1.weight", "conv2.weight", "conv3.weight", "head.weight", "head.bias"}
OLD |= {
    f"bn{number}.{name}"
    for number in (1, 2, 3)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    with importable(render_project(tmp_path_factory.mktemp("depth") / "digits")) as found:
        yield found


def network(module: Module, size: int, **settings: Any) -> Any:
    """The network for images of this size."""
    return module("model").build_model(
        module("options").Options(**settings), {"image_size": size, "classes": ["a", "b"]}
    )


def convolutions(net: torch.nn.Module) -> int:
    return sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())


@pytest.mark.parametrize(
    ("size", "stages"), [(4, 3), (8, 3), (16, 3), (17, 4), (28, 4), (32, 4), (48, 5), (64, 5), (96, 6), (224, 7)]
)
def test_the_last_convolution_sees_four_pixels_or_fewer(module: Module, size: int, stages: int) -> None:
    net = network(module, size).eval()
    seen: list[int] = []
    net.bn3.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[-1]))

    logits, embedding = net(torch.zeros(1, 3, size, size))

    assert convolutions(net) == stages
    assert 1 <= seen[0] <= 4
    assert logits.shape == (1, 2)
    assert embedding.shape == (1, 128)
    assert {name for name, _ in net.named_children()} == {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "head"}


def test_of_small_images_it_is_what_it_was(module: Module) -> None:
    assert network(module, 8).state_dict().keys() == OLD
    assert network(module, 64, stages=3).state_dict().keys() == OLD


@pytest.mark.parametrize(("size", "stages"), [(3, 0), (8, 5), (8, 2)])
def test_what_cannot_be_is_refused(module: Module, size: int, stages: int) -> None:
    with pytest.raises(module("engine").RunError, match=r"too small for this network|--stages is 3 or more"):
        network(module, size, stages=stages)


def test_a_run_of_an_older_version_keeps_its_depth(module: Module, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", size=32)
    options = {"data_dir": str(images), "run_dir": str(tmp_path / "run"), "num_workers": 0, "batch_size": 16}
    opt = module("options").Options(**options, epochs=1, stages=3)
    with module("engine").Process.start(opt) as process:
        module("train").train(opt, process)
        file = tmp_path / "run/1/options.json"
        record = json.loads(file.read_text())
        del record["options"]["stages"]
        file.write_text(json.dumps({**record, "given": ["data_dir"]}))

        _, _, net, _ = module("engine").load_run(
            tmp_path / "run/1", module("options").Options, module("model").build_model
        )
        assert convolutions(net) == 3

        more = module("options").Options(**options, epochs=2, run=1, given=("data_dir", "run_dir", "epochs"))
        more = module("engine").history.with_recorded_settings(more, process)
        module("train").train(more, process)
        assert json.loads(file.read_text())["options"]["stages"] == 3
        assert "--stages" not in (tmp_path / "run/1/train.log").read_text()
        with pytest.raises(module("engine").RunError, match="has --stages 3 and cannot go on with 4"):
            module("train").train(replace(more, stages=4, given=("stages",)), process)
