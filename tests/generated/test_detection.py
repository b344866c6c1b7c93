"""Detection: the same boxes however files lie, what a project does with them, and models that only one task has."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image

from scaffold.errors import BadAnswer
from scaffold.questions.answer_types import MODEL
from scaffold.questions.form import Form
from tests.generated.rendered import importable, own_tests, render_project

Module = Callable[[str], ModuleType]
# For each split and image the boxes in pixels: left, top, right, bottom, class. The images have 40 x 20 pixels.
DATA = {
    "train": {"a": [(0, 0, 10, 20, "cat"), (5, 5, 40, 15, "dog")], "b": [], "c": [(1, 2, 3, 4, "dog")]},
    "val": {"d": [(20, 10, 40, 20, "cat")]},
}
NAMES = ["dog", "cat"]  # in an order of their own


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for several processes that accumulates gradients."""
    return render_project(
        tmp_path_factory.mktemp("of") / "found", task="detection", distributed="ddp", accumulate=2, logger="none"
    )


@pytest.fixture(scope="module")
def module(project: Path) -> Iterator[Module]:
    with importable(project) as modules:
        yield modules


def write_image(path: Path) -> None:
    from torchvision.io import write_png

    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(torch.zeros(3, 20, 40, dtype=torch.uint8), str(path))


def yolo(boxes: list[tuple[int, int, int, int, str]]) -> str:
    lines = [
        f"{NAMES.index(name)} {(left + right) / 80} {(top + bottom) / 40} {(right - left) / 40} {(bottom - top) / 20}\n"
        for left, top, right, bottom, name in boxes
    ]
    return "".join(lines)


def yolo_polygons(boxes: list[tuple[int, int, int, int, str]]) -> str:
    """The boxes as polygons of six corners, two of them on sides."""
    lines = ""
    for left, top, right, bottom, name in boxes:
        corners: list[tuple[float, float]] = [
            (left, top),
            ((left + right) / 2, top),
            (right, top),
            (right, bottom),
            (left, bottom),
        ]
        corners += [(left, (top + bottom) / 2)]
        lines += " ".join([str(NAMES.index(name)), *(f"{x / 40} {y / 20}" for x, y in corners)]) + "\n"
    return lines


def voc(name: str, boxes: list[tuple[int, int, int, int, str]]) -> str:
    objects = [
        f"<object><name>{kind}</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for left, top, right, bottom, kind in boxes
    ]
    size = "<size><width>40</width><height>20</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}.png</filename>{size}{''.join(objects)}</annotation>"


def coco(images: dict[str, list[tuple[int, int, int, int, str]]]) -> str:
    entries = [
        {"id": place, "file_name": f"{name}.png", "width": 40, "height": 20} for place, name in enumerate(images)
    ]
    found = [
        {"image_id": place, "category_id": 7 + NAMES.index(name), "bbox": [left, top, right - left, bottom - top]}
        for place, boxes in enumerate(images.values())
        for left, top, right, bottom, name in boxes
    ]
    categories = [{"id": 7 + place, "name": name} for place, name in enumerate(NAMES)]
    return json.dumps({"images": entries, "annotations": found, "categories": categories})


def write_split(folder: Path, layout: str, split: str) -> None:
    """Writes a part of the data as this layout has it."""
    for name, boxes in DATA[split].items():
        images, labels = {
            "side by side": (f"{split}/{name}.png", f"{split}/{name}.txt"),
            "images and labels": (f"images/{split}/{name}.png", f"labels/{split}/{name}.txt"),
            "polygons": (f"{split}/{name}.png", f"{split}/{name}.txt"),
            "valid": (
                f"{split.replace('val', 'valid')}/images/{name}.png",
                f"{split.replace('val', 'valid')}/labels/{name}.txt",
            ),
            "voc": (f"{split}/JPEGImages/{name}.png", f"{split}/Annotations/{name}.xml"),
            "voc lists": (f"JPEGImages/{name}.png", f"Annotations/{name}.xml"),
            "coco": (f"{split}2017/{name}.png", ""),
        }[layout]
        write_image(folder / images)
        if labels:
            (folder / labels).parent.mkdir(parents=True, exist_ok=True)
            write = yolo_polygons if layout == "polygons" else yolo
            (folder / labels).write_text(voc(name, boxes) if labels.endswith(".xml") else write(boxes))
    if layout == "voc lists":
        listed = folder / "ImageSets" / "Main" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{name}\n" for name in DATA[split]))
        write_image(folder / "SegmentationClass" / f"{split}.png")
    if layout == "coco":
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}2017.json").write_text(coco(DATA[split]))
        (folder / "annotations" / f"captions_{split}2017.json").write_text('{"images": [], "annotations": []}')


