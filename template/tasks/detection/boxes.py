"""Images with boxes: Pascal VOC, COCO and YOLO files, told apart by what is in them, and read into one plain form."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .engine import RunError
from .images import KINDS, NAMES, oriented_size
from .options import Options
from .split import NOTES, held_out

FORMATS = "Pascal VOC (*.xml), COCO (*.json) or YOLO (*.txt)"
Corners = tuple[float, float, float, float]  # left, top, right, bottom
NAMES_FILES = ("classes.txt", "obj.names", "data.yaml", "data.yml")
VOC_TAGS = ("name", "bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")
TOLERANCE = 1e-4  # of a side: what six digits after the point may be off


class Boxes(NamedTuple):
    """The images of a folder and what is in them; `corners` are shares of an image's width and height."""

    paths: list[str]
    sizes: NDArray[np.int64]  # (images, 2), width and height as the annotations say; 0 where they do not
    corners: NDArray[np.float64]  # (boxes, 4): left, top, right, bottom
    labels: NDArray[np.int64]  # (boxes,), places in `classes`
    starts: NDArray[np.int64]  # (images + 1,): the boxes of image i are those from starts[i] to starts[i + 1]
    classes: list[str]
    notes: list[str]  # the format, and what was counted, cut or left out
    held_out: str = ""  # what to say of a train that is divided


class Annotated(NamedTuple):
    """What a file says of an image: its size (0: nothing), and of each box the class and the shares of the sides."""

    path: str
    size: tuple[int, int]
    boxes: list[tuple[str, Corners]]


class Files(NamedTuple):
    """The files that belong to a part of the data, such as train."""

    folder: Path
    images: dict[str, list[str]]  # their paths, by name
    others: list[str]  # all that could be annotations


def read_boxes(folder: Path, opt: Options, classes: list[str] | None = None) -> Boxes:
    """The images of `folder` with their boxes; `classes` are those of the images to train on.

    Where there is nothing for val, a share of train takes its place; where there is no train either, of all that is
    in the folder above.
    """
    divided = folder.name in ("train", "val") and not places(folder.with_name("val"))
    source = folder.with_name("train") if divided else folder
    above = [folder.parent] if divided and folder.parent.is_dir() else []
    files = list_files(source, places(source) or above)
    found, notes = read_annotations(files, opt)
    boxes = clean(found, classes, notes, source)
    if not divided:
        return boxes
    chosen = held_out([0] * len(boxes.paths), folder, opt)
    return only(boxes, chosen, NOTES[folder.name])


def places(folder: Path) -> list[Path]:
    """Where the files of a part of the data lie: train; train2017; images/train and labels/train; annotations/*train*.

    What some call valid is val.
    """
    found: list[Path] = []
    for name in [folder.name, *["valid"] * (folder.name == "val")]:
        name = escape(name)
        years = f"{name}20[0-9][0-9]"
        patterns = [name, years, f"images/{name}", f"images/{years}", f"labels/{name}", f"annotations/*{name}*.json"]
        found = found or [path for pattern in patterns for path in sorted(folder.parent.glob(pattern))]
    instances = [path for path in found if path.suffix != ".json" or path.name.startswith("instances")]
    return instances if any(path.suffix == ".json" for path in instances) else found


def list_files(folder: Path, roots: list[Path]) -> Files:
    """The images and annotations in some folders, at any depth."""
    if not roots:
        raise RunError(f"there is no folder {folder}; it holds images, and boxes as {FORMATS}")
    images: dict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    for root in map(str, roots):
        walked = os.walk(root, followlinks=True) if os.path.isdir(root) else [("", [], [root])]
        for place, inner, names in walked:
            inner[:] = sorted(name for name in inner if name[0] not in ".@$" and name != "__MACOSX")
            for name in sorted(names):
                path = os.path.join(place, name)
                if name.lower().endswith(KINDS) and name[0] != ".":
                    images[name].append(path)
                elif name.lower().endswith((".xml", ".json", ".txt")) and name[0] != ".":
                    others.append(path)
    if not images:
        raise RunError(f"{folder} has no images ({NAMES})")
    return Files(folder, images, others)


