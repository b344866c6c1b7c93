"""What is done to images to learn from: the right labels with the right share, repeatable, and nothing unless asked."""

import math
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.generated.rendered import importable, render_project
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import metrics, outcome

pytest_plugins = ["tests.reliability.crash.fixtures"]
NUMBERS = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 12)  # each image is full of its number


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with importable(render_project(tmp_path_factory.mktemp("augment") / "views")) as module:
        yield module


def part(seed: int, *, rank: int = 0, world: int = 1) -> SimpleNamespace:
    """What a process gets of a batch of 8 items."""
    noise = torch.rand(8, 1, generator=torch.Generator().manual_seed(seed))[rank::world]
    return SimpleNamespace(noise=lambda count: noise)


def test_without_mixup_and_cutmix_the_images_are_themselves(modules: Any) -> None:
    images, others, share = modules("mixing").mix(NUMBERS, part(0), SimpleNamespace(mixup=0.0, cutmix=0.0))

    assert images is NUMBERS
    assert others is None
    assert share == 1


def test_mixup_blends_each_image_with_the_one_whose_label_it_takes(modules: Any) -> None:
    shares = []
    for seed in range(200):
        images, others, share = modules("mixing").mix(NUMBERS, part(seed), SimpleNamespace(mixup=0.4, cutmix=0.0))
        expected = share * NUMBERS + (1 - share) * NUMBERS[others]
        assert torch.allclose(images, expected, atol=1e-5)
        assert sorted(others.tolist()) == list(range(8))
        shares.append(share)

    # Beta(0.4, 0.4) has mean 1/2 and variance 1 / (4 (2 * 0.4 + 1))
    assert sum(shares) / 200 == pytest.approx(0.5, abs=0.08)
    assert torch.tensor(shares).var() == pytest.approx(1 / 7.2, abs=0.03)


def test_cutmix_gives_the_other_label_the_share_of_its_pixels(modules: Any) -> None:
    shares = []
    for seed in range(200):
        images, others, share = modules("mixing").mix(NUMBERS, part(seed), SimpleNamespace(mixup=0.0, cutmix=1.0))
        for number, image in enumerate(images):
            assert {*image.unique().tolist()} <= {float(number), float(others[number])}
            if others[number] != number:
                assert (image == number).float().mean() == pytest.approx(share, abs=1e-6)
        shares.append(share)

    assert min(shares) < 0.2
    assert max(shares) > 0.9


def test_with_both_each_has_half_of_the_batches(modules: Any) -> None:
    opt = SimpleNamespace(mixup=1.0, cutmix=1.0)
    blended = [not (modules("mixing").mix(NUMBERS, part(seed), opt)[0] % 1 == 0).all() for seed in range(200)]

    assert 70 < sum(blended) < 130


def test_what_is_mixed_follows_from_the_noise_alone(modules: Any) -> None:
    opt = SimpleNamespace(mixup=0.4, cutmix=1.0)
    first = modules("mixing").mix(NUMBERS, part(1), opt)
    torch.rand(5)
    again, other = modules("mixing").mix(NUMBERS, part(1), opt), modules("mixing").mix(NUMBERS, part(2), opt)

    assert torch.equal(first[0], again[0])
    assert first[2] == again[2] != other[2]


def test_each_process_mixes_its_own_images_by_a_share_of_its_own(modules: Any) -> None:
    opt = SimpleNamespace(mixup=0.4, cutmix=0.0)
    shares = set()
    for rank in range(2):
        own = NUMBERS[rank::2]  # as the order of an epoch is dealt
        images, others, share = modules("mixing").mix(own, part(1, rank=rank, world=2), opt)
        assert torch.allclose(images, share * own + (1 - share) * own[others], atol=1e-5)
        assert sorted(others.tolist()) == list(range(4))
        shares.add(share)

    assert len(shares) == 2