@pytest.mark.parametrize(
    "layout", ["side by side", "images and labels", "polygons", "valid", "voc", "voc lists", "coco"]
)
@pytest.mark.parametrize("above", [False, True])
def test_the_same_data_are_the_same_boxes_however_they_lie(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, above: bool
) -> None:
    for split in DATA:
        write_split(tmp_path, layout, split)
    if above:  # the folder is named by a path such as ../data
        (tmp_path / "project").mkdir()
        monkeypatch.chdir(tmp_path / "project")
        tmp_path = Path("..")
    (tmp_path / "data.yaml").write_text("nc: 2\nnames:\n  0: dog\n  1: 'cat'\n")
    opt = module("options").Options(image_size=64)

    train_set = module("data").MyDataset(tmp_path / "train", opt)
    val_set = module("data").MyDataset(tmp_path / "val", opt, train_set.facts)

    assert train_set.facts["classes"] == ["cat", "dog"]
    for dataset, split in ((train_set, "train"), (val_set, "val")):
        found = {}
        for number, path in enumerate(dataset.paths):
            _, boxes, labels = dataset.read(number)
            rows = zip(boxes.tolist(), labels.tolist(), strict=True)
            found[Path(path).stem] = [(*box, ["cat", "dog"][label]) for box, label in rows]
        assert found == DATA[split]
    assert train_set.fingerprint() != val_set.fingerprint()
    assert "1 image without a box" in train_set.describe()
    assert "left out" not in train_set.describe()
    assert ("3 polygons read as boxes" in train_set.describe()) == (layout == "polygons")


@pytest.mark.parametrize(
    ("sizes", "side"),
    [([(40, 20)], 48), ([(512, 300)], 512), ([(40, 20), (100, 160)], 160), ([(640, 480), (20, 20)], 448)],
)
def test_images_are_seen_as_large_as_the_largest_but_for_those_of_photographs(
    module: Module, tmp_path: Path, sizes: list[tuple[int, int]], side: int
) -> None:
    from torchvision.io import write_png

    paths = [str(tmp_path / f"{number}.png") for number in range(len(sizes))]
    for path, (width, height) in zip(paths, sizes, strict=True):
        write_png(torch.zeros(3, height, width, dtype=torch.uint8), path)

    assert module("images").usual_size(paths, 0) == side


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, 'big dog']", ["cat", "big dog"]),
        ("path: .\nnames:\n- cat\n- dog  # a comment\nnc: 2\n", ["cat", "dog"]),
        ("names:\n  0: cat\n  1: dog\nroboflow:\n  0: no\n", ["cat", "dog"]),
        ("names:\n  1: dog\n\n  # the other one\n  0: C#\n", ["C#", "dog"]),
        ("names: {1: dog, 0: 'cat, small'}\n", ["cat, small", "dog"]),
        ("names:\n  0: cat\n  2: dog\n", []),  # no name for 1
        ("names:\n  1: dog\n  0: cat\n", ["cat", "dog"]),
        ("names: {0: cat, 1: 'big dog'}\n", ["cat", "big dog"]),
        ("names:\n  1: cat\n  2: dog\n", []),  # from 1 on, which YOLO's numbers are not
        ("nc: 2\n", []),
    ],
)
def test_names_are_read_from_yaml_of_each_kind(module: Module, text: str, names: list[str]) -> None:
    assert module("boxes").names_in_yaml(text) == names


