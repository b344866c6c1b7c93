"""A loss that is a mean over other things than items: parts of a batch and processes weigh as much as they have of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generated.rendered import render_project
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Change, Project, make, metrics, write_own_data

pytest_plugins = ["tests.reliability.crash.fixtures"]

# labels of one class are not looked at: the parts of a batch have 0 to 6 images that count
MEAN = "F.cross_entropy(logits.float(), labels, label_smoothing=opt.label_smoothing)"
SUM = "F.cross_entropy(logits.float(), labels, ignore_index=3, reduction='sum')"
IGNORED: tuple[Change, ...] = (
    ("PACKAGE/losses/cross_entropy.py", MEAN, f"{SUM} / (labels != 3).sum().clamp(min=1)"),
    ("PACKAGE/losses/__init__.py", ", **terms}", ', **terms, "count": (labels != 3).sum()}'),
)


def trained(project: Project, work: Path, accumulate: int, ranks: int = 1) -> list[float]:
    """The losses and the norms of the gradients of each step."""
    flags = ["--epochs", "1", "--log-every", "1", "--clip", "1", "--accumulate", str(accumulate)]
    ended = project.run(work, *flags, ranks=ranks)
    assert ended.code == 0, ended.said
    rows = metrics(work, "train")
    assert len(rows) == 3
    assert all("train/count" not in row for row in rows)
    return [row[name] for row in rows for name in ("train/loss", "train/cross_entropy", "train/grad_norm")]


@pytest.mark.parametrize("name", ["parts", "ddp_plain", "fsdp_plain"])
def test_unequal_parts_and_processes_learn_what_the_whole_batch_learns(
    project: Rendered, work: Path, name: str
) -> None:
    changed = project(name).changed(work / "code", IGNORED)
    ranks = 1 if name == "parts" else 2

    whole = trained(changed, work / "whole", 1)

    for accumulate in (1, 3):
        in_parts = trained(changed, work / str(accumulate), accumulate, ranks)
        assert in_parts == pytest.approx(whole, rel=1e-4)


def test_without_a_count_they_weigh_by_their_items_alone(project: Rendered, work: Path) -> None:
    changed = project("parts").changed(work / "code", IGNORED[:1])

    whole, in_parts = (trained(changed, work / str(number), number) for number in (1, 3))

    assert in_parts != pytest.approx(whole, rel=1e-3)


# What each process has of its own is taken out: dropout, and batch norms, which torch shares between GPUs only.
ALIKE = """

_build_model = build_model


def build_model(opt, facts):
    net = _build_model(opt, facts)
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.train = lambda mode=True, layer=layer: layer
            layer.training = False
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return net
"""
FEW_WORDS = ["--width", "16", "--depth", "1", "--heads", "2", "--block", "16", "--sample", "0"]
SMALL = ["--image-size", "32", "--width", "4"]
TASKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "language_model": ({}, FEW_WORDS),
    "multi_label": ({}, []),
    "regression": ({}, []),
    "triplet_learning": ({}, []),
    "detection": ({}, []),
    "segmentation": ({}, SMALL),
    "segmentation deeplabv3": ({"model": "deeplabv3_mobilenet_v3_large"}, SMALL[:2]),
    "segmentation lraspp": ({"model": "lraspp_mobilenet_v3_large"}, SMALL[:2]),
    "detection retinanet": ({"model": "retinanet"}, SMALL[:2]),
    "detection fcos": ({"model": "fcos"}, SMALL[:2]),
}
EVERY_COMMIT = ("segmentation",)  # its losses are means over pixels, and not all of them count
OTHERWISE = "detection fcos"  # its losses are means over the objects of all images that a process has


@pytest.fixture
def of_task(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A project for several processes, in which an item is the same to each of them."""
    answers, flags = TASKS[request.param]
    answers = {"task": request.param.split()[0], "distributed": "ddp", "logger": "none", **answers}
    made = make(tmp_path, "two", answers, tmp_path / "data", flags)
    write_own_data(made)
    with (made.folder / made.package / "model.py").open("a") as file:
        file.write(ALIKE)
    yield made
    made.close()


def an_epoch(project: Project, work: Path, ranks: int, accumulate: int = 1) -> list[dict[str, float]]:
    """What is logged of each step, and of the evaluation after them."""
    flags = ["--epochs", "1", "--log-every", "1", "--clip", "1", "--accumulate", str(accumulate)]
    ended = project.run(work / f"{ranks} {accumulate}", *flags, ranks=ranks)
    assert ended.code == 0, ended.said
    rows = metrics(work / f"{ranks} {accumulate}")
    assert {row.pop("kind") for row in rows} >= {"train", "val"}
    return rows


@pytest.mark.parametrize(
    "of_task",
    [
        pytest.param(name, marks=[] if name in EVERY_COMMIT else pytest.mark.nightly)
        for name in TASKS
        if name != OTHERWISE
    ],
    indirect=True,
)
def test_two_processes_learn_what_one_learns_in_every_task(of_task: Project, work: Path) -> None:
    alone = an_epoch(of_task, work, 1)

    for accumulate in (1, 2):
        together = an_epoch(of_task, work, 2, accumulate)
        for row, expected in zip(together, alone, strict=True):
            assert row == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"task": "language_model"}, "counts the items of all processes together, so the result does not depend"),
        ({"task": "segmentation"}, "but for batch norms on CPUs, where each process normalises its own images"),
        ({"task": "triplet_learning"}, "counts the triplets of all processes together, so the result does not depend"),
        ({"task": "metric_learning", "data": "features"}, "each process compares its own items."),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_a_project_says_what_depends_on_how_many_processes_there_are(
    tmp_path: Path, answers: dict[str, str], said: str
) -> None:
    project = render_project(tmp_path / "two", distributed="ddp", **answers)

    assert said in (project / "README.md").read_text().replace("\n", " ")


@pytest.mark.nightly
@pytest.mark.parametrize("of_task", [OTHERWISE], indirect=True)
def test_what_a_detector_of_torchvision_learns_depends_on_how_many_there_are_as_it_says(
    of_task: Project, work: Path
) -> None:
    alone, together = (an_epoch(of_task, work, ranks)[0]["train/loss"] for ranks in (1, 2))

    assert together != pytest.approx(alone, rel=1e-3)
    assert together == pytest.approx(alone, rel=0.2)
    assert (
        "so the result depends a little on how many processes there are" in (of_task.folder / "README.md").read_text()
    )
