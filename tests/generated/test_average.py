"""The moving average of the weights: what its formula says at every step, and what it leaves alone."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from tests.generated.rendered import importable, render_project, write_images
from tests.reliability.test_damage import resealed


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """The modules of a project with a moving average."""
    project = render_project(tmp_path_factory.mktemp("average") / "averaged", ema=True)
    with importable(project) as found:
        yield found


class Net(nn.Module):
    """One weight, a batch norm, and two buffers that no average is of."""

    mask: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
        self.register_buffer("count", torch.zeros(1, dtype=torch.long))


def test_each_step_keeps_what_is_written_down_by_hand(module: Callable[[str], ModuleType]) -> None:
    net = Net()
    ema = module("engine.ema").EMA(net, 0.3)

    averages = []
    for step in (1, 2, 3, 4):
        with torch.no_grad():
            net.weight.fill_(step)
            assert net.norm.running_mean is not None
            net.norm.running_mean.fill_(10 * step)
        ema.update(step)
        with ema.swapped():
            averages.append((float(net.weight.detach()), float(net.norm.running_mean)))

    # 2/11 and 3/12 of what was, then 3/10, since 4/13 is more
    first = 9 / 11
    second = first * 0.25 + 2 * 0.75
    third = second * 0.3 + 3 * 0.7
    fourth = third * 0.3 + 4 * 0.7
    assert [weight for weight, _ in averages] == pytest.approx([first, second, third, fourth])
    assert [mean for _, mean in averages] == pytest.approx([10 * first, 10 * second, 10 * third, 10 * fourth])
    assert float(net.weight.detach()) == 4


def test_a_mask_and_whole_numbers_stay_as_they_are(module: Callable[[str], ModuleType]) -> None:
    net = Net()
    mask = net.mask.clone()
    ema = module("engine.ema").EMA(net, 0.998)

    net.count += 7
    for step in (1, 2):
        ema.update(step)
    with ema.swapped():
        assert torch.equal(net.mask, mask)
        assert int(net.count) == 7
    assert torch.equal(net.mask, mask)


def test_of_the_random_weights_nothing_is_left_after_a_short_run(module: Callable[[str], ModuleType]) -> None:
    net = Net()
    with torch.no_grad():
        net.weight.fill_(1000.0)
    ema = module("engine.ema").EMA(net, 0.998)
    with torch.no_grad():
        net.weight.fill_(1.0)

    for step in range(1, 101):
        ema.update(step)

    with ema.swapped():
        assert float(net.weight.detach()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rules", [1, 2])
def test_a_run_that_older_rules_began_is_told_once(
    module: Callable[[str], ModuleType], tmp_path: Path, rules: int
) -> None:
    options = module("options").Options
    opt = options(data_dir=str(write_images(tmp_path / "images")), run_dir=str(tmp_path / "run"), run=1, batch_size=16)
    with module("engine").Process.start(opt) as process:
        module("train").train(replace(opt, epochs=1), process)
        checkpoint = tmp_path / "run" / "1" / "checkpoints" / "3"
        state = checkpoint / "state.json"
        saved = json.loads(state.read_text())
        assert saved["rules"] == module("engine.run").RULES
        if rules == 1:  # checkpoints of versions before 0.3.6 have no such number
            del saved["rules"]
        state.write_text(json.dumps(saved))
        resealed(checkpoint)
        told = []
        for epochs in (2, 3):
            module("train").train(replace(opt, epochs=epochs), process)
            told.append((tmp_path / "run" / "1" / "train.log").read_text().count("and an average warms up"))

    assert told == ([1, 1] if rules == 1 else [0, 0])
