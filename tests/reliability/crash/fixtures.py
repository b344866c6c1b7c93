"""What the reliability tests share: images, rendered projects with their servers, and a place for the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.crash import report
from tests.reliability.crash.projects import Project, make, write_images, write_own_data

SMALL_IMAGES = ["--image-size", "32", "--batch-size", "8"]
# The projects that are put to the test, and the settings that make chance matter in them.
ANSWERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "single": ({"logger": "none"}, []),
    "files": ({"logger": "tensorboard"}, []),
    "rich": (
        {"model": "vit", "ema": True, "clip": 1.0, "accumulate": 2, "precision": "bf16"},
        ["--dropout", "0.1", "--dim", "16", "--depth", "1"],
    ),
    "sampler": (
        {
            "task": "metric_learning",
            "losses": [{"name": "triplet", "weight": 1.0}],
            "optimizer": "sgd",
            "ema": True,
            "accumulate": 2,
        },
        [],
    ),
    "workers": (
        {"model": "vit", "logger": "none"},
        ["--dropout", "0.1", "--dim", "16", "--depth", "1", "--cache-mb", "0"],
    ),
    "vit": ({"model": "vit", "logger": "none"}, ["--dropout", "0.1", "--dim", "16", "--depth", "1"]),
    "ddp": (
        {"distributed": "ddp", "logger": "none", "model": "vit", "ema": True, "accumulate": 2, "clip": 1.0},
        ["--dropout", "0.1", "--dim", "16", "--depth", "1"],
    ),
    "fsdp": (
        {"distributed": "fsdp", "logger": "none", "model": "vit", "ema": True, "accumulate": 2, "clip": 1.0},
        ["--dropout", "0.1", "--dim", "16", "--depth", "1"],
    ),
    "ddp_plain": ({"distributed": "ddp", "logger": "none", "model": "vit"}, ["--dim", "16", "--depth", "1"]),
    "fsdp_plain": ({"distributed": "fsdp", "logger": "none", "model": "vit"}, ["--dim", "16", "--depth", "1"]),
    # batch norms, whose statistics are each process's own
    "ddp_cnn": ({"distributed": "ddp", "logger": "none", "ema": True, "accumulate": 2}, ["--ema-decay", "0.5"]),
    "fsdp_cnn": ({"distributed": "fsdp", "logger": "none", "accumulate": 2}, []),
    "fsdp_bf16": (
        {"distributed": "fsdp", "logger": "none", "model": "vit", "precision": "bf16"},
        ["--dim", "16", "--depth", "1"],
    ),
    "ddp_sampler": (
        {"distributed": "ddp", "logger": "none", "task": "metric_learning"},
        [],
    ),
    "resnet_ddp": (
        {
            "distributed": "ddp",
            "logger": "none",
            "model": "resnet18",
            "losses": [{"name": "cross_entropy", "weight": 1.0}, {"name": "triplet", "weight": 0.5}],
            "scheduler": "multistep",
            "groups_from": "fine-tune",
        },
        ["--per-class", "2", "--image-size", "32"],
    ),
    "vit_plain": ({"model": "vit", "logger": "none"}, ["--dim", "16", "--depth", "1"]),
    "parts": (
        {"model": "vit", "logger": "none", "accumulate": 2, "clip": 1.0},
        ["--dim", "16", "--depth", "1"],
    ),
    "groups": ({"logger": "none", "groups_from": "fine-tune"}, []),
    "stepped": (
        {
            "logger": "none",
            "losses": [{"name": "hinge_embedding", "weight": 1.0}, {"name": "mse", "weight": 0.5}],
            "optimizer": "sgd",
            "scheduler": "step",
        },
        [],
    ),
    "milestones": ({"logger": "none", "scheduler": "multistep"}, []),
    "one_cycle": ({"logger": "none", "scheduler": "one_cycle"}, []),
    "words": (
        {"task": "language_model", "logger": "none", "clip": 1.0},
        [
            *("--width", "16", "--depth", "1", "--heads", "2", "--block", "16", "--dropout", "0.1"),
            *("--sample", "5"),
        ],
    ),
    "angles": ({"task": "regression", "ema": True}, []),
    "labels": ({"task": "multi_label", "logger": "none", "ema": True}, []),
    "boxes": ({"task": "detection", "logger": "none"}, []),
    "detector": ({"task": "detection", "logger": "none", "model": "ssdlite", "ema": True}, []),
    "masks": ({"task": "segmentation"}, ["--width", "4"]),
    # networks of torchvision of 3 to 42 million parameters
    "fasterrcnn": ({"task": "detection", "logger": "none", "model": "fasterrcnn"}, SMALL_IMAGES),
    "retinanet": ({"task": "detection", "logger": "none", "model": "retinanet"}, SMALL_IMAGES),
    "fcos": ({"task": "detection", "logger": "none", "model": "fcos"}, SMALL_IMAGES),
    "deeplabv3": (
        {"task": "segmentation", "logger": "none", "model": "deeplabv3_mobilenet_v3_large", "ema": True},
        SMALL_IMAGES,
    ),
    "lraspp": ({"task": "segmentation", "logger": "none", "model": "lraspp_mobilenet_v3_large"}, SMALL_IMAGES),
    "triplets": ({"task": "triplet_learning", "logger": "none", "ema": True}, []),
}
LARGE_NETWORKS = ("fasterrcnn", "retinanet", "fcos", "deeplabv3", "lraspp")
# Those whose data are no images in folders: what their own tests train on takes the place of the images.
OWN_DATA = ("words", "angles", "labels", "boxes", "detector", "masks", *LARGE_NETWORKS, "triplets")
Rendered = Callable[[str], Project]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set."""
    folder = tmp_path_factory.mktemp("crash") / "images"
    write_images(folder)
    return folder


@pytest.fixture(scope="module")
def project(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rendered]:
    """`project(name)` renders a project of `ANSWERS` once, and keeps its server."""
    made: dict[str, Project] = {}

    def rendered(name: str) -> Project:
        if name not in made:
            answers, flags = ANSWERS[name]
            folder = tmp_path_factory.mktemp(name)
            made[name] = make(folder, name, answers, folder / "data" if name in OWN_DATA else images, flags)
            if name in OWN_DATA:
                write_own_data(made[name])
        return made[name]

    yield rendered
    for each in made.values():
        each.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder for runs."""
    return tmp_path / "work"


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`figure(promise, what, reached, of)` writes a line of the table, if this is the nightly run."""

    def note(promise: str, what: str, reached: int, of: int) -> None:
        if "nightly" in request.keywords:
            report.note(promise, what, reached, of)

    return note
