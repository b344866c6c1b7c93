"""What is reached without a network on the data that ship with a project: an SVC on pixels, or on bright regions.

The data are read, and results measured, by the project's own code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIDE = 16  # of what the SVC sees of a region, in pixels


def reached(project: Path, task: str) -> float:
    """The value of the metric that the row of this task has, on the items to validate on."""
    with importable(project):
        options, data, engine = (import_module(f"{project.name}.{name}") for name in ("options", "data", "engine"))
        opt = options.Options(data_dir=str(project / options.Options().data_dir))
        with engine.Process.start(opt) as process:
            train, val = (getattr(split, "dataset", split) for split in data.load_data(opt, process))  # not in memory
            if task in ("detection", "segmentation"):
                return by_regions(train, val, task, import_module(f"{project.name}.metrics"), process)
            return by_pixels(train, val, task)


@contextmanager
def importable(project: Path) -> Iterator[None]:
    """Around imports of a project's package."""
    sys.path.insert(0, str(project))
    try:
        yield
    finally:
        sys.path.remove(str(project))
        for name in [name for name in sys.modules if name.split(".")[0] == project.name]:
            del sys.modules[name]


def by_pixels(train: Any, val: Any, task: str) -> float:
    """An SVC on all pixels: one of classes, one for each label, or a regression."""
    from sklearn.metrics import accuracy_score, average_precision_score, r2_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC, SVR

    sets = [[split[number] for number in range(len(split))] for split in (train, val)]
    (seen, known), (new, true) = (
        (np.stack([x.numpy().ravel() / 255 for x, _ in items]), np.stack([np.asarray(y) for _, y in items]))
        for items in sets
    )
    if task == "classification":
        return float(accuracy_score(true, SVC(C=10).fit(seen, known).predict(new)))
    if task == "regression":
        return float(r2_score(true[:, 0], SVR(C=10).fit(seen, known[:, 0]).predict(new)))
    told = OneVsRestClassifier(SVC(C=10)).fit(seen, known).decision_function(new)
    return float(average_precision_score(true, told, average="macro"))


def by_regions(train: Any, val: Any, task: str, metrics: Any, process: Any) -> float:
    """Connected regions that stand out from their background, each classified by an SVC on what is in its box."""
    import torch
    from sklearn.svm import SVC

    crops, known = [], []
    for image, target in plain(train):
        for box, label in objects(target, task):
            crops.append(crop(brightness(image), box))
            known.append(label)
    model = SVC(C=10).fit(np.stack(crops), known)
    measure = metrics.Metrics(process, val.facts)
    for number, (image, target) in enumerate(plain(val)):
        light = brightness(image)
        places, boxes = regions(light)
        labels, scores = classified(model, light, boxes)
        if task == "detection":
            found = {
                "boxes": torch.tensor(np.array(boxes, dtype=np.float64).reshape(-1, 4)),
                "scores": torch.from_numpy(scores),
                "labels": torch.from_numpy(labels),
            }
            measure.update([found], [target], torch.tensor([number]))
        else:
            told = torch.zeros(1, len(val.facts["classes"]), *places.shape)
            told[:, 0] = 1
            for place, label in enumerate(labels, start=1):
                told[0, :, places == place] = 0
                told[0, int(label), places == place] = 1
            measure.update(told, target[None], torch.tensor([number]))
    return float(measure.compute()["mAP50" if task == "detection" else "mIoU"])


def classified(model: Any, light: Array, boxes: list[Array]) -> tuple[Array, Array]:
    """The label of what is in each box, and how sure the SVC is of it."""
    if not boxes:
        return np.empty(0, dtype=np.int64), np.empty(0)
    scores = model.decision_function(np.stack([crop(light, box) for box in boxes]))
    return model.classes_[scores.argmax(axis=1)], scores.max(axis=1)


def plain(split: Any) -> Iterator[tuple[Array, Any]]:
    """Each image (3, height, width), as it is evaluated, and what is in it."""
    split.training = False
    for number in range(len(split)):
        image, target = split[number]
        yield image.numpy(), target


def brightness(image: Array) -> Array:
    """How far each pixel (height, width) is from the commonest colour, from 0 to 1, smoothed."""
    from scipy.ndimage import gaussian_filter

    light: Array = image.astype(np.float64) - np.median(image, axis=(1, 2), keepdims=True)
    light = gaussian_filter(np.sqrt((light**2).sum(axis=0)), 0.7)
    return light / light.max()


def regions(light: Array) -> tuple[Array, list[Array]]:
    """The number of the region of each pixel, from 1, 0 for none, and the box (x1, y1, x2, y2) of each."""
    from scipy.ndimage import find_objects, label
    from skimage.filters import threshold_otsu

    places, _ = label(light > threshold_otsu(light) * 0.8, structure=np.ones((3, 3)))
    boxes = []
    for number, (rows, columns) in enumerate(find_objects(places), start=1):
        if (rows.stop - rows.start) * (columns.stop - columns.start) < 40:  # noise
            places[places == number] = 0
            continue
        boxes.append(np.array([columns.start, rows.start, columns.stop, rows.stop]))
        places[places == number] = len(boxes)
    return places, boxes


def objects(target: Any, task: str) -> Iterator[tuple[Array, int]]:
    """The box and the label of each object; in a mask, of each class."""
    if task == "detection":
        for box, label in zip(target["boxes"].numpy(), target["labels"].tolist(), strict=True):
            yield box.round().astype(int), label
        return
    for label in set(target.unique().tolist()) - {0}:
        rows, columns = (target == label).numpy().nonzero()
        yield np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]), label


def crop(light: Array, box: Array) -> Array:
    """What is in a box, as (SIDE * SIDE,)."""
    from skimage.transform import resize

    left, top, right, bottom = box
    part: Array = resize(light[top : max(bottom, top + 1), left : max(right, left + 1)], (SIDE, SIDE))
    return part.ravel() / max(part.max(), 1e-6)
