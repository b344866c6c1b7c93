"""A detector learns boxes that have nothing of the data that ship, in each of the three formats: shapes on coloured noise."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.generated.rendered import render_project
from tests.generated.test_data_choices import run

WIDTH, HEIGHT = 160, 120
KINDS = ["disc", "ring", "triangle"]
Box = tuple[int, int, int, int, str]


def scene(dice: random.Random) -> tuple[Image.Image, list[Box]]:
    """One to four shapes of any colour on a blurred ground, and their boxes: left, top, right, bottom, kind."""
    ground = np.random.default_rng(dice.randrange(1 << 30)).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    boxes: list[Box] = []
    for _ in range(dice.randint(1, 4)):
        side, kind = dice.randint(20, 44), dice.choice(KINDS)
        left, top = dice.randint(0, WIDTH - side), dice.randint(0, HEIGHT - side)
        if any(left < x2 and x1 < left + side and top < y2 and y1 < top + side for x1, y1, x2, y2, _ in boxes):
            continue
        colour = tuple(dice.choice([0, 255]) for _ in range(3))
        draw, corners = ImageDraw.Draw(image), (left, top, left + side - 1, top + side - 1)
        if kind == "triangle":
            draw.polygon([(left, corners[3]), (corners[2], corners[3]), ((left + corners[2]) / 2, top)], fill=colour)
        else:
            draw.ellipse(corners, fill=colour if kind == "disc" else None, outline=colour, width=5)
        boxes.append((left, top, left + side, top + side, kind))
    return image.filter(ImageFilter.GaussianBlur(0.6)), boxes


def write(folder: Path, form: str, split: str, count: int) -> None:
    """Scenes with their boxes in one of the formats."""
    dice = random.Random(split)
    (folder / split).mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        image, boxes = scene(dice)
        image.save(folder / split / f"{number}.jpg", quality=90)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT})
        rows, objects = "", ""
        for left, top, right, bottom, kind in boxes:
            wide, high, label = right - left, bottom - top, KINDS.index(kind)
            annotations.append({"image_id": number, "category_id": label + 1, "bbox": [left, top, wide, high]})
            middle = f"{(left + wide / 2) / WIDTH} {(top + high / 2) / HEIGHT}"
            rows += f"{label} {middle} {wide / WIDTH} {high / HEIGHT}\n"
            corners = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
            objects += f"<object><name>{kind}</name><bndbox>{corners}</bndbox></object>"
        if form == "yolo":
            (folder / split / f"{number}.txt").write_text(rows)
        elif form == "voc":
            size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
            (folder / split / f"{number}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    if form == "yolo":
        (folder / "classes.txt").write_text("".join(f"{kind}\n" for kind in KINDS))
    elif form == "coco":
        categories = [{"id": number + 1, "name": kind} for number, kind in enumerate(KINDS)]
        (folder / "annotations").mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["voc", "coco", "yolo"])
def test_shapes_on_coloured_noise_are_found_whatever_the_format(tmp_path: Path, form: str) -> None:
    project = render_project(tmp_path / "shapes", task="detection", logger="none")
    for split, count in (("train", 600), ("val", 100)):
        write(tmp_path / "data", form, split, count)

    ended = run(project, "train", "--data-dir", str(tmp_path / "data"))

    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in (project / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    assert [row["val/mAP50"] for row in rows if row["kind"] == "val"][-1] > 0.5
