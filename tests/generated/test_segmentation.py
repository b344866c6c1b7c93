"""Segmentation: masks however they lie, losses and metrics against slow computations, and runs that go on exactly."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scaffold.errors import BadAnswer
from scaffold.questions.form import Form
from tests.generated.alone import Alone
from tests.generated.rendered import importable, own_tests, render_project

Module = Callable[[str], ModuleType]
CLASSES = 5


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for several processes that accumulates gradients."""
    return render_project(tmp_path_factory.mktemp("of") / "parts", task="segmentation", distributed="ddp", accumulate=2)


@pytest.fixture(scope="module")
def module(project: Path) -> Iterator[Module]:
    with importable(project) as modules:
        yield modules


def scores_and_masks(seed: int, count: int = 11, ignored: float = 0.2, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Scores (n, classes, 9, 13) that are right more often than not, and masks in which some pixels do not count."""
    draw = torch.Generator().manual_seed(seed)
    masks = torch.randint(classes, (count, 9, 13), generator=draw)
    scores = torch.randn(count, CLASSES, 9, 13, generator=draw)
    scores += 2 * torch.nn.functional.one_hot(masks, CLASSES).permute(0, 3, 1, 2)
    masks[torch.rand(masks.shape, generator=draw) < ignored] = 255
    return scores, masks.byte()


def computed(module: Module, scores: Tensor, masks: Tensor, batch: int = 4, process: Any = None) -> Any:
    """The metrics after all batches."""
    metrics = module("metrics").Metrics(process or Alone(), {"classes": [f"class{label}" for label in range(CLASSES)]})
    for start in range(0, len(masks), batch):
        part = slice(start, start + batch)
        metrics.update(scores[part], masks[part], torch.arange(len(masks))[part])
    return metrics


@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("classes", [1, 3, CLASSES])
def test_metrics_are_those_of_torchmetrics(module: Module, ignored: float, classes: int) -> None:
    from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

    scores, masks = scores_and_masks(classes, ignored=ignored, classes=classes)  # of some classes there is no pixel
    if classes == 3:
        scores[:, 3:] = -100.0  # nor is any told to be of them
    settings: dict[str, Any] = {"num_classes": CLASSES, "average": "macro", "ignore_index": 255}

    values = computed(module, scores, masks).compute()

    expected = [metric(**settings)(scores, masks.long()) for metric in (MulticlassJaccardIndex, MulticlassF1Score)]
    assert [values["mIoU"], values["dice"]] == pytest.approx([float(value) for value in expected], abs=1e-6)
    assert 0 < values["mIoU"] < values["dice"] < 1


def test_where_no_pixel_counts_metrics_are_nothing(module: Module) -> None:
    scores, masks = scores_and_masks(0, ignored=1.0)

    metrics = computed(module, scores, masks)

    assert metrics.compute() == {"mIoU": 0.0, "dice": 0.0}
    assert metrics.report().count("\n") == 0


def test_batches_and_processes_do_not_matter(module: Module) -> None:
    scores, masks = scores_and_masks(1)
    once = computed(module, scores, masks).compute()
    others = [computed(module, scores[rank::3], masks[rank::3]).confusion for rank in (1, 2)]

    class First(Alone):
        """The first of three processes, each with every third image."""

        def total(self, tensor: Tensor) -> Tensor:
            return tensor + torch.stack(others).sum(dim=0)

    assert computed(module, scores, masks, batch=1).compute() == once
    assert computed(module, scores[::3], masks[::3], process=First()).compute() == once


def test_the_report_tells_of_each_class_that_is_there(module: Module) -> None:
    scores, masks = scores_and_masks(2, classes=3)
    scores[:, 3:] = -100.0
    metrics = computed(module, scores, masks)
    values = metrics.compute()

    title, *lines = metrics.report().splitlines()

    assert title.split() == ["class", "pixels", "IoU", "Dice"]
    assert [line.split()[0] for line in lines] == ["class0", "class1", "class2"]
    assert sum(float(line.split()[2]) for line in lines) / 3 == pytest.approx(values["mIoU"], abs=1e-4)
    assert sum(float(line.split()[1].rstrip("%")) for line in lines) == pytest.approx(100, abs=0.1)


def slow_dice(scores: Tensor, mask: Tensor) -> float:
    """1 - Dice of an image, pixel by pixel; the mean over the classes in it."""
    found = []
    for label in range(CLASSES):
        both = squares = pixels = 0.0
        for row in range(mask.shape[0]):
            for column in range(mask.shape[1]):
                if mask[row, column] != 255:
                    probability = float(scores[:, row, column].double().softmax(0)[label])
                    true = float(mask[row, column] == label)
                    both, squares, pixels = both + probability * true, squares + probability**2, pixels + true
        if pixels:
            found.append(2 * both / (squares + pixels))
    return 1 - sum(found) / len(found)


@pytest.mark.parametrize("weights", [(), (0.1, 1.0, 2.0, 0.0, 5.0)])
def test_losses_are_means_over_the_pixels_that_count(module: Module, weights: tuple[float, ...]) -> None:
    scores, masks = scores_and_masks(3, count=3, classes=4)
    masks[1] = 255  # of this image nothing counts
    settings = {"losses": {"cross_entropy": 2.0, "dice": 0.5}, "label_smoothing": 0.1, "class_weights": weights}
    opt = module("options").Options(**settings)

    terms = module("losses").criterion(scores, masks, opt)

    counted = (masks != 255).sum(dim=(1, 2)).tolist()
    assert int(terms["count"]) == sum(counted)
    arguments: dict[str, Any] = {"ignore_index": 255, "label_smoothing": 0.1, "reduction": "sum"}
    if weights:
        arguments["weight"] = torch.tensor(weights)
    cross_entropy = torch.nn.functional.cross_entropy(scores, masks.long(), **arguments) / sum(counted)
    assert float(terms["cross_entropy"]) == pytest.approx(float(cross_entropy), abs=1e-5)
    dice = sum(counted[place] * slow_dice(scores[place], masks[place]) for place in (0, 2)) / sum(counted)
    assert float(terms["dice"]) == pytest.approx(dice, abs=1e-5)
    assert float(terms["loss"]) == pytest.approx(2 * float(cross_entropy) + 0.5 * dice, abs=1e-5)


def test_a_wrong_number_of_class_weights_is_told_at_the_start(module: Module, tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / "train" / "images" / f"{name}.png")
        write_image(tmp_path / "train" / "masks" / f"{name}.png", mask_of("ab".index(name)))
    options = module("options").Options
    for given in ((), (0.0, 1.0, 5.0)):
        module("data").MyDataset(tmp_path / "train", options(class_weights=given))
    with pytest.raises(module("engine").RunError, match="--class-weights has 2 numbers, and there are 3 classes"):
        module("data").MyDataset(tmp_path / "train", options(class_weights=(1.0, 2.0)))


@pytest.mark.parametrize("size", [1, 15])
def test_a_size_of_which_hardly_a_pixel_is_left_is_refused(module: Module, tmp_path: Path, size: int) -> None:
    write_image(tmp_path / "train" / "images" / "a.png")
    write_image(tmp_path / "train" / "masks" / "a.png", mask_of(0))
    with pytest.raises(module("engine").RunError, match=f"--image-size must be at least 16, or 0 .* and is {size}"):
        module("data").MyDataset(tmp_path / "train", module("options").Options(image_size=size))


def test_losses_of_parts_are_those_of_the_whole_and_nothing_that_counts_is_no_nan(module: Module) -> None:
    scores, masks = scores_and_masks(4)
    opt = module("options").Options()

    def gradients(parts: list[slice]) -> tuple[float, Tensor]:
        leaf = scores.clone().requires_grad_()
        told = [module("losses").criterion(leaf[part], masks[part], opt) for part in parts]
        total = sum(terms["count"] for terms in told)
        loss = sum(terms["loss"] * terms["count"] for terms in told) / total
        loss.backward()
        assert leaf.grad is not None
        return float(loss.detach()), leaf.grad

    whole, parts = gradients([slice(0, 11)]), gradients([slice(0, 2), slice(2, 7), slice(7, 11)])
    assert parts[0] == pytest.approx(whole[0], rel=1e-6)
    assert torch.allclose(parts[1], whole[1], atol=1e-8)

    nothing = scores.clone().requires_grad_()
    terms = module("losses").criterion(nothing, torch.full_like(masks, 255), opt)
    terms["loss"].backward()
    assert float(terms["loss"].detach()) == 0.0
    assert int(terms["count"]) == 0
    assert nothing.grad is not None
    assert bool((nothing.grad == 0).all())


def winding(polygon: Any, x: float, y: float) -> bool:
    """Whether an odd number of edges is left of a point."""
    left = 0
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y0 <= y) != (y1 <= y):
            left += x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x
    return left % 2 == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_polygon_holds_the_pixels_whose_centres_are_in_it(module: Module, seed: int) -> None:
    draw = np.random.default_rng(seed)
    polygon = draw.uniform(-4, 24, size=(int(draw.integers(3, 9)), 2))

    found = module("masks").inside(polygon, 20, 14)

    points = polygon.tolist()
    assert found.tolist() == [[winding(points, x + 0.5, y + 0.5) for x in range(20)] for y in range(14)]


def test_a_square_of_whole_pixels_is_these_pixels(module: Module) -> None:
    found = module("masks").inside(np.array([[2.0, 3.0], [7.0, 3.0], [7.0, 5.0], [2.0, 5.0]]), 10, 10)

    rows, columns = found.nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max(), found.sum()) == (3, 4, 2, 6, 10)


def write_image(path: Path, pixels: Any = None) -> None:
    from torchvision.io import write_png

    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(torch.as_tensor(np.zeros((3, 20, 40)) if pixels is None else pixels).to(torch.uint8), str(path))


def mask_of(number: int) -> Any:
    mask = np.zeros((1, 20, 40))
    mask[:, number : number + 5, 3:20] = 1 + number % 2
    return mask


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{split}/images/{name}.png", "{split}/masks/{name}.png"),
        ("images/{split}/{name}.png", "masks/{split}/{name}.png"),
        ("images/{split}/far/{name}.png", "annotations/{split}/far/{name}.png"),
        ("{split}/{name}.png", "{split}/{name}_mask.png"),
        ("JPEGImages/{split}{name}.png", "SegmentationClass/{split}{name}.png"),
    ],
)
def test_masks_are_found_however_they_lie(module: Module, tmp_path: Path, image: str, mask: str) -> None:
    for split, names in (("train", "abc"), ("val", "de")):
        for number, name in enumerate(names):
            write_image(tmp_path / image.format(split=split, name=name))
            write_image(tmp_path / mask.format(split=split, name=name), mask_of(number))
        if image.startswith("JPEG"):
            listed = tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt"
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("".join(f"{split}{name}\n" for name in names))
    opt = module("options").Options(image_size=64)

    train_set = module("data").MyDataset(tmp_path / "train", opt)
    val_set = module("data").MyDataset(tmp_path / "val", opt, train_set.facts)

    assert [len(train_set), len(val_set)] == [3, 2]
    for dataset in (train_set, val_set):
        for number in range(len(dataset)):
            assert np.array_equal(dataset.read(number)[1].numpy(), mask_of(number)[0])
    assert train_set.facts["classes"] == ["0", "1", "2"]
    assert train_set.fingerprint() != val_set.fingerprint()


def test_a_mask_that_is_painted_over_is_other_data_though_its_file_is_as_large(module: Module, tmp_path: Path) -> None:
    opt, seen = module("options").Options(image_size=64), set()
    for value in (1, 2):
        for number in range(2):
            write_image(tmp_path / "train" / "images" / f"{number}.png")
            picture = Image.fromarray(np.where(mask_of(0)[0] > 0, 3 * number or value, 0).astype(np.uint8))
            (tmp_path / "train" / "masks").mkdir(exist_ok=True)
            picture.save(tmp_path / "train" / "masks" / f"{number}.bmp")
        (tmp_path / "train" / "classes.txt").write_text("a\nb\nc\nd\n")
        seen.add(module("data").MyDataset(tmp_path / "train", opt).fingerprint())

    assert len(seen) == 2


def test_a_class_that_train_lacks_and_files_that_are_no_masks_are_refused(module: Module, tmp_path: Path) -> None:
    from torchvision.io import write_jpeg

    for split, value in (("train", 1), ("val", 2)):
        write_image(tmp_path / split / "images" / "a.png")
        write_image(tmp_path / split / "masks" / "a.png", value * (mask_of(0) > 0))
    opt = module("options").Options(image_size=64)
    train_set = module("data").MyDataset(tmp_path / "train", opt)
    with pytest.raises(
        module("engine").RunError, match=r"val/masks/a\.png has pixels of class 2, and the classes are 0, 1"
    ):
        module("data").MyDataset(tmp_path / "val", opt, train_set.facts)

    (tmp_path / "train" / "masks" / "a.png").unlink()
    write_jpeg(torch.zeros(1, 20, 40, dtype=torch.uint8), str(tmp_path / "train" / "masks" / "a.jpg"))
    with pytest.raises(module("engine").RunError, match=r"a\.jpg is a JPEG, which blurs the numbers"):
        module("data").MyDataset(tmp_path / "train", opt)

    (tmp_path / "train" / "masks" / "a.jpg").unlink()
    frames = [Image.new("L", (40, 20), shade) for shade in (0, 1)]
    frames[0].save(tmp_path / "train" / "masks" / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(module("engine").RunError, match=r"a\.tif has several frames"):
        module("data").MyDataset(tmp_path / "train", opt)


def test_coco_s_crowds_do_not_count_and_empty_annotations_are_told(module: Module, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    square = [2, 3, 12, 3, 12, 9, 2, 9]
    runs = [0, 20 * 5, 20 * 35]  # the first five columns
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}],
        "categories": [{"id": 4, "name": "cat"}, {"id": 6, "name": "ant"}],
        "annotations": [
            {"id": 0, "image_id": 1, "category_id": 4, "segmentation": [square]},
            {"id": 1, "image_id": 1, "category_id": 6, "segmentation": [[4, 4, 6, 4, 6, 6, 4, 6]]},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 4,
                "iscrowd": 1,
                "segmentation": {"size": [20, 40], "counts": runs},
            },
            {"id": 3, "image_id": 1, "category_id": 6, "segmentation": []},
        ],
    }
    (tmp_path / "all.json").write_text(json.dumps(content))

    dataset = module("data").MyDataset(tmp_path, module("options").Options(image_size=64))

    expected = np.zeros((20, 40))
    expected[:, :5], expected[3:9, 2:12], expected[4:6, 4:6] = 255, 2, 1
    assert dataset.facts["classes"] == ["background", "ant", "cat"]
    assert np.array_equal(dataset.read(0)[1].numpy(), expected)
    assert "1 crowd not counted" in dataset.describe()
    runs[-1] -= 1
    (tmp_path / "all.json").write_text(json.dumps(content))
    dataset = module("data").MyDataset(tmp_path, module("options").Options(image_size=64))
    with pytest.raises(module("engine").RunError, match=r"a\.png is 40 x 20 pixels, and runs of a mask in it make 799"):
        dataset.read(0)
    assert "1 annotation without a polygon left out" in dataset.describe()


def test_masks_are_turned_as_their_images_are(module: Module, tmp_path: Path) -> None:
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6  # to the right, by a quarter
    for kind, pixels in (("images", np.zeros((20, 40, 3), np.uint8)), ("masks", mask_of(0)[0].astype(np.uint8))):
        (tmp_path / kind).mkdir()
        Image.fromarray(pixels).save(tmp_path / kind / "a.png", exif=turned)

    dataset = module("data").MyDataset(tmp_path, module("options").Options(image_size=64))

    assert np.array_equal(dataset.read(0)[1].numpy(), np.rot90(mask_of(0)[0], -1))


def test_a_webp_is_a_mask_if_it_is_exact(module: Module, tmp_path: Path) -> None:
    from PIL import Image

    gray = Image.fromarray(50 * mask_of(0)[0].astype(np.uint8)).convert("RGB")
    gray.save(tmp_path / "exact.webp", lossless=True)
    gray.save(tmp_path / "blurred.webp", quality=60)

    assert np.array_equal(module("masks").read_values(str(tmp_path / "exact.webp"))[0], 50 * mask_of(0)[0])
    with pytest.raises(module("engine").RunError, match=r"blurred\.webp is a WEBP, which blurs"):
        module("masks").read_values(str(tmp_path / "blurred.webp"))


def test_palettes_that_differ_are_told(module: Module, tmp_path: Path) -> None:
    from PIL import Image

    for name, colours in (("a", [0, 0, 0, 255, 0, 0]), ("b", [0, 0, 0, 0, 255, 0])):
        write_image(tmp_path / "images" / f"{name}.png")
        picture = Image.fromarray(mask_of(0)[0].astype(np.uint8))
        picture.putpalette(colours)
        (tmp_path / "masks").mkdir(exist_ok=True)
        picture.save(tmp_path / "masks" / f"{name}.png")

    told = module("data").MyDataset(tmp_path, module("options").Options(image_size=64)).describe()

    assert re.search(r"palettes differ: 1 is \(255, 0, 0\) in .*a\.png and \(0, 255, 0\) in .*b\.png", told)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": [{"id": 0, "file_name": "a.png"}] * 2}, "the image id 0 twice"),
        ({"images": [{"id": number, "file_name": "a.png"} for number in range(2)]}, r"the image .*a\.png twice"),
        ({"categories": [{"id": 1, "name": "ant"}, {"id": 1, "name": "bee"}]}, "the category id 1 twice"),
        ({"segmentation": {"size": [40, 20], "counts": [9, 791]}}, "annotation 5 has not the size of its image"),
        (
            {
                "images": [{"id": 0, "file_name": "a.png"}],
                "segmentation": {"size": [40, 20], "counts": [9, 791]},
            },
            r"a\.png is 40 x 20 pixels, and its annotation says 20 x 40; save the one that its regions were drawn in",
        ),
        ({"segmentation": {"size": [20, 40], "counts": [9, 9]}}, r"a\.png is 40 x 20 pixels, and runs of .* make 18"),
        (
            {"segmentation": [[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]]},
            "all polygons are within a pixel; COCO's numbers are pixels",
        ),
        ({"categories": [{"id": 1, "name": ""}]}, "category 1 has no name"),
    ],
)
def test_what_cannot_be_right_in_coco_is_refused(
    module: Module, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    write_image(tmp_path / "a.png")
    region = {"id": 5, "image_id": 0, "category_id": 1, "segmentation": [[2, 3, 12, 3, 12, 9]]}
    region |= {name: value for name, value in change.items() if name == "segmentation"}
    content = {
        "images": [{"id": 0, "file_name": "a.png", "width": 40, "height": 20}],
        "categories": [{"id": 1, "name": "ant"}],
        **{name: value for name, value in change.items() if name != "segmentation"},
        "annotations": [region],
    }
    (tmp_path / "all.json").write_text(json.dumps(content))

    with pytest.raises(module("engine").RunError, match=sentence):
        module("data").MyDataset(tmp_path, module("options").Options(image_size=64)).check(0, 1)


@pytest.mark.parametrize("size", [(7, 9), (20, 40), (1, 1), (300, 200)])
def test_compressed_masks_of_coco_are_read_as_its_own_code_writes_them(module: Module, size: tuple[int, int]) -> None:
    from faster_coco_eval.core import mask as coco

    draw = np.random.default_rng(sum(size))
    for share in (0.0, 0.02, 0.5, 1.0):  # long runs and short ones, with differences below 0
        mask = (draw.random(size) < share).astype(np.uint8)
        mask[size[0] // 4 : size[0] // 2] ^= 1
        counts = coco.encode(np.asfortranarray(mask))["counts"].decode()

        polygons, runs = module("masks").parse_region({"segmentation": {"size": [*size], "counts": counts}})

        shape = module("masks").Shape(1, polygons, runs)
        assert np.array_equal(module("masks").region_of(shape, size[1], size[0]), mask)


def test_palette_pngs_come_back_as_they_were_written(module: Module, tmp_path: Path) -> None:
    labels = torch.randint(256, (7, 9))

    module("overlays").write_mask(tmp_path / "a.png", labels)

    values, repaired, _ = module("masks").read_values(str(tmp_path / "a.png"))
    assert values.tolist() == labels.tolist()
    assert repaired == ""
    colours = module("overlays").palette()
    assert colours[[0, 1, 2, 15, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [224, 224, 192],
    ]
    assert module("masks").numbers_of(colours[labels])[0].tolist() == labels.tolist()


def test_overlays_show_what_counts(module: Module, tmp_path: Path) -> None:
    from PIL import Image

    image, true = torch.full((3, 4, 6), 100, dtype=torch.uint8), torch.zeros(4, 6, dtype=torch.uint8)
    true[:, 4:], true[:, :2] = 255, 1

    module("overlays").draw_overlays(tmp_path / "a.png", [(image, true)], {0: (torch.full_like(true, 2), true)})

    drawn = np.asarray(Image.open(tmp_path / "a.png"))
    coloured = (drawn != 100).any(axis=2)  # image, true mask, predicted mask, side by side
    assert coloured.all(axis=0).tolist() == [False] * 6 + [True] * 2 + [False] * 4 + [True] * 4 + [False] * 2
    assert (coloured.all(axis=0) == coloured.any(axis=0)).all()


def test_its_losses_and_models_are_its_own(form: Form) -> None:
    answers = form.fill({"task": "segmentation"}, "p")
    assert [loss["name"] for loss in answers["losses"]] == ["cross_entropy", "dice"]
    assert answers["model"] == "unet"
    with pytest.raises(BadAnswer, match="segmentation has unet"):
        form.fill({"task": "segmentation", "model": "cnn"}, "p")
    with pytest.raises(BadAnswer, match="'brier' takes scores"):
        form.fill({"task": "segmentation", "losses": [{"name": "brier", "weight": 1.0}]}, "p")


def test_a_killed_run_goes_on_with_equal_bits_in_the_project_itself(project: Path) -> None:
    own_tests(project, "tests/test_resume.py", "tests/test_data.py", "tests/test_train.py")


@pytest.mark.nightly
def test_all_its_own_tests_pass_on_two_processes_too(project: Path) -> None:
    own_tests(project)


@pytest.mark.parametrize("model", ["deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_torchvision_s_networks_learn_with_their_auxiliary_classifier(tmp_path: Path, model: str) -> None:
    with importable(render_project(tmp_path / "net", task="segmentation", model=model, logger="none")) as module:
        opt = module("options").Options()
        net = module("model").build_model(opt, {"classes": [*"abc"]})
        images = torch.rand(2, 3, 64, 64)
        masks = torch.randint(3, (2, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
        terms = module("losses").criterion(net.train()(images), masks, opt)
        terms["loss"].backward()

        expected = terms["cross_entropy"] + terms["dice"] + 0.5 * terms.get("auxiliary", torch.zeros(()))
        assert float(terms["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
        assert ("auxiliary" in terms) == model.startswith("deeplab")
        without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
        assert without == []  # every layer learns
        assert net.eval()(images).shape == (2, 3, 64, 64)
        names = {*net.state_dict()}

    from torchvision.models import get_model

    assert names == {
        *get_model(model, weights_backbone=None, num_classes=3, aux_loss=None if "lr" in model else True).state_dict()
    }
