"""Triplets that a table names: losses and metrics compare exactly these, and what needs classes is refused."""

import ast
import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scaffold.errors import BadAnswer
from scaffold.questions.form import Form
from tests.generated.alone import Alone
from tests.generated.rendered import importable, own_tests, render_project

# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")
Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for several processes with both losses, and a network in which no image sees another."""
    folder = tmp_path_factory.mktemp("of") / "triplets"
    losses = ["triplet=1", "triplet_margin=0.5"]
    return render_project(folder, task="triplet_learning", losses=losses, model="mlp", distributed="ddp", logger="none")


@pytest.fixture(scope="module")
def module(project: Path) -> Iterator[Module]:
    with importable(project) as modules:
        yield modules


def embeddings(count: int) -> Tensor:
    """Those of the images of so many triplets, one after the other: more often right than wrong."""
    noise = torch.Generator().manual_seed(count)
    anchors = torch.randn(count, 1, 5, generator=noise)
    others = torch.randn(count, 3, 5, generator=noise)
    return (others + anchors * torch.tensor([1.0, 1.0, 0.5])[:, None]).flatten(0, 1)


def squared(one: Tensor, two: Tensor) -> Tensor:
    return (one - two).square().sum(dim=1)


@pytest.mark.parametrize("settings", [{}, {"margin": 0.3, "p": 1.0, "t1": -0.2, "beta": 0.5}, {"swap": True}])
def test_the_losses_are_those_of_torch_on_exactly_these_triplets(module: Module, settings: dict[str, Any]) -> None:
    opt = module("options").Options(**settings)
    output = embeddings(40)
    anchor, positive, negative = (F.normalize(output, dim=1)[place::3] for place in range(3))

    terms = module("losses").criterion((output, output), None, opt)

    margin = nn.TripletMarginLoss(opt.margin, opt.p, swap=opt.swap)(anchor, positive, negative)
    near, far = ((anchor - other).norm(opt.p, dim=1) for other in (positive, negative))
    far = torch.minimum(far, (positive - negative).norm(opt.p, dim=1)) if opt.swap else far
    assert float(margin) == pytest.approx(float(F.relu(near - far + opt.margin).mean()), abs=1e-5)
    near = squared(anchor, positive)
    hinge = nn.TripletMarginWithDistanceLoss(distance_function=squared, margin=-opt.t1)(anchor, positive, negative)
    reference = hinge + opt.t1 + opt.beta * near.clamp(min=opt.t2).mean()
    assert float(terms["triplet_margin"]) == pytest.approx(float(margin), rel=1e-6)
    assert float(terms["triplet"]) == pytest.approx(float(reference), rel=1e-5)
    assert float(terms["loss"]) == pytest.approx(float(reference + 0.5 * margin), rel=1e-5)


def test_the_class_is_that_of_the_triplets_that_are_mined(project: Path, tmp_path: Path) -> None:
    mining = render_project(tmp_path / "mining", task="metric_learning", losses=["triplet=1"])
    trees = [ast.parse((one / one.name / "losses" / "triplet.py").read_text()) for one in (project, mining)]

    classes = [ast.dump(node) for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]

    assert len(classes) == 2
    assert len({*classes}) == 1


def test_parts_of_a_batch_learn_what_the_whole_learns(module: Module) -> None:
    opt = module("options").Options()
    net = module("model").build_model(opt, {"image_size": 4, "channels": 1})
    triplets = torch.rand(12, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 255
    facts = {"mean": [127.0], "std": [70.0], "scale": 255.0}

    def gradients(*parts: Tensor) -> list[Tensor]:
        net.zero_grad()
        for part in parts:
            output = net(module("data").normalise(part, facts))
            (module("losses").criterion(output, None, opt)["loss"] * len(part) / 12).backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    for one, other in zip(gradients(triplets), gradients(*triplets.split([5, 7])), strict=True):
        torch.testing.assert_close(one, other)


def measured(module: Module, output: Tensor, process: Any, numbers: Tensor, batch: int) -> Any:
    metrics = module("metrics").Metrics(process, {})
    for part in numbers.split(batch):
        metrics.update((None, output.view(-1, 3, 5)[part].flatten(0, 1)), None, part)
    return metrics


def test_triplet_accuracy_counts_each_triplet_once_whatever_the_batches_and_processes(module: Module) -> None:
    output = embeddings(41)
    anchor, positive, negative = F.normalize(output, dim=1).view(-1, 3, 5).unbind(1)
    near, far = squared(anchor, positive), squared(anchor, negative)
    others = [measured(module, output, Alone(), torch.arange(rank, 41, 3), 7) for rank in (1, 2)]

    class First(Alone):
        """The first of three processes, each with every third triplet."""

        def total(self, tensor: Tensor) -> Tensor:
            names = {0: ("right", "count"), 1: ("sums",)}[tensor.ndim]
            name = next(name for name in names if getattr(metrics, name) is tensor)
            return torch.stack([tensor, *(getattr(other, name) for other in others)]).sum(dim=0)

    metrics = measured(module, output, First(), torch.arange(0, 41, 3), 4)
    values = metrics.compute()

    assert 0.5 < values["triplet_accuracy"] < 1
    assert values["triplet_accuracy"] == int((near < far).sum()) / 41
    both = -torch.stack([near, far])
    assert values["loss"] == pytest.approx(float(-both.log_softmax(dim=0)[0].mean()), rel=1e-6)
    assert f"over 41 triplets, {int((near >= far).sum())} of them wrong" in metrics.report()
    assert f"{near.sqrt().mean():.4f} to the positive, {far.sqrt().mean():.4f} to the negative" in metrics.report()


def test_what_is_all_in_one_point_is_wrong(module: Module) -> None:
    metrics = measured(module, torch.ones(27, 5), Alone(), torch.arange(9), 9)

    assert metrics.compute()["triplet_accuracy"] == 0


def test_its_losses_are_its_own_and_what_needs_classes_is_refused(form: Form) -> None:
    answers = form.fill({"task": "triplet_learning"}, "p")
    assert answers["losses"] == [{"name": "triplet", "weight": 1.0}]
    assert answers["model"] == "cnn"
    assert not answers["has_head"]
    for name, takes in (("cross_entropy", "scores"), ("hinge_embedding", "embeddings")):
        with pytest.raises(BadAnswer, match=f"'{name}' takes {takes}, which triplet_learning has not"):
            form.fill({"task": "triplet_learning", "losses": [{"name": name, "weight": 1.0}]}, "p")
    with pytest.raises(BadAnswer, match="'triplet_margin'"):
        form.fill({"task": "metric_learning", "losses": [{"name": "triplet_margin", "weight": 1.0}]}, "p")
    with pytest.raises(BadAnswer, match="triplet_learning has cnn"):
        form.fill({"task": "triplet_learning", "model": "unet"}, "p")


def test_the_digits_come_in_triplets_of_two_classes(project: Path, module: Module, tmp_path: Path) -> None:
    module("sample_data").unpack_digits(tmp_path / "digits")
    labels = {name: (split, label) for split, name, _, label in module("sample_data").digits()}

    for split in ("train", "val"):
        with (tmp_path / "digits" / f"{split}.csv").open() as file:
            rows = [[labels[Path(path).stem] for path in row.values()] for row in csv.DictReader(file)]
        assert {part for row in rows for part, _ in row} == {split}
        assert all(anchor == positive != negative for (_, anchor), (_, positive), (_, negative) in rows)
        assert len(rows) == sum(part == split for part, _ in labels.values())


# several processes, as those of multi_label do on every commit
@pytest.mark.parametrize("names", ["data train resume", pytest.param("ranks", marks=pytest.mark.nightly)])
def test_its_own_tests_pass_and_it_goes_on_to_the_same_bits(project: Path, names: str) -> None:
    own_tests(project, *(f"tests/test_{name}.py" for name in names.split()))


@pytest.mark.nightly
def test_two_processes_learn_what_one_learns(project: Path, tmp_path: Path) -> None:
    def losses(ranks: int) -> list[float]:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command += [
            "-m",
            "triplets.train",
            "--",
            "--epochs",
            "1",
            "--log-every",
            "1",
            "--run-dir",
            str(tmp_path / str(ranks)),
        ]
        done = subprocess.run(
            command,
            cwd=project,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rows = map(json.loads, (tmp_path / str(ranks) / "1" / "metrics.jsonl").read_text().splitlines())
        return [row["train/loss"] for row in rows if row["kind"] == "train"]

    assert losses(2) == pytest.approx(losses(1), abs=1e-4)