def read_annotations(files: Files, opt: Options) -> tuple[list[Annotated], list[str]]:
    """The images with what the annotations say of them, and notes; there has to be one format."""
    xml = [path for path in files.others if path.lower().endswith(".xml")]
    documents = {path: read_json(path) for path in files.others if path.lower().endswith(".json")}
    coco = {path: content for path, content in documents.items() if is_coco(content)}
    pairs = labels_of(files)
    formats = [name for name, some in (("Pascal VOC", xml), ("COCO", coco), ("YOLO", pairs)) if some]
    if len(formats) != 1:
        what = f"boxes in {len(formats)} formats, {' and '.join(formats)}; leave those of one" if formats else ""
        raise RunError(f"{files.folder} has {what or f'images, and no boxes as {FORMATS}'}")
    if xml:
        found, notes = read_voc(files, xml, opt.first_pixel)
    elif coco:
        found, notes = read_coco(files, coco)
    else:
        found, notes = read_yolo(files, pairs)
    return found, formats + notes


def find_image(files: Files, name: str, near: str) -> str | None:
    """The path of the image that the annotation `near` calls `name`; None: there is none."""
    place, base = os.path.split(os.path.normpath(name.replace("\\", "/")))
    known = files.images.get(base, [])
    if len(known) > 1:  # the same name in several folders: first seen from the annotation, then by its end
        beside = os.path.normpath(os.path.join(os.path.dirname(near), place, base))
        ending = os.path.join(os.sep, place, base)
        known = [path for path in known if os.path.normpath(path) == beside] or known
        known = [path for path in known if path.endswith(ending)] if len(known) > 1 else known
        if len(known) != 1:
            raise RunError(f"{near} calls an image {name}, and several have that name; let it say in which folder")
    return known[0] if known else None


def refuse_missing(files: Files, missing: list[str]) -> None:
    """Refuses annotations of images that are not there."""
    if missing:
        some = f"{len(missing)} images that are not there: {', '.join(missing[:3])}"
        raise RunError(f"the annotations in {files.folder} name {some}; add them, or drop what names them")


def malformed(path: str, problem: object) -> RunError:
    """What to say of a file that is not as its format wants it."""
    return RunError(f"{path} cannot be read as annotations: {problem}; mend or remove it")


# Pascal VOC


def read_voc(files: Files, paths: list[str], first_pixel: int) -> tuple[list[Annotated], list[str]]:
    """What files of Pascal VOC say, one for each image."""
    found, missing, zeros = [], [], 0
    by_stem = {os.path.splitext(name)[0]: name for name in files.images}
    for path in paths:
        name, size, boxes = parse_voc(path)
        stem = os.path.splitext(os.path.basename(path))[0]
        image = find_image(files, name, path) or find_image(files, by_stem.get(stem, ""), path)
        if image is None:
            missing.append(name or stem)
            continue
        width, height = size if min(size) > 0 else oriented_size(image)
        zeros += sum(min(left, top) <= 0 for _, (left, top, _, _) in boxes)
        shares = [
            (label, ((left - first_pixel) / width, (top - first_pixel) / height, right / width, bottom / height))
            for label, (left, top, right, bottom) in boxes
        ]
        found.append(Annotated(image, size, shares))
    refuse_missing(files, missing)
    notes = without_annotations(files, found)
    if zeros and first_pixel:
        notes.append(f"{zeros} boxes begin at pixel 0: if all files count pixels from 0 and not 1, --first-pixel 0")
    return found, notes


def parse_voc(path: str) -> tuple[str, tuple[int, int], list[tuple[str, Corners]]]:
    """The name of the image, its size, and its boxes in pixels."""
    try:
        data = Path(path).read_bytes()
        if b"<!DOCTYPE" in data or b"\0" in data:  # entities could fill the memory, or read other files
            raise ValueError("it has a DOCTYPE, or is not in UTF-8")
        root = ElementTree.fromstring(data)
        if root.tag != "annotation":
            raise ValueError(f"it begins with <{root.tag}>, not <annotation>")
        sides = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
        width, height = (int(side) for side in sides)
        boxes = []
        for number, item in enumerate(root.iterfind("object"), start=1):
            texts = [item.findtext(tag) for tag in VOC_TAGS]
            if not all(text and text.strip() for text in texts):
                raise ValueError(f"object {number} lacks its name, or a number of its bndbox")
            label, *numbers = (str(text).strip() for text in texts)
            left, top, right, bottom = map(float, numbers)
            boxes.append((label, (left, top, right, bottom)))
        return (root.findtext("filename") or "").strip(), (width, height), boxes
    except (OSError, ValueError, OverflowError, ElementTree.ParseError) as problem:
        raise malformed(path, problem) from None


# COCO


