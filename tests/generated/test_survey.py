"""`python -m <package>.data DIR` tells something of every kind of data, and `--hash` sees every change."""

import contextlib
import io
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.generated.rendered import importable, render_project

OWN = '''"""Items of one's own."""

import torch


class Items:
    def __init__(self, folder, opt, facts):
        self.facts = {"classes": ["a", "b"]}
        self.count = len((folder / "labels.txt").read_text().split())

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        return torch.zeros(1, 8, 8), number % 2
'''


def survey(project: Path, *words: str, code: int = 0) -> str:
    """What the command says; run in this process, which has imported torch."""
    said, errors = io.StringIO(), io.StringIO()
    with (
        importable(project),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(errors),
    ):
        patch.chdir(project)
        patch.setattr(sys, "argv", ["data", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"{project.name}.data", run_name="__main__")
    assert (ended.value.code or 0) == code, said.getvalue() + errors.getvalue()
    return said.getvalue() + errors.getvalue()


def write_picture(path: Path, seed: int, size: tuple[int, int] = (24, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def test_boxes_are_counted_and_all_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    project, data = render_project(tmp_path / "det", task="detection"), tmp_path / "data"
    for split, count in (("train", 4), ("val", 3)):
        for number in range(count):
            write_picture(data / split / f"{number}.png", number if split == "train" else 10 + number)
            boxes = "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n" if number else "1 0.9 0.5 0.4 0.5\n"
            (data / split / f"{number}.txt").write_text(boxes)
    (data / "classes.txt").write_text("cat\ndog\n")
    (data / "val" / "1.png").write_bytes((data / "train" / "2.png").read_bytes())

    said = survey(project, str(data))
    assert "train: 4 images" in said
    assert "1 box cut at the border of the image" in said
    assert "  boxes of 2 classes: cat (3 in 3 images), dog (4 in 4 images)" in said
    assert "  1 size: 24 x 16 (4)" in said
    assert f"no test set: there is no folder {data / 'test'}" in said
    assert f"in train and again in val or test: 1\n  {data}/train/2.png = {data}/val/1.png" in said
    with Image.open(project / "contact_sheet.png") as sheet:
        assert sheet.size == (1280, 2 * 142)
        assert (255, 255, 0) in {colour for _, colour in sheet.getcolors(1 << 20) or []}

    hashed = survey(project, "--data-dir", str(data), "--hash").splitlines()[0]
    assert len(hashed) == 64
    (data / "train" / "3.txt").write_text("0 0.5 0.5 0.5 0.4\n1 0.2 0.2 0.2 0.2\n")
    changed = survey(project, str(data), "--hash")
    assert changed.splitlines()[0] != hashed

    for number in (1, 2):
        whole = (data / "train" / f"{number}.png").read_bytes()
        (data / "train" / f"{number}.png").write_bytes(whole[:-40])  # the header can be read
    said = survey(project, str(data), code=2)
    assert "images that cannot be read: 2" in said
    assert all(f"{data}/train/{number}.png is not an image that can be read" in said for number in (1, 2))
    assert "images that cannot be read: 2" in survey(project, str(data), "--hash", code=2)


def test_pixels_of_each_class_are_counted(tmp_path: Path) -> None:
    project, data = render_project(tmp_path / "seg", task="segmentation"), tmp_path / "data"
    mask = np.zeros((16, 24), dtype=np.uint8)
    mask[:, 12:], mask[:4, :] = 1, 255  # of the three quarters that count, a half is of each class
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            write_picture(data / split / "images" / f"{number}.png", number if split == "train" else 10 + number)
            (data / split / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(data / split / "masks" / f"{number}.png")
    (data / "classes.txt").write_text("ground\nroad\n")

    said = survey(project, str(data))
    assert "  pixels of 2 classes: ground (50.00% in 3 images), road (50.00% in 3 images); 25.00% of all do" in said
    with Image.open(project / "contact_sheet.png") as sheet:
        assert sheet.size == (1280, 2 * 142)

    hashed = survey(project, str(data), "--hash")
    mask[15, 0] = 1
    Image.fromarray(mask).save(data / "val" / "masks" / "1.png")
    assert survey(project, str(data), "--hash") != hashed


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"task": "classification", "data": "arrays"}, "train: 60 images in {}/train, 8 x 8 pixels"),
        ({"task": "classification", "data": "features"}, "\n  cat (40), dog (20)\n"),
        ({"task": "multi_label", "data": "features"}, "\n  label0 (20), label1 (30)\n"),
        ({"task": "regression", "data": "features"}, "\n  target0: 0 to 59, mean 29.5\n"),
        ({"task": "language_model"}, "train: 47 blocks of 128 bytes, 6,000 in all: {}/train.txt"),
        ({"task": "classification", "data": "own"}, "train: 60 items in {}/train, shape [1, 8, 8], 2 classes"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_other_data_are_told(tmp_path: Path, flags: dict[str, Any], told: str) -> None:
    project, data = render_project(tmp_path / "some", **flags), tmp_path / "data"
    data.mkdir()
    numbers = np.arange(60)
    inputs = np.random.default_rng(0).normal(size=(60, 8, 8) if flags.get("data") == "arrays" else (60, 5))
    targets = {
        "classification": np.where(numbers < 40, "cat", "dog"),
        "multi_label": np.stack([numbers < 20, numbers % 2], axis=1).astype(np.int64),
        "regression": numbers,
    }.get(flags["task"], numbers)
    for split in ("train", "val"):
        if flags["task"] == "language_model":
            (data / f"{split}.txt").write_text("some " * 1200)
        elif flags["data"] == "own":
            (data / split).mkdir()
            (data / split / "labels.txt").write_text("0 1 " * 30)
            (project / "my_data").mkdir(exist_ok=True)
            (project / "my_data" / "items.py").write_text(OWN)
        else:
            np.savez(data / f"{split}.npz", inputs=inputs, targets=targets)

    said = survey(project, str(data))
    assert told.format(data) in said
    assert said.count("val: ") == 1
    hashed = survey(project, str(data), "--hash")
    assert len(hashed.strip()) == 64
    assert survey(project, "--data-dir", str(data), "--hash") == hashed
    some = next(path for path in sorted(data.rglob("*")) if path.is_file())
    some.write_bytes(some.read_bytes()[:-1] + b"?")
    assert survey(project, str(data), "--hash") != hashed

    assert survey(project, str(tmp_path / "nowhere"), "--hash", code=2).startswith("error: there are no files in ")