def test_two_formats_and_another_size_than_was_annotated_are_refused(module: Module, tmp_path: Path) -> None:
    write_split(tmp_path, "voc", "train")
    dataset = module("data").MyDataset(tmp_path / "train", module("options").Options())
    from torchvision.io import write_png

    write_png(torch.zeros(3, 10, 20, dtype=torch.uint8), dataset.paths[0])
    with pytest.raises(module("engine").RunError, match=r"a\.png is 20 x 10 pixels, and its annotation says 40 x 20"):
        dataset.check(0, 1)

    (tmp_path / "train" / "all.json").write_text(coco({}))
    with pytest.raises(module("engine").RunError, match="in 2 formats, Pascal VOC and COCO"):
        module("data").MyDataset(tmp_path / "train", module("options").Options())


def test_files_that_count_pixels_from_nothing_are_told_of_and_can_be_read_so(module: Module, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    text = voc("a", [(0, 0, 10, 20, "cat")]).replace("<xmin>1<", "<xmin>0<").replace("<ymin>1<", "<ymin>0<")
    (tmp_path / "a.xml").write_text(text)
    options = module("options").Options

    told = module("data").MyDataset(tmp_path, options()).describe()
    other = module("data").MyDataset(tmp_path, options(first_pixel=0))

    assert "--first-pixel 0" in told
    assert other.read(0)[1].tolist() == [[0.0, 0.0, 10.0, 20.0]]
    assert "--first-pixel" not in other.describe()


def refused(module: Module, folder: Path) -> str:
    """What is said of data that are refused."""
    with pytest.raises(module("engine").RunError) as problem:
        module("data").MyDataset(folder, module("options").Options())
    return str(problem.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": [{"id": 0, "file_name": "a.png"}] * 2}, "the image id 0 twice"),
        ({"images": [{"id": number, "file_name": "a.png"} for number in range(2)]}, r"the image .*a\.png twice"),
        ({"categories": [{"id": 7, "name": "ant"}, {"id": 7, "name": "bee"}]}, "the category id 7 twice"),
    ],
)
def test_what_coco_says_twice_is_refused(module: Module, tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    write_image(tmp_path / "a.png")
    content = json.loads(coco({"a": [(0, 0, 10, 20, "dog")]}))
    (tmp_path / "all.json").write_text(json.dumps({**content, **change}))

    assert re.search(sentence, refused(module, tmp_path))


def test_two_annotations_of_one_image_an_unknown_encoding_and_boxes_without_area_are_refused(
    module: Module, tmp_path: Path
) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.xml").write_text(voc("a", [(0, 0, 10, 20, "cat")]))  # b.xml was copied
    assert re.search(r"have the image .*a\.png twice", refused(module, tmp_path))

    (tmp_path / "b.xml").write_text('<?xml version="1.0" encoding="klingon"?>' + voc("b", []))
    assert re.search(r"b\.xml cannot be read .*klingon", refused(module, tmp_path))

    (tmp_path / "b.xml").unlink()
    (tmp_path / "a.xml").write_text(voc("a", [(10, 20, 0, 0, "cat")]))
    assert "no box with an area in its image" in refused(module, tmp_path)


def test_names_of_classes_that_are_not_one_for_each_number_are_refused_and_a_bom_is_none(
    module: Module, tmp_path: Path
) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("\ufeff1 0.5 0.5 0.5 0.5\r\n")
    (tmp_path / "classes.txt").write_text("\ufeffdog\r\ncat\r\n\r\n")
    dataset = module("data").MyDataset(tmp_path, module("options").Options())
    assert dataset.facts["classes"] == ["cat"]

    (tmp_path / "classes.txt").write_text("dog\n\ncat\n")
    assert "classes.txt cannot be read as annotations: class 1 has no name" in refused(module, tmp_path)
    (tmp_path / "classes.txt").write_text("dog\ndog\n")
    assert "the class dog twice" in refused(module, tmp_path)


COCO_BOXES = [[1, 2, 39, 19], [20, 3, 38, 15], [2, 2, 9, 9], [25, 10, 39, 18]]


@pytest.mark.parametrize(
    ("boxes", "name", "sentence"),
    [
        (COCO_BOXES, "cat", "look like left, top, right and bottom; COCO has [left, top, width, height]"),
        ([[0.1, 0.2, 0.5, 0.5]] * 4, "cat", "all boxes are within a pixel; COCO's numbers are pixels"),
        ([[5, 5, 10, 10]] * 4, " ", "category 7 has no name"),
        ([[5, 5, 10, 10]] * 4, None, "category 7 has no name"),
    ],
)
def test_numbers_of_another_kind_and_nameless_classes_of_coco_are_refused(
    module: Module, tmp_path: Path, boxes: list[list[float]], name: str | None, sentence: str
) -> None:
    write_image(tmp_path / "train" / "a.png")
    content = json.loads(coco({"a": []}))
    content["annotations"] = [{"id": 1, "image_id": 0, "category_id": 7, "bbox": box} for box in boxes]
    content["categories"][0]["name"] = name
    (tmp_path / "train" / "a.json").write_text(json.dumps(content))

    with pytest.raises(module("engine").RunError, match=re.escape(sentence)):
        module("data").MyDataset(tmp_path / "train", module("options").Options())


@pytest.mark.parametrize(
    ("lines", "yaml", "sentence"),
    [
        ("0 0.1 0.1 0.9 0.9\n0 0.4 0.2 0.8 0.7\n0 0.3 0.3 0.5 0.6\n", "names: [cat]", "YOLO has the middle"),
        ("0 0.5 0.5 0.2 0.2 0.45 0.45 2 0.5 0.5 1\n", "names: [cat]", "keep the first five numbers"),
        ("0 0.5 0.5 0.2 0.2 0.45 0.45 0.5 0.5\n", "names: [cat]\nkpt_shape: [2, 2]", "keep the first five numbers"),
    ],
)
def test_corners_and_keypoints_are_not_taken_for_boxes_of_yolo(
    module: Module, tmp_path: Path, lines: str, yaml: str, sentence: str
) -> None:
    write_image(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "a.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text(yaml)

    with pytest.raises(module("engine").RunError, match=sentence):
        module("data").MyDataset(tmp_path / "train", module("options").Options())


def test_one_file_of_yolo_is_not_that_of_two_images_and_a_val_of_data_yaml_is_looked_at(
    module: Module, tmp_path: Path
) -> None:
    for name in ("train", "dev"):
        for image in "abc":
            write_image(tmp_path / name / f"{image}.png")
            (tmp_path / name / f"{image}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("train: train\nval: train\nnames: [cat]\n")
    opt = module("options").Options()
    assert module("data").MyDataset(tmp_path / "train", opt).facts["held_out"]

    (tmp_path / "data.yaml").write_text("path: .\ntrain: train\nval: 'dev'  # to look at\nnames: [cat]\n")
    with pytest.raises(module("engine").RunError, match=r"dev val, which would not be looked at; rename its folder"):
        module("data").MyDataset(tmp_path / "train", opt)
    (tmp_path / "dev").rename(tmp_path / "val")
    write_image(tmp_path / "train" / "a.jpg")
    with pytest.raises(module("engine").RunError, match=r"a\.jpg and .*a\.png would both have the boxes in .*a\.txt"):
        module("data").MyDataset(tmp_path / "train", opt)


def test_nothing_in_a_folder_vanishes_is_there_for_ever_or_is_waited_for(module: Module, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    more = tmp_path / "more"
    more.symlink_to(tmp_path)
    assert f"{more} is a link to a folder that it lies in" in refused(module, tmp_path)
    more.unlink()
    more.symlink_to("/nowhere/to/be/found")
    assert f"{more} is a link to nowhere" in refused(module, tmp_path)
    more.unlink()
    os.mkfifo(more)
    assert f"{more} is neither a file nor a folder" in refused(module, tmp_path)


def test_predict_never_writes_over_the_images(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["predict", "run/1", "a.png", "--out", "."])

    assert module("predict").main() == 2
    assert "has the images themselves, which would be written over" in capfd.readouterr().err


def test_each_image_has_a_picture_of_its_own_whatever_the_images_are_called(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, places = module("predict"), ["x/a.png", "y/a.png", "a-1.png", "a-0-1.png"]
    for place in places:
        write_image(tmp_path / place)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "load_run", lambda *_: (None, {}, torch.nn.Identity(), 1))
    monkeypatch.setattr(predict, "find", lambda *_: (Image.new("RGB", (40, 20)), []))
    monkeypatch.setattr(sys, "argv", ["predict", "run/1", *places, "--out", "out"])

    assert predict.main() == 0
    names = [one["picture"] for one in json.loads((tmp_path / "out" / "found.json").read_text())]
    assert len({*names}) == 4
    assert {*names} == {path.name for path in (tmp_path / "out").glob("*.png")}


def test_predict_says_how_to_see_what_scores_less(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png")
    monkeypatch.setattr(module("predict"), "load_run", lambda *_: (None, {}, torch.nn.Identity(), 1))
    monkeypatch.setattr(module("predict"), "find", lambda *_: (Image.new("RGB", (4, 4)), []))
    monkeypatch.setattr(sys, "argv", ["predict", str(tmp_path), str(tmp_path / "a.png"), "--score", "0.7"])

    assert module("predict").main() == 0
    assert "found 0  (nothing scores 0.7; --score takes less)" in capfd.readouterr().out


def test_transforms_that_drop_boxes_drop_their_labels(module: Module, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    write_split(tmp_path, "side by side", "train")
    dataset = module("data").MyDataset(
        tmp_path / "train", module("options").Options(image_size=40, zoom=0.0, shift=0.0)
    )
    assert sorted(dataset[0][1]["labels"].tolist()) == [0, 1]

    dataset.transform = v2.Compose([v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes(min_area=200)])

    labels = {tuple(target["labels"].tolist()) for _, target in (dataset[0] for _ in range(20))}
    assert len(labels) > 1  # not all of them are left each time
    assert all(len(target["boxes"]) == len(target["labels"]) for _, target in (dataset[0] for _ in range(20)))


def test_sgd_clips_the_gradients_of_yolo_small_unless_typed(form: Form) -> None:
    """Without, a fresh project ended in NaN within 15 steps; with it, mAP50 is 0.98 as with AdamW."""
    flags = {"task": "detection", "optimizer": "sgd"}

    assert (form.fill(flags, "p")["lr"], form.fill(flags, "p")["clip"]) == (0.02, 10.0)
    assert form.fill({**flags, "clip": 0}, "p")["clip"] == 0
    assert form.fill({**flags, "model": "ssdlite"}, "p")["clip"] == form.fill({}, "p")["clip"] == 0


def test_models_of_another_task_are_neither_offered_nor_taken(form: Form) -> None:
    question = form.questions[MODEL.name]

    def offered(**answers: Any) -> list[str]:
        context = form.fill(answers, "p", until=MODEL.name)
        return [str(one.value) for one in form.choices(question, context) if MODEL.offers(one.value, context)]

    assert offered(task="detection")[0] == "yolo_small"
    assert not {*offered(task="detection")} & {*offered(task="classification")}
    assert "losses" not in form.asked({"task": "detection"}, "p")
    with pytest.raises(BadAnswer, match=r"detection has yolo_small, .*ssdlite"):
        form.fill({"task": "detection", "model": "cnn"}, "p")
    with pytest.raises(BadAnswer, match="classification has cnn"):
        form.fill({"model": "fcos"}, "p")


def test_a_killed_run_goes_on_with_equal_bits_in_the_project_itself(project: Path) -> None:
    own_tests(project, "tests/test_resume.py", "tests/test_data.py", "tests/test_train.py")


@pytest.mark.nightly
def test_all_its_own_tests_pass_on_two_processes_too(project: Path) -> None:
    own_tests(project)
