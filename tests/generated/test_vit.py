"""The vision transformer: which parameters decay, how it begins, and blocks that are left out."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.generated.rendered import importable, render_project

FACTS = {"image_size": 8, "classes": ["a", "b"]}


Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    with importable(render_project(tmp_path_factory.mktemp("vit") / "digits", model="vit")) as found:
        yield found


def network(module: Module, **settings: Any) -> tuple[Any, Any]:
    """The options and the network of these settings."""
    torch.manual_seed(0)
    opt = module("options").Options(**settings)
    return opt, module("model").build_model(opt, FACTS)


def decay_of_positions(module: Module, **settings: Any) -> float:
    """The weight decay of the group with the positions."""
    opt, net = network(module, weight_decay=0.1, **settings)
    groups = module("optim").optim_params(net, opt)
    return next(float(group["weight_decay"]) for group in groups if any(one is net.position for one in group["params"]))


def test_positions_do_not_decay_but_in_runs_that_began_when_they_did(module: Module) -> None:
    assert decay_of_positions(module) == 0
    assert decay_of_positions(module, decay_position=True) == 0.1
    record = module("engine.history").Record({"seed": 1}, set(), {})
    assert module("engine.history").known_settings(module("options").Options, record) == {
        "seed": 1,
        "decay_position": True,
    }


def test_positions_begin_as_large_as_patches_and_never_far_from_zero(module: Module) -> None:
    _, net = network(module)
    assert net.position.abs().max() <= 2
    assert net.position.std().item() == pytest.approx(0.88, abs=0.05)  # a normal distribution that ends at 2


def test_blocks_are_left_out_in_training_the_later_the_more_often(module: Module) -> None:
    _, net = network(module, drop_path=0.5, depth=3)
    assert [block.drop_path for block in net.blocks] == [0, 0.25, 0.5]
    images = torch.rand(1, 3, 8, 8).expand(64, -1, -1, -1)

    logits, _ = net.train()(images)
    assert len(logits.unique(dim=0)) > 4  # each image has blocks of its own
    expected = net.blocks[2].branch(torch.ones(4000, 1, 1))
    assert {*expected.unique().tolist()} == {0, 2}
    assert expected.mean().item() == pytest.approx(1, abs=0.1)
    logits, _ = net.eval()(images)
    assert torch.allclose(logits, logits[:1].expand_as(logits))


def test_without_it_nothing_is_drawn(module: Module) -> None:
    _, net = network(module)
    before = torch.get_rng_state()
    net.train()(torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)