def test_blended_losses_are_those_of_soft_labels(modules: Any) -> None:
    opt = modules("options").Options(label_smoothing=0.1)
    logits, one, two = torch.randn(8, 4), torch.randint(0, 4, (8,)), torch.randint(0, 4, (8,))
    criterion, blend = modules("losses").criterion, modules("mixing").blend

    terms = blend(criterion((logits, None), one, opt), criterion((logits, None), two, opt), 0.3)

    soft = 0.3 * torch.nn.functional.one_hot(one, 4) + 0.7 * torch.nn.functional.one_hot(two, 4)
    expected = torch.nn.functional.cross_entropy(logits, soft, label_smoothing=0.1)
    assert terms["loss"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("flags", "mirrored"),
    [
        ({"model": "resnet18", "weights": "imagenet"}, True),
        ({"task": "multi_label", "model": "timm:test_vit", "weights": "pretrained"}, True),
        ({"model": "resnet18"}, False),
        ({"task": "regression", "model": "resnet18", "weights": "imagenet"}, False),
    ],
)
def test_photographs_are_cropped_and_mirrored_where_that_leaves_their_classes(
    tmp_path: Path, flags: dict[str, str], mirrored: bool
) -> None:
    with importable(render_project(tmp_path / "own", **flags)) as module:
        opt = module("options").Options()

    assert (opt.flip, opt.crop_scale > 0) == (mirrored, mirrored)
    assert (opt.shift == opt.rotate == opt.zoom == 0) == mirrored


def test_a_wide_picture_is_seen_to_its_ends_in_training(modules: Any) -> None:
    opt = replace(modules("options").Options(), crop_scale=0.5)
    view = modules("transforms").training_view(opt, {"channels": 3})
    wide = torch.arange(96.0).expand(3, 32, 96)  # each column is full of its number
    torch.manual_seed(0)

    seen = torch.cat([view(wide, 16).flatten() for _ in range(100)])
    middle = modules("images").square(wide, 16)

    assert seen.min() < 4
    assert seen.max() > 91
    assert middle.min() > 31
    assert middle.max() < 64


@pytest.mark.parametrize("flags", [{"color_jitter": 0.4}, {"auto_augment": "randaugment"}, {"crop_scale": 0.3}])
@pytest.mark.parametrize("white", [None, 255.0])
def test_random_views_follow_from_torch_s_seed_and_keep_what_white_is(
    modules: Any, flags: dict[str, Any], white: float | None
) -> None:
    view = modules("transforms").training_view(replace(modules("options").Options(), **flags), {"channels": 3})
    image = torch.randint(0, 256, (3, 40, 30), dtype=torch.uint8)
    image = image if white is None else image.float()

    views = []
    for seed in (1, 1, 2, 3, 4):
        torch.manual_seed(seed)
        views.append(view(image, 24))

    assert all(one.shape == (3, 24, 24) and one.dtype == image.dtype for one in views)
    assert torch.equal(views[0], views[1])
    assert any(not torch.equal(views[0], one) for one in views[2:])
    assert all(one.float().max() > 50 for one in views)


def test_colours_of_two_channels_are_refused(modules: Any) -> None:
    opt = replace(modules("options").Options(), color_jitter=0.4)

    with pytest.raises(modules("engine").RunError, match="--color-jitter and --auto-augment need 1 or 3 channels"):
        modules("transforms").training_view(opt, {"channels": 2})


@pytest.mark.parametrize(
    "flags",
    [
        ["--mixup", "0.4", "--cutmix", "1"],
        ["--auto-augment", "trivialaugment", "--crop-scale", "0.5", "--color-jitter", "0.4"],
    ],
    ids=lambda flags: flags[0],
)
def test_a_run_with_it_is_exact_and_another_one(project: Rendered, work: Path, flags: list[str]) -> None:
    trained = project("single")
    assert trained.run(work / "plain", "--epochs", "3").code == 0
    assert trained.run(work / "whole", "--epochs", "3", *flags).code == 0
    often = work / "often"
    killed = ("fail_once", {"package": trained.package, "what": "die", "rank": 0, "step": 5})
    assert trained.run(often, "--epochs", "3", *flags, faults=[killed]).code == -signal.SIGKILL
    where = {"where": "forward", "time_": 2, "number": signal.SIGTERM}
    asked = ("signal_in", {"package": trained.package, **where})
    assert trained.run(often, "--epochs", "3", *flags, "--num-workers", "1", faults=[asked]).code == 143
    assert trained.run(often, "--epochs", "3", *flags).code == 0

    whole = outcome(work / "whole")
    assert whole.differs(outcome(often)) == []
    assert whole.rows != outcome(work / "plain").rows
    assert all(math.isfinite(row["train/loss"]) for row in metrics(often, "train"))
