"""Image files as people have them: of many kinds and depths, under wrong names, damaged, beside what is no image."""

import contextlib
import io
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

from tests.generated.rendered import write_images
from tests.generated.test_images import (
    CHANNELS,
    COLOURS,
    DAMAGED,
    GRAY,
    GRAY_ALPHA,
    RGB,
    RGBA,
    Module,
    Pixels,
    chunk,
    module,
    numbers,
    png,
    process,
)

FOLDERS = pytest.mark.figure(
    "C8 folders as people have them",
    "leftovers of systems, nested, empty, linked and oddly named folders, sizes of all kinds",
)

__all__ = ["module", "process"]  # fixtures


def picture(height: int = 24, width: int = 32) -> Image.Image:
    """A picture in colours, each corner another one."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(255, 0, height))
    return Image.fromarray(np.stack([across, down, (across + down) / 2], axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """An image as Pillow writes it."""
    data = io.BytesIO()
    image.save(data, kind, **settings)
    return data.getvalue()


def read(module: Module, path: Path, *words: Any, **settings: Any) -> Pixels:
    """An image (height, width, channels), as the project reads it."""
    pixels: Pixels = module("images").read_image(path, *words, **settings).permute(1, 2, 0).numpy()
    return pixels


def tiff(pixels: Pixels, photometric: int, *, order: Literal["<", ">"] = "<", planar: int = 1) -> bytes:
    """A TIFF of integers (height, width, channels), not compressed, written by hand."""
    height, width, count = pixels.shape
    bits = pixels.dtype.itemsize * 8
    lying = pixels if planar == 1 else pixels.transpose(2, 0, 1)
    strip = lying.astype(pixels.dtype.newbyteorder(order)).tobytes()
    entries = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * count), (259, 3, [1]), (262, 3, [photometric])]
    size, planes = len(strip), count if planar == 2 else 1
    begin = 8
    entries += [(273, 4, [begin + number * size // planes for number in range(planes)]), (277, 3, [count])]
    entries += [(278, 4, [height]), (279, 4, [size // planes] * planes), (284, 3, [planar])]
    more = count - {0: 1, 1: 1, 2: 3, 5: 4}[photometric]
    if more:
        entries.append((338, 3, [0] * more))
    extra, table, after = b"", b"", begin + size + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        table += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(packed) <= 4:
            table += packed.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}I", after + len(extra))
            extra += packed
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}I", begin + size)
    return head + strip + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + extra


# COLOURS


EIGHT_BITS = {
    "rgb.bmp": lambda: encoded(picture(), "BMP"),
    "palette.bmp": lambda: encoded(picture().convert("P"), "BMP"),
    "bits.bmp": lambda: encoded(picture().convert("1"), "BMP"),
    "rgb.tif": lambda: encoded(picture(), "TIFF"),
    "packed.tif": lambda: encoded(picture(), "TIFF", compression="tiff_lzw"),
    "gray.tiff": lambda: encoded(picture().convert("L"), "TIFF"),
    "bits.tif": lambda: encoded(picture().convert("1"), "TIFF"),
    "cmyk.tif": lambda: encoded(picture().convert("CMYK"), "TIFF"),
    "palette.tif": lambda: encoded(picture().convert("P"), "TIFF"),
    "clear.tif": lambda: encoded(Image.merge("RGBA", [*picture().split(), picture().convert("L")]), "TIFF"),
    "rgb.ppm": lambda: encoded(picture(), "PPM"),
    "gray.pgm": lambda: encoded(picture().convert("L"), "PPM"),
    "bits.pbm": lambda: encoded(picture().convert("1"), "PPM"),
    "palette.gif": lambda: encoded(picture().convert("P"), "GIF"),
    "clear.webp": lambda: encoded(
        Image.merge("RGBA", [*picture().split(), picture().convert("L")]), "WEBP", lossless=True, exact=True
    ),
    "la.png": lambda: encoded(Image.merge("LA", [picture().convert("L")] * 2), "PNG"),
    "clear-palette.png": lambda: encoded(picture().convert("P"), "PNG", transparency=bytes(range(256))),
    "rgb.avif": lambda: encoded(picture(), "AVIF", quality=90),
}


@pytest.mark.parametrize("name", EIGHT_BITS)
@pytest.mark.parametrize("called", ["", "picture.jpg"])
@COLOURS
def test_8_bits_are_what_pillow_sees_whatever_the_file_is_called(
    module: Module, tmp_path: Path, name: str, called: str
) -> None:
    data = EIGHT_BITS[name]()
    path = tmp_path / (called or name)
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))

    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        right = np.asarray(image.convert(mode)).reshape(24, 32, channels)
        assert np.array_equal(read(module, path, 0, channels), right), mode


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", [GRAY, RGB, GRAY_ALPHA, RGBA])
@COLOURS
def test_16_bits_of_a_png_are_kept(module: Module, tmp_path: Path, kind: int, interlaced: bool) -> None:
    values = numbers(kind, 16)
    (tmp_path / "picture.png").write_bytes(png(values, kind, 16, interlaced))

    found = read(module, tmp_path / "picture.png", channels=0, scale=0.0)

    assert found.dtype == np.float32
    assert found.shape[2] == CHANNELS[kind]
    assert np.abs(found * 65535 / 255 - values).max() < 0.01


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("count", [1, 3, 4])
@COLOURS
def test_16_bits_of_a_tiff_are_kept_or_refused(
    module: Module, tmp_path: Path, count: int, order: Literal["<", ">"]
) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, count)).astype(np.uint16)
    path = tmp_path / "picture.tif"
    path.write_bytes(tiff(values, 1 if count == 1 else 2, order=order))

    if count == 4:  # the fourth one is nothing that anybody knows
        with pytest.raises(module("engine").RunError, match=r"picture\.tif has 4 channels, and can be read with 3"):
            read(module, path)
        return
    found = read(module, path, channels=count, scale=0.0)
    assert np.abs(found * 65535 / 255 - values).max() < 0.01
    assert np.abs(read(module, path).astype(float) - values * (255 / 65535)).max() <= 0.5


@COLOURS
def test_cases_of_8_and_16_bits_agree(module: Module, tmp_path: Path) -> None:
    values = numbers(GRAY, 8)
    (tmp_path / "8.png").write_bytes(png(values, GRAY, 8))
    (tmp_path / "16.png").write_bytes(png(values * 257, GRAY, 16))

    deep = read(module, tmp_path / "16.png", 20, scale=0.0)

    assert np.abs(deep - read(module, tmp_path / "8.png", 20)).max() <= 1
    assert np.array_equal(read(module, tmp_path / "16.png", scale=0.0), np.repeat(values, 3, axis=2))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.linspace(0, 1, 48, dtype=np.float32), "has values from 0 to 1; .* --scale 1$"),
        (np.linspace(-3, 4000, 48, dtype=np.float32), "has values from -3 to 4000; .* --scale 65535$"),
        (np.arange(48, dtype=np.int32), "has values from 0 to 47; .* --scale 255$"),
        (np.full(48, np.nan, dtype=np.float32), "not all of its values are finite"),
    ],
)
@COLOURS
def test_what_has_no_white_needs_a_scale(module: Module, tmp_path: Path, values: Pixels, said: str) -> None:
    path = tmp_path / "picture.tif"
    Image.fromarray(values.reshape(6, 8)).save(path)

    for scale in (None, 0.0):
        with pytest.raises(module("engine").RunError, match=rf"picture\.tif .*{said}"):
            read(module, path, scale=scale)
    if np.isfinite(values).all():
        found = read(module, path, 0, 1, 50.0)[..., 0]
        assert found == pytest.approx(values.reshape(6, 8).astype(float) * 255 / 50, rel=1e-5)


@COLOURS
def test_a_signed_and_a_large_integer_are_what_they_are(module: Module, tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(tiff(np.array([[[0], [2**32 - 1]]], dtype=np.uint32), 1))

    found = read(module, tmp_path / "large.tif", 0, 1, 2.0**32 - 1)

    assert found.ravel().tolist() == [0, 255]


@pytest.mark.parametrize(
    ("pixels", "words", "said"),
    [
        (np.zeros((4, 4, 5), np.uint8), (2, 1), "has 5 channels, and can be read with 3"),
        (np.zeros((4, 4, 6), np.uint8), (2, 1), "has 6 channels"),
        (np.zeros((4, 4, 7), np.uint8), (2, 1), "is not an image that can be read"),
        (np.zeros((4, 4, 3), np.uint16), (2, 2), "is a TIFF whose values lie as they cannot be read"),
        (np.zeros((4, 4, 4), np.uint16), (5, 1), "is a TIFF whose values lie as they cannot be read"),
        (np.zeros((4, 4, 1), np.uint16), (0, 1), "is a TIFF whose values lie as they cannot be read"),
    ],
)
@COLOURS
def test_what_pillow_would_read_wrong_is_refused(
    module: Module, tmp_path: Path, pixels: Pixels, words: tuple[int, int], said: str
) -> None:
    (tmp_path / "picture.tif").write_bytes(tiff(pixels, words[0], planar=words[1]))

    with pytest.raises(module("engine").RunError, match=rf"picture\.tif {said}"):
        read(module, tmp_path / "picture.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
@COLOURS
def test_pictures_are_turned_as_exif_says(module: Module, tmp_path: Path, kind: str, turn: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = turn
    settings = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(picture(), kind, exif=exif, **settings)
    (tmp_path / "picture").write_bytes(data)

    right = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)

    found = read(module, tmp_path / "picture")
    assert found.shape == right.shape == ((24, 32, 3) if turn < 5 else (32, 24, 3))
    assert np.abs(found - right).max() <= 2


@COLOURS
def test_heic_names_the_package_that_reads_it(module: Module, tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "film.jpg").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))

    with pytest.raises(module("engine").RunError, match=r"photo\.heic is a HEIC image.*pip install pillow-heif"):
        read(module, tmp_path / "photo.heic")
    with pytest.raises(module("engine").RunError, match=r"film\.jpg is not an image .*no format that is known"):
        read(module, tmp_path / "film.jpg")


@COLOURS
def test_a_set_of_16_bits_is_learned_in_full_depth(module: Module, process: Any, here: Path) -> None:
    folder = write_images(here / "images")
    for path in folder.rglob("*.png"):
        path.write_bytes(png(read(module, path).astype(int) * 257 + 1, RGB, 16))
    opt = module("options").Options(data_dir=str(folder))

    dataset = module("data").MyDataset(folder / "train", opt)
    image, _ = dataset[0]

    assert dataset.facts["scale"] == 0
    assert image.dtype == torch.float32
    assert (image * 257 - 1 - (image * 257 - 1).round()).abs().max() < 0.02
    assert (image - image.round()).abs().max() > 0.003
    assert module("data").read_inputs(Path(dataset.paths[0]), opt, dataset.facts).dtype == torch.float32
    with pytest.raises(module("engine").RunError, match=r"images are float32 from 0 to 255 .*torch\.uint8"):
        module("data").normalise(image[None].byte(), dataset.facts)


# SIZES


@FOLDERS
def test_a_long_picture_is_cropped_before_it_is_enlarged(module: Module, tmp_path: Path) -> None:
    for size in ((8000, 1), (1, 8000)):
        Image.new("RGB", size, "red").save(tmp_path / "long.png")
        began = time.perf_counter()

        found = read(module, tmp_path / "long.png", 224)

        assert found.shape == (224, 224, 3)
        assert read(module, tmp_path / "long.png").shape == (size[1], size[0], 3)
        assert time.perf_counter() - began < 5
        assert (found == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("sizes", "size"),
    [
        ([(32, 40)] * 3, 32),
        ([(512, 600)] * 3, 512),
        ([(4000, 3000)] * 2, 224),
        ([(4000, 3000), (300, 200), (500, 400)], 224),
        ([(40, 30), (50, 60), (20, 20)], 30),
    ],
)
@FOLDERS
def test_the_first_image_is_not_everybodys_size(
    module: Module, tmp_path: Path, sizes: list[tuple[int, int]], size: int
) -> None:
    for number, each in enumerate(sizes):
        folder = tmp_path / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", each).save(folder / f"{number}.png")
    options = module("options").Options

    dataset = module("data").MyDataset(tmp_path / "train", options(data_dir=str(tmp_path)))
    asked = module("data").MyDataset(tmp_path / "train", options(data_dir=str(tmp_path), image_size=16))

    assert dataset.facts["image_size"] == size
    assert asked.facts["image_size"] == 16
    assert f"{size} x {size} pixels" in dataset.describe()
    assert ("--image-size takes another size" in dataset.describe()) == (sizes[0] != (size, size) or len({*sizes}) > 1)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("frames", [1, 3])
@FOLDERS
def test_of_several_frames_the_first_is_taken_and_that_is_told(
    module: Module, tmp_path: Path, kind: str, frames: int
) -> None:
    shades = [Image.new("L", (32, 32), shade) for shade in (250, 10, 120)[:frames]]
    for label in "ab":
        (tmp_path / "train" / label).mkdir(parents=True)
        many = {"save_all": True, "append_images": shades[1:]} if frames > 1 else {}
        (tmp_path / "train" / label / f"0.{kind.lower()}").write_bytes(encoded(shades[0], kind, **many))

    dataset = module("data").MyDataset(tmp_path / "train", module("options").Options(data_dir=str(tmp_path)))

    assert abs(float(dataset[0][0].float().mean()) - 250) < 3
    assert ("of several frames the first" in dataset.describe()) == (frames > 1)


@FOLDERS
def test_a_run_goes_on_with_the_size_that_it_began_with(
    module: Module, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    images = write_images(here / "images", size=16)
    Image.new("RGB", (40, 30)).save(images / "train" / "class0" / "large.png")
    words = ["--data-dir", str(images), "--batch-size", "16", "--num-workers", "0", "--log-every", "5"]

    def train(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train", *words, *more])
        options, story = module("options").Options, module("train")
        return int(module("engine").launch(options, story.train, story.show_plan))

    assert train("--epochs", "1") == 0
    record = Path("run", "1", "options.json")
    assert '"image_size": 16' in record.read_text()
    # as an older version took it of the first image
    record.write_text(record.read_text().replace('"image_size": 16', '"image_size": 12'))
    capfd.readouterr()
    assert train("--epochs", "2", "--run", "1") == 0

    said = capfd.readouterr().err
    assert "going on after step 3" in said
    assert "12 x 12 pixels" in said


# WHAT LIES IN FOLDERS


def listed(module: Module, folder: Path, **settings: Any) -> tuple[list[str], list[str], str]:
    """The names of the images, their classes, and what is said of the rest."""
    opt = module("options").Options(data_dir=str(folder.parent), **settings)
    paths, names, note = module("images").image_files(folder, opt)
    return [os.path.basename(path) for path in paths], names, note


@FOLDERS
def test_what_is_no_image_is_left_out_counted_and_told(module: Module, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", classes=2, train=3)
    train = images / "train"
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "a.csv", "a.xml", "a.json", "a.txt", "a.mp4", "a.npy"):
        (train / "class0" / name).write_bytes(b"x")
    for name in ("@eaDir", "__MACOSX", "$RECYCLE.BIN", ".git"):
        (train / name).mkdir()
        (train / name / "0.png").write_bytes(b"x")
        (train / "class1" / name).mkdir()
    (train / "readme.txt").write_text("hello")

    files, names, note = listed(module, train)

    assert len(files) == 6
    assert {*names} == {"class0", "class1"}
    assert "what is no image: 18, such as $RECYCLE.BIN, .DS_Store, .git" in note
    assert "folders in classes" not in note
    described = module("data").MyDataset(train, module("options").Options(data_dir=str(images))).describe()
    assert described.count("left out") == 1
    assert module("data").MyDataset(train, module("options").Options(data_dir=str(images))).facts["held_out"] is False


@FOLDERS
def test_folders_in_classes_are_walked_when_asked(module: Module, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", classes=2, train=3)
    inner = images / "train" / "class0" / "more" / "deep"
    inner.mkdir(parents=True)
    Image.new("L", (8, 8)).save(inner / "inner.png")

    files, _, note = listed(module, images / "train")
    assert "inner.png" not in files
    assert "1 folder in classes, which --nested looks into" in note
    files, names, note = listed(module, images / "train", nested=True)
    assert names[files.index("inner.png")] == "class0"
    assert note == ""

    (inner / "back").symlink_to(images / "train" / "class0")
    with pytest.raises(module("engine").RunError, match="deep/back is a link to a folder that it lies in"):
        listed(module, images / "train", nested=True)

    for path in images.glob("train/class*/*.png"):
        path.unlink()
    with pytest.raises(module("engine").RunError, match=r"has no images in its folders.*--nested takes"):
        listed(module, images / "train")


@FOLDERS
def test_an_empty_class_is_told_in_train_and_fine_in_val(module: Module, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", classes=2)
    for split in ("train", "val"):
        (images / split / "nothing").mkdir()

    _, names, note = listed(module, images / "train")

    assert "the class nothing, which is empty" in note
    assert "nothing" not in names
    assert listed(module, images / "val")[2] == ""


@FOLDERS
def test_a_class_that_is_a_broken_link_is_named(module: Module, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", classes=2)
    (images / "train" / "gone").symlink_to(tmp_path / "nowhere")

    with pytest.raises(module("engine").RunError, match="gone is a link to nowhere"):
        listed(module, images / "train")


@FOLDERS
def test_names_that_are_not_utf_8_are_read_and_told(
    module: Module, process: Any, here: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    images = write_images(here / "images", classes=2)
    odd = os.fsdecode(b"\xff\xe9t\xe9")
    for split in ("train", "val"):
        (images / split / "class0").rename(images / split / odd)
        (images / split / odd / "0.png").rename(images / split / odd / f"{odd}.png")
    opt = module("options").Options(data_dir=str(images), run_dir=str(here / "run"), batch_size=8, epochs=1)

    module("train").train(opt, process)
    module("evaluate").evaluate_run(module("evaluate").Arguments(here / "run" / "1"), process)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "argv", ["predict", str(here / "run" / "1"), str(images / "val" / odd / f"{odd}.png")])

    assert module("predict").main() == 0
    stream.flush()
    assert rb"\udcff" in stream.buffer.getvalue()


# DAMAGE


def fuzzed(data: bytes, count: int) -> Iterator[bytes]:
    """A file damaged in many ways: bytes changed, cut out, doubled, cut short; PNGs also with right checksums."""
    dice = random.Random(len(data))
    for number in range(count):
        damaged = bytearray(data)
        for _ in range(dice.choice([1, 1, 2, 5, 20])):
            place = dice.randrange(len(damaged))
            match dice.randrange(5):
                case 0:
                    damaged[place] ^= 1 << dice.randrange(8)
                case 1:
                    damaged[place : place + 4] = bytes([255]) * 4
                case 2:
                    del damaged[place : place + dice.randrange(1, 9)]
                case 3:
                    damaged[place:place] = damaged[place : place + dice.randrange(1, 99)]
                case _:
                    damaged[place] = dice.randrange(256)
            damaged = damaged or bytearray(b"x")
        if number % 10 == 0:
            damaged = damaged[: dice.randrange(len(damaged))]
        yield bytes(damaged if number % 2 else with_checksums(damaged))


def with_checksums(data: bytearray) -> bytearray:
    """A PNG whose chunks have the checksums that they should; anything else as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    found, place = data[:8], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found += chunk(bytes(data[place + 4 : place + 8]), bytes(data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


FUZZED = {
    "png": lambda: encoded(picture(), "PNG"),
    "interlaced.png": lambda: png(numbers(RGBA, 8), RGBA, 8, True),
    "16.png": lambda: png(numbers(RGB, 16), RGB, 16),
    "jpg": lambda: encoded(picture(), "JPEG"),
    "progressive.jpg": lambda: encoded(picture(), "JPEG", progressive=True),
    "webp": lambda: encoded(picture(), "WEBP"),
    "gif": lambda: encoded(picture().convert("P"), "GIF"),
    "bmp": lambda: encoded(picture(), "BMP"),
    "tif": lambda: encoded(picture(), "TIFF"),
    "packed.tif": lambda: encoded(picture(), "TIFF", compression="tiff_lzw"),
    "ppm": lambda: encoded(picture(), "PPM"),
    "avif": lambda: encoded(picture(), "AVIF"),
}


@pytest.mark.parametrize("kind", FUZZED)
def test_a_thousand_damaged_files_of_each_kind_kill_and_hang_nothing(module: Module, tmp_path: Path, kind: str) -> None:
    images, errors, count = module("images"), module("engine.errors"), 1000
    child = os.fork()
    if not child:
        code = 1
        try:
            path = tmp_path / "damaged"
            for number, data in enumerate(fuzzed(FUZZED[kind](), count)):
                path.write_bytes(data)
                (tmp_path / "at").write_text(str(number))
                signal.alarm(20)  # ends the child
                with contextlib.suppress(errors.RunError):  # a sentence; any other error ends the child
                    assert images.read_image(path, 32).shape == (3, 32, 32)
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert (status, (tmp_path / "at").read_text()) == (0, str(count - 1))


# WHOLE RUNS


@DAMAGED
def test_a_bad_picture_in_val_is_met_before_an_epoch(module: Module, process: Any, here: Path) -> None:
    images = write_images(here / "images")
    for number in (1, 2):
        bad = images / "val" / "class2" / f"{number}.png"
        bad.write_bytes(bad.read_bytes()[:-20])
    opt = module("options").Options(
        data_dir=str(images), run_dir=str(here / "run"), batch_size=16, epochs=1, num_workers=0, cache_mb=0
    )

    with pytest.raises(module("engine").RunError, match=r"class2.1\.png is not an image.* \(2 cannot be read; python"):
        module("train").train(opt, process)

    assert not (here / "run" / "1" / "metrics.jsonl").exists()


@DAMAGED
def test_what_is_no_file_is_not_waited_for_and_a_pointer_is_named(module: Module, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("version https://git-lfs.github.com/spec/v1")

    for read in (module("images").read_image, module("images").read_header):
        with pytest.raises(module("engine").RunError, match=r"a\.png is not an image .*neither a file nor a link"):
            read(tmp_path / "a.png")
        with pytest.raises(module("engine").RunError, match=r"b\.png is a Git LFS pointer.*git lfs pull"):
            read(tmp_path / "b.png")


def test_what_is_there_in_the_place_of_an_image_is_told(module: Module, tmp_path: Path) -> None:
    with pytest.raises(module("engine").RunError, match=r"none\.png does not exist$"):
        module("images").read_image(tmp_path / "none.png")
    with pytest.raises(module("engine").RunError, match=rf"{tmp_path} is a folder; .* as {tmp_path}/\* does"):
        module("images").read_image(tmp_path)


@DAMAGED
def test_predict_goes_on_after_a_bad_picture(
    module: Module, process: Any, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(here / "images")
    opt = module("options").Options(data_dir=str(images), run_dir=str(here / "run"), batch_size=16, epochs=1)
    module("train").train(opt, process)
    (here / "bad.png").write_bytes(b"no image")
    good = [str(images / "val" / "class1" / f"{number}.png") for number in (0, 1)]
    capsys.readouterr()

    monkeypatch.setattr(sys, "argv", ["predict", str(here / "run" / "1"), good[0], "bad.png", "absent.png", good[1]])
    assert module("predict").main() == 2
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == good
    assert [line.split()[1] for line in said.err.splitlines() if line.startswith("error")] == ["bad.png", "absent.png"]

    for top in ("-1", "0"):
        monkeypatch.setattr(sys, "argv", ["predict", str(here / "run" / "1"), good[0], "--top", top])
        assert module("predict").main() == 2
        assert f"--top must be at least 1, and is {top}" in capsys.readouterr().err


@FOLDERS
def test_a_whole_set_is_looked_over(
    module: Module, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(here / "images")
    train, val = images / "train", images / "val"
    (val / "class1" / "0.png").write_bytes((train / "class1" / "3.png").read_bytes())
    (train / "class0" / "again.png").write_bytes((train / "class2" / "5.png").read_bytes())
    (train / "class0" / "photo.jpg").write_bytes(encoded(picture(), "JPEG"))
    (train / "class0" / "deep.png").write_bytes(png(numbers(RGB, 16), RGB, 16))
    for number in (1, 2):
        (val / "class3" / f"{number}.png").write_bytes(b"no image")
    (train / "class0" / "Thumbs.db").write_bytes(b"x")

    def survey(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["data", str(images), *words])
        return module("data").main(), capsys.readouterr().out

    code, said = survey()
    assert code == 2
    assert "train: 51 images (left out: what is no image: 1, such as Thumbs.db)" in said
    assert "3 formats: PNG (49), PNG of more than 8 bits (1), JPEG (1)" in said
    assert "3 sizes: 8 x 8 (49), 11 x 13 (1), 32 x 24 (1)" in said
    assert "4 classes: class0 (15), class1 (12)" in said
    assert "images that cannot be read: 2" in said
    assert all(f"{val / 'class3' / f'{number}.png'} is not an image" in said for number in (1, 2))
    assert (
        f"images that are there in train and again in val or test: 1\n  {train}/class1/3.png = {val}/class1/0.png"
        in said
    )
    assert f"images that are there in several classes: 1\n  {train}/class0/again.png = {train}/class2/5.png" in said
    with Image.open("contact_sheet.png") as sheet:
        assert sheet.size == (640, 4 * 78)
        assert len({*sheet.resize((40, 20)).convert("L").tobytes()}) > 20

    one, two = survey("--hash"), survey("--hash")
    content = bytearray((train / "class1" / "7.png").read_bytes())
    (train / "class1" / "7.png").write_bytes(encoded(Image.new("RGB", (8, 8), "red"), "PNG").ljust(len(content), b"\0"))
    assert one == two
    assert len(one[1].strip()) == 64
    assert survey("--hash") != one


def test_speed_of_jpegs_is_that_of_torchvision(module: Module, tmp_path: Path) -> None:
    from torchvision.io import ImageReadMode, decode_jpeg

    data = encoded(picture(375, 500).resize((500, 375)), "JPEG", quality=90)
    (tmp_path / "photo.jpg").write_bytes(data)

    def decode() -> None:
        read_back = torch.frombuffer(bytearray((tmp_path / "photo.jpg").read_bytes()), dtype=torch.uint8)
        decode_jpeg(read_back, mode=ImageReadMode.RGB, apply_exif_orientation=True)

    def best(act: Callable[[], Any]) -> float:
        times = []
        for _ in range(60):
            began = time.process_time()
            act()
            times.append(time.process_time() - began)
        return min(times)

    pairs = [(best(decode), best(lambda: module("images").read_image(tmp_path / "photo.jpg"))) for _ in range(3)]
    assert min(ours / theirs for theirs, ours in pairs) < 1.25
