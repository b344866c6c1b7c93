"""YOLO in a rendered project: its loss against a slow loop written from the paper, its boxes, its networks."""

from collections.abc import Callable, Iterator
from math import cos, pi, sqrt
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.generated.rendered import importable, render_project

Module = Callable[[str], ModuleType]
Target = dict[str, Tensor]
SIDE, SIZE, CLASSES = 7, 112, 4  # cells along an edge, pixels along an edge


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project with the small network."""
    project = render_project(tmp_path_factory.mktemp("of") / "small", task="detection", model="yolo_small")
    with importable(project) as modules:
        yield modules


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project with the network of the paper, which begins with weights from a file."""
    flags = {"task": "detection", "model": "yolo_v1", "weights": "file", "weights_skip": ["classifier.4"]}
    with importable(render_project(tmp_path_factory.mktemp("of") / "paper", **flags)) as modules:
        yield modules


@pytest.fixture(scope="module")
def opt(module: Module) -> Any:
    return module("options").Options(image_size=SIZE)


def target(*objects: tuple[float, float, float, float, int]) -> Target:
    """What an image shows: left, top, right, bottom and class of each object."""
    return {
        "boxes": torch.tensor([one[:4] for one in objects], dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor([one[4] for one in objects], dtype=torch.int64),
    }


def random_target(generator: torch.Generator, count: int) -> Target:
    corners = (torch.rand(count, 2, 2, generator=generator) * SIZE).sort(dim=1).values
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return {"boxes": corners.view(count, 4), "labels": labels}


def random_grid(generator: torch.Generator, images: int, boxes: int) -> Tensor:
    grid = torch.rand(images, SIDE, SIDE, 5 * boxes + CLASSES, generator=generator)
    return grid + 0.3 * torch.randn(grid.shape, generator=generator)  # below 0 and above 1 too


# LOSS


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes of (x, y, width, height)."""
    shared = 1.0
    for center, extent in ((0, 2), (1, 3)):
        high = min(one[center] + one[extent] / 2, other[center] + other[extent] / 2)
        low = max(one[center] - one[extent] / 2, other[center] - other[extent] / 2)
        shared *= max(0.0, high - low)
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union else 0.0


def slow_loss(grid: Tensor, targets: list[Target], boxes: int, coord: float = 5.0, noobj: float = 0.5) -> float:
    """Equation 3 of the paper, one cell and one box after the other."""
    total = 0.0
    for image, true in zip(grid.tolist(), targets, strict=True):
        for row in range(SIDE):
            for column in range(SIDE):
                cell, present = image[row][column], None
                for (left, top, right, bottom), label in zip(true["boxes"].tolist(), true["labels"], strict=True):
                    x, y = (left + right) / 2 / SIZE * SIDE, (top + bottom) / 2 / SIZE * SIDE
                    if present is None and (int(x), int(y)) == (column, row):
                        box = x - column, y - row, (right - left) / SIZE, (bottom - top) / SIZE
                        present = box, int(label)
                told = [cell[5 * j : 5 * j + 5] for j in range(boxes)]
                overlaps, responsible = [0.0] * boxes, None
                if present is not None:
                    (x, y, width, height), label = present
                    whole = ((column + x) / SIDE, (row + y) / SIDE, width, height)
                    for j, (px, py, root_width, root_height, _) in enumerate(told):
                        own = ((column + px) / SIDE, (row + py) / SIDE, root_width**2, root_height**2)
                        overlaps[j] = overlap(own, whole)
                    responsible = overlaps.index(max(overlaps))
                    px, py, root_width, root_height, _ = told[responsible]
                    total += coord * ((px - x) ** 2 + (py - y) ** 2)
                    total += coord * ((root_width - sqrt(width)) ** 2 + (root_height - sqrt(height)) ** 2)
                    for number, score in enumerate(cell[5 * boxes :]):
                        total += (score - (number == label)) ** 2
                for j, (*_, confidence) in enumerate(told):
                    if j == responsible:
                        total += (confidence - overlaps[j]) ** 2
                    else:
                        total += noobj * confidence**2
    return total / len(targets)


@pytest.mark.parametrize("boxes", [1, 2, 3])
@pytest.mark.parametrize("counts", [[3, 0, 1], [0, 0], [60, 5], [1]], ids=str)
def test_the_loss_is_that_of_a_loop_written_from_the_paper(module: Module, counts: list[int], boxes: int) -> None:
    generator = torch.Generator().manual_seed(sum(counts) + boxes)
    opt = module("options").Options(boxes_per_cell=boxes)
    for _ in range(5):
        targets = [random_target(generator, count) for count in counts]
        grid = random_grid(generator, len(counts), boxes)

        terms = module("losses.yolo").yolo(grid, targets, SIZE, opt)

        assert float(sum(terms.values())) == pytest.approx(slow_loss(grid, targets, boxes), rel=1e-5)


def test_the_weights_of_the_loss_are_settings(module: Module) -> None:
    generator = torch.Generator().manual_seed(0)
    targets, grid = [random_target(generator, 4)], random_grid(generator, 1, 2)
    opt = module("options").Options(lambda_coord=2.0, lambda_noobj=0.1)

    terms = module("losses.yolo").yolo(grid, targets, SIZE, opt)

    assert float(sum(terms.values())) == pytest.approx(slow_loss(grid, targets, 2, 2.0, 0.1), rel=1e-5)
    defaults = module("options").Options()
    assert (defaults.lambda_coord, defaults.lambda_noobj) == (5.0, 0.5)  # the paper's


def test_of_several_objects_in_a_cell_the_first_is_learned(module: Module, opt: Any) -> None:
    grid = random_grid(torch.Generator().manual_seed(0), 1, 2)
    first, second = (20.0, 20.0, 26.0, 30.0, 1), (17.0, 18.0, 30.0, 29.0, 2)
    yolo = module("losses.yolo").yolo

    both = yolo(grid, [target(first, second)], SIZE, opt)

    assert both == yolo(grid, [target(first)], SIZE, opt)
    assert both != yolo(grid, [target(second)], SIZE, opt)


def test_an_object_whose_centre_is_on_the_edge_of_the_image_has_a_cell(module: Module, opt: Any) -> None:
    grid = torch.zeros(1, SIDE, SIDE, 10 + CLASSES, requires_grad=True)
    edge = (SIZE, SIZE - 8, SIZE, SIZE, 0)

    terms = module("losses.yolo").yolo(grid, [target(edge)], SIZE, opt)

    sum(terms.values()).backward()
    assert grid.grad is not None
    assert grid.grad.abs().sum(dim=-1).nonzero().tolist() == [[0, SIDE - 1, SIDE - 1]]


def test_gradients_are_finite_where_boxes_have_no_width(module: Module, opt: Any) -> None:
    flat = target((20.0, 20.0, 20.0, 40.0, 1), (60.0, 60.0, 60.0, 60.0, 3))  # of no area
    for start in (0.0, -0.5):
        grid = torch.full((2, SIDE, SIDE, 10 + CLASSES), start, requires_grad=True)

        terms = module("losses.yolo").yolo(grid, [flat, target()], SIZE, opt)

        sum(terms.values()).backward()
        assert grid.grad is not None
        assert bool(grid.grad.isfinite().all())


def test_a_perfect_grid_costs_nothing_and_is_decoded_into_the_boxes_it_was_made_of(module: Module, opt: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    targets = [one_for_each_cell(generator), target(), one_for_each_cell(generator)]
    grid = encode(targets)

    terms = module("losses.yolo").yolo(grid, targets, SIZE, opt)
    found = module("model").decode(grid, SIZE, 2)

    assert {name: round(float(term), 6) for name, term in terms.items()} == dict.fromkeys(terms, 0.0)
    for true, told in zip(targets, found, strict=True):
        order, told_order = true["boxes"][:, 0].argsort(), told["boxes"][:, 0].argsort()
        torch.testing.assert_close(told["boxes"][told_order], true["boxes"][order], atol=1e-3, rtol=0)
        assert told["labels"][told_order].tolist() == true["labels"][order].tolist()
        torch.testing.assert_close(told["scores"], torch.ones(len(true["labels"])))


# BOXES


def one_for_each_cell(generator: torch.Generator) -> Target:
    """Objects in cells of their own, inside the image and apart enough not to suppress each other."""
    cells = torch.randperm(SIDE * SIDE, generator=generator)[:9]
    center = (
        torch.stack([cells % SIDE, cells // SIDE], dim=1) + 0.1 + 0.8 * torch.rand(9, 2, generator=generator)
    ) * 16
    half = torch.minimum(torch.minimum(center, SIZE - center), 1 + 8 * torch.rand(9, 2, generator=generator))
    return {"boxes": torch.cat([center - half, center + half], dim=1), "labels": torch.arange(9) % CLASSES}


def encode(targets: list[Target]) -> Tensor:
    """The grid that tells of these objects by the second of two boxes."""
    grid = torch.zeros(len(targets), SIDE, SIDE, 10 + CLASSES)
    for image, true in enumerate(targets):
        for (left, top, right, bottom), label in zip(true["boxes"].tolist(), true["labels"].tolist(), strict=True):
            x, y = (left + right) / 2 / SIZE * SIDE, (top + bottom) / 2 / SIZE * SIDE
            roots = sqrt((right - left) / SIZE), sqrt((bottom - top) / SIZE)
            grid[image, int(y), int(x), 5:10] = torch.tensor([x - int(x), y - int(y), *roots, 1.0])
            grid[image, int(y), int(x), 10 + label] = 1.0
    return grid


def test_of_boxes_of_one_class_that_overlap_the_best_stays(module: Module, opt: Any) -> None:
    best, worse, other_class = (36, 37, 56, 57, 0), (40, 37, 60, 57, 0), (36, 39, 56, 59, 1)  # each in its own cell
    grid = encode([target(best, worse, other_class)])
    grid[0, 2, 3, 9] = 0.8  # the confidence of the second

    (found,) = module("model").decode(grid, SIZE, 2)

    boxes = [*map(tuple, found["boxes"].round().int().tolist())]
    assert sorted(zip(boxes, found["labels"].tolist(), strict=True)) == [(best[:4], 0), (other_class[:4], 1)]


def test_boxes_lie_inside_the_image_and_scores_between_nothing_and_one(module: Module, opt: Any) -> None:
    grid = 4 * random_grid(torch.Generator().manual_seed(0), 3, 2) - 1

    for found in module("model").decode(grid, SIZE, 2):
        assert 0 < len(found["scores"]) <= 100
        assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
        assert 0 <= float(found["scores"].min()) <= float(found["scores"].max()) <= 1
        assert 0 <= float(found["boxes"].min()) <= float(found["boxes"].max()) <= SIZE


def test_no_confidence_times_no_class_is_no_score(module: Module, opt: Any) -> None:
    (found,) = module("model").decode(-torch.ones(1, SIDE, SIDE, 10 + CLASSES), SIZE, 2)

    assert [*map(len, found.values())] == [0, 0, 0]


# NETWORK


def test_the_small_network_gives_a_cell_for_every_16_pixels(module: Module, opt: Any) -> None:
    facts = {"classes": [*"abcd"], "image_size": SIZE}
    net = module("model").build_model(opt, facts)

    assert net(torch.rand(2, 3, SIZE, SIZE)).shape == (2, SIDE, SIDE, 10 + CLASSES)
    assert [found.keys() for found in net.eval()(torch.rand(2, 3, SIZE, SIZE))] == [{"boxes", "scores", "labels"}] * 2
    assert sum(isinstance(layer, nn.Conv2d) for layer in net.modules()) == 6
    with pytest.raises(module("engine").RunError, match=r"--image-size 100 does not divide into .* take 96"):
        module("model").build_model(opt, {**facts, "image_size": 100})


def build(paper: Module, classes: int, size: int) -> nn.Module:
    """The network of the paper, for images of a size."""
    facts = {"classes": [f"class{label}" for label in range(classes)], "image_size": size}
    net: nn.Module = paper("model").build_model(paper("options").Options(), facts)
    return net


def test_the_network_of_the_paper_has_its_layers(paper: Module) -> None:
    with torch.device("meta"):
        net = build(paper, 20, 448)
        grid = net(torch.empty(1, 3, 448, 448))

    assert type(net).__name__ == "Yolo_v1"
    assert grid.shape == (1, 7, 7, 30)
    shapes = [
        f"{layer.kernel_size[0]}x{layer.kernel_size[0]}x{layer.out_channels}" + "-s-2" * (layer.stride[0] == 2)
        for layer in net.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    # figure 3 of the paper
    table = ["7x7x64-s-2", "3x3x192", "1x1x128", "3x3x256", "1x1x256", "3x3x512"]
    table += 4 * ["1x1x256", "3x3x512"] + ["1x1x512", "3x3x1024"]
    table += 2 * ["1x1x512", "3x3x1024"] + ["3x3x1024", "3x3x1024-s-2"]
    table += ["3x3x1024", "3x3x1024"]
    assert shapes == table
    assert len(shapes) == 24
    linear = [(layer.in_features, layer.out_features) for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(7 * 7 * 1024, 4096), (4096, 7 * 7 * 30)]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in net.modules()) == 4
    assert (
        sum(isinstance(layer, nn.Conv2d) for layer in net.get_submodule("backbone").modules()) == 20
    )  # those that are trained first


def test_the_network_of_the_paper_takes_two_steps(paper: Module) -> None:
    torch.manual_seed(0)
    net = build(paper, 20, 448)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9)
    opt = paper("options").Options()
    losses = []
    for _ in range(2):
        terms = paper("losses").criterion(net(torch.ones(1, 3, 448, 448)), [target((100, 100, 300, 200, 7))], opt)
        optimizer.zero_grad()
        terms["loss"].backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
        optimizer.step()
        losses.append(terms["loss"].item())

    assert 0 < losses[1] < losses[0]
    assert all(bool(parameter.isfinite().all()) for parameter in net.parameters())


def test_weights_of_other_classes_are_loaded_but_for_the_last_layer(paper: Module, tmp_path: Path) -> None:
    trained, net = build(paper, 20, 64), build(paper, 10, 64)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "trained.pt")
    pretrained = paper("pretrained")

    report = pretrained.load_pretrained(net, pretrained.read_weights(tmp_path / "trained.pt"))

    assert report == (
        "weights: 50 of 52 tensors loaded (under state_dict); random: classifier.4.weight, classifier.4.bias; "
        "not used: classifier.4.weight, classifier.4.bias"
    )
    given = trained.state_dict()
    for name, value in net.state_dict().items():
        assert name.startswith("classifier.4.") or torch.equal(value, given[name]), name
    with pytest.raises(paper("engine").RunError, match=r"2 have another shape \(classifier\.4\.weight is "):
        pretrained.load_pretrained(net, given, skip=[])


@pytest.mark.nightly
def test_the_network_of_the_paper_overfits_16_pictures(paper: Module) -> None:
    """At 128 pixels, so that it takes minutes on a core: a grid of 2 x 2, and one or two objects in each picture."""
    torch.manual_seed(0)
    draw, size = torch.Generator().manual_seed(0), 128
    images, targets = 0.2 * torch.rand(16, 3, size, size, generator=draw), []
    for number, image in enumerate(images):
        objects = []
        for half in range(1 + number % 2):
            width, height = (40 + int(torch.randint(20, (1,), generator=draw)) for _ in range(2))
            label = int(torch.randint(3, (1,), generator=draw))
            left = int(torch.randint(size // 2 - width, (1,), generator=draw)) + size // 2 * half
            top = int(torch.randint(size - height, (1,), generator=draw))
            image[label, top : top + height, left : left + width] = 1.0
            objects.append((left, top, left + width, top + height, label))
        targets.append(target(*objects))
    net, opt = build(paper, 3, size), paper("options").Options()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    halves = [half for _ in range(150) for half in torch.randperm(16, generator=draw).split(8)]
    for step, some in enumerate(halves):
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 * min(1, (step + 1) / 10) * (0.5 + 0.5 * cos(pi * step / len(halves)))
        terms = paper("losses").criterion(net(images[some]), [targets[number] for number in some.tolist()], opt)
        optimizer.zero_grad()
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
    with paper("engine").Process.start(opt) as process, torch.no_grad():
        metrics = paper("metrics").Metrics(process, {"classes": [*"abc"]})
        metrics.update(net.eval()(images), targets, torch.arange(16))

        assert metrics.compute()["mAP50"] >= 0.95