def read_json(path: str) -> Any:
    """What is in a JSON file."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise malformed(path, problem) from None


def is_coco(content: Any) -> bool:
    """Whether it is a dictionary such as COCO's; other JSON may lie beside."""
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def read_coco(files: Files, documents: dict[str, Any]) -> tuple[list[Annotated], list[str]]:
    """What files of COCO say; regions with crowds are left out."""
    found, missing, crowds = [], [], 0
    for path, content in documents.items():
        try:
            names = {one["id"]: str(one["name"]) for one in content.get("categories", [])}
            boxes: dict[Any, list[tuple[str, list[float]]]] = {one["id"]: [] for one in content["images"]}
            for one in content["annotations"]:
                for key, known in (("image_id", boxes), ("category_id", names)):
                    if one[key] not in known:
                        raise ValueError(f"annotation {one.get('id')} has the {key} {one[key]}, and there is none")
                if one.get("iscrowd"):
                    crowds += 1
                    continue
                left, top, width, height = map(float, one["bbox"])
                boxes[one["image_id"]].append((names[one["category_id"]], [left, top, left + width, top + height]))
            for one in content["images"]:
                image = find_image(files, str(one["file_name"]), path)
                if image is None:
                    missing.append(str(one["file_name"]))
                    continue
                size = int(one.get("width") or 0), int(one.get("height") or 0)
                across, down = size if min(size) > 0 else oriented_size(image)
                shares = [
                    (label, (left / across, top / down, right / across, bottom / down))
                    for label, (left, top, right, bottom) in boxes[one["id"]]
                ]
                found.append(Annotated(image, size, shares))
        except KeyError as problem:
            raise malformed(path, f"an entry lacks {problem}") from None
        except (TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise malformed(path, problem) from None
    refuse_missing(files, missing)
    notes = without_annotations(files, found)
    return found, notes + ([f"{crowds} crowds left out"] if crowds else [])


# YOLO


def labels_of(files: Files) -> dict[str, str]:
    """The text file of each image that has one: beside it, or in `labels` where the image is in `images`."""
    known = {os.path.splitext(path)[0]: path for path in files.others if path.lower().endswith(".txt")}
    found = {}
    for path in (path for paths in files.images.values() for path in paths):
        stem = os.path.splitext(path)[0]
        before, images, after = stem.rpartition(f"{os.sep}images{os.sep}")
        text = known.get(stem) or (known.get(f"{before}{os.sep}labels{os.sep}{after}") if images else None)
        if text:
            found[path] = text
    return found


def read_yolo(files: Files, pairs: dict[str, str]) -> tuple[list[Annotated], list[str]]:
    """What files of YOLO say, one for each image; an image without one has nothing in it."""
    used = {*pairs.values()}
    lost = [path for path in files.others if path not in used and path.endswith(".txt") and is_yolo(path)]
    if lost:
        some = f"{len(lost)} files with boxes have no image: {', '.join(lost[:3])}"
        raise RunError(f"{some}; add the images, or remove these files")
    names = yolo_names(files)
    images = sorted(path for paths in files.images.values() for path in paths)
    found = [Annotated(path, (0, 0), parse_yolo(pairs[path], names) if path in pairs else []) for path in images]
    notes = [] if names else ["the classes have no names, which data.yaml or classes.txt would tell"]
    alone = len(images) - len(pairs)
    return found, notes + ([f"{alone} images have no file of boxes, so nothing is in them"] if alone else [])


def is_yolo(path: str) -> bool:
    """Whether the first line of a file is a class and four numbers."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return re.fullmatch(r"\s*\d+(\s+[\d.eE+-]+){4}\s*", file.readline(200)) is not None


def parse_yolo(path: str, names: list[str]) -> list[tuple[str, Corners]]:
    """The boxes of an image: a line for each, with the class, the middle, the width and the height."""
    boxes = []
    try:
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            if len(words) != 5 or not words[0].isdecimal():
                raise ValueError(f"line {number} is not a class and four numbers")
            if names and int(words[0]) >= len(names):
                raise ValueError(f"line {number} has class {words[0]}, and there are names for {len(names)}")
            across, down, width, height = map(float, words[1:])
            if max(abs(across), abs(down), width, height) > 2:
                raise ValueError(f"line {number} has pixels; YOLO's numbers are shares of the sides, from 0 to 1")
            name = names[int(words[0])] if names else words[0]
            boxes.append((name, (across - width / 2, down - height / 2, across + width / 2, down + height / 2)))
    except (OSError, ValueError) as problem:
        raise malformed(path, problem) from None
    return boxes


def yolo_names(files: Files) -> list[str]:
    """The names of the classes, in classes.txt (a line for each) or data.yaml, of the folder or of those above."""
    inside = [Path(path) for path in files.others if os.path.basename(path) in NAMES_FILES]
    above = [files.folder, files.folder.parent, files.folder.parent.parent]
    for path in [*inside, *(place / name for place in above for name in NAMES_FILES)]:
        if path.is_file():
            try:
                text = path.read_text(encoding="utf-8-sig")
            except (OSError, ValueError) as problem:
                raise malformed(str(path), problem) from None
            in_yaml = path.suffix in (".yaml", ".yml")
            names = names_in_yaml(text) if in_yaml else [line.strip() for line in text.splitlines() if line.strip()]
            if not names:
                raise malformed(str(path), "no `names: [cat, dog]` in it; or write classes.txt")
            return names
    return []


def names_in_yaml(text: str) -> list[str]:
    """The list `names` of a data.yaml: in one line, a line for each, or numbered lines."""
    inline = re.search(r"^names:\s*\[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    if inline:
        words = inline[1].replace("\n", " ").split(",")
    else:
        block = re.search(r"^names:[ \t]*(?:#.*)?\n((?:[ \t]*(?:-|\d+:)[^\n]*\n?)+)", text, re.MULTILINE)
        words = re.findall(r"^[ \t]*(?:-|\d+:)[ \t]*(.*?)[ \t]*(?:#.*)?$", block[1], re.MULTILINE) if block else []
    return [word.strip().strip("'\"") for word in words if word.strip()]


# What all formats share


def without_annotations(files: Files, found: list[Annotated]) -> list[str]:
    """A note on the images that no annotation names."""
    named = {image.path for image in found}
    alone = sum(path not in named for paths in files.images.values() for path in paths)
    return [f"{alone} images that no annotation names left out"] if alone else []


def clean(found: list[Annotated], classes: list[str] | None, notes: list[str], folder: Path) -> Boxes:
    """The images with boxes that lie in them; what is cut or left out is counted, what is broken refused."""
    found = sorted(found)
    counts = np.array([len(image.boxes) for image in found], dtype=np.int64)
    owner = np.repeat(np.arange(len(found)), counts)
    names = [name for image in found for name, _ in image.boxes]
    corners = np.array([box for image in found for _, box in image.boxes], dtype=np.float64).reshape(-1, 4)
    if not len(corners):
        raise RunError(f"{folder} has {len(found)} images and no boxes; nothing could be learned from them")
    broken = np.flatnonzero(~np.isfinite(corners).all(axis=1))
    if len(broken):
        raise RunError(f"{found[owner[broken[0]]].path} has a box whose numbers are not finite; mend or remove it")
    outside = ((corners < -TOLERANCE) | (corners > 1 + TOLERANCE)).any(axis=1)
    corners = corners.clip(0, 1)
    area = np.asarray((corners[:, 2:] > corners[:, :2]).all(axis=1))
    cut = int((outside & area).sum())
    notes = [*notes]
    if cut:
        first = found[owner[np.flatnonzero(outside & area)[0]]].path
        notes.append(f"{cut} boxes reach beyond their images and are cut at the border, the first in {first}")
    if not area.all():
        first = found[owner[np.flatnonzero(~area)[0]]].path
        notes.append(f"{int((~area).sum())} boxes without area, or wholly outside, left out, the first in {first}")
    names = [name for name, kept in zip(names, area.tolist(), strict=True) if kept]
    owner, corners = owner[area], corners[area]
    known = classes or sorted({*names})
    place = {name: number for number, name in enumerate(known)}
    for number, name in enumerate(names):
        if name not in place:
            raise RunError(f"{found[owner[number]].path} has a box of the class {name!r}, which train lacks")
    labels = np.array([place[name] for name in names], dtype=np.int64)
    starts = np.concatenate([[0], np.bincount(owner, minlength=len(found)).cumsum()])
    sizes = np.array([image.size for image in found], dtype=np.int64)
    return Boxes([image.path for image in found], sizes, corners, labels, starts, known, notes)


def only(boxes: Boxes, chosen: Iterable[int], note: str) -> Boxes:
    """Some of the images."""
    numbers = [*chosen]
    spans = [slice(int(boxes.starts[number]), int(boxes.starts[number + 1])) for number in numbers]
    rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
    starts = np.concatenate([[0], np.cumsum([span.stop - span.start for span in spans])])
    paths = [boxes.paths[number] for number in numbers]
    return boxes._replace(
        paths=paths,
        sizes=boxes.sizes[numbers],
        corners=boxes.corners[rows],
        labels=boxes.labels[rows],
        starts=starts,
        held_out=note,
    )
