"""Image files of every kind, as a rendered project reads them: the colours are right, or the file is named."""

import contextlib
import io
import os
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.generated.rendered import importable, render_project, write_images

COLOURS = pytest.mark.figure(
    "C1 images are what they are",
    "depths, modes, turns and formats: the colours of Pillow and every bit of 16, or refused by name",
)
DAMAGED = pytest.mark.figure(
    "C9 damaged images",
    "named in a sentence, and nothing is killed",
)

# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")

Module = Callable[[str], ModuleType]
Pixels = np.ndarray[Any, np.dtype[Any]]
# PNG's colour types, and how many numbers a pixel has in each
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
KINDS = [(kind, depth, interlaced) for kind in CHANNELS for depth in DEPTHS[kind] for interlaced in (False, True)]
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a default project."""
    with importable(render_project(tmp_path_factory.mktemp("of") / "pictures")) as modules:
        yield modules


@pytest.fixture
def process(module: Module) -> Iterator[Any]:
    """This process, alone."""
    with module("engine").Process.start(module("options").Options()) as process:
        yield process


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows(pixels: Pixels, depth: int) -> bytes:
    """The lines of a picture, each after the byte that says it is not filtered."""
    if depth >= 8:
        return b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    bits = [np.unpackbits(row.astype("u1").reshape(-1, 1), axis=1)[:, -depth:].ravel() for row in pixels]
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)


def png(
    pixels: Pixels, kind: int, depth: int, interlaced: bool = False, palette: bytes = b"", clear: bytes = b""
) -> bytes:
    """A PNG of numbers (height, width, channels), written by hand: Pillow and torchvision write few of these."""
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    parts = [pixels[y::down, x::across] for y, x, down, across in PASSES] if interlaced else [pixels]
    lines = b"".join(rows(part, depth) for part in parts if part.size)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    extra = [chunk(name, data) for name, data in ((b"PLTE", palette), (b"tRNS", clear)) if data]
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunks[0], *extra, *chunks[1:]])


def numbers(kind: int, depth: int, height: int = 13, width: int = 11) -> Pixels:
    """Random pixels, the darkest and the brightest among them."""
    pixels = np.random.default_rng(depth).integers(0, 2**depth, (height, width, CHANNELS[kind]))
    pixels[0, 0], pixels[0, 1] = 0, 2**depth - 1
    return pixels


def colours(pixels: Pixels, depth: int) -> Pixels:
    """What they are in 8 bits, three for each pixel, whatever it lets through."""
    scaled = np.rint(pixels * 255 / (2**depth - 1)).astype(np.uint8)
    return np.repeat(scaled[..., :1], 3, axis=2) if pixels.shape[2] < 3 else scaled[..., :3]


def read(module: Module, path: Path, size: int = 0) -> Pixels:
    """The colours of an image, as the project reads them."""
    image = module("images").read_image(path, size)
    assert image.dtype == torch.uint8
    read: Pixels = image.permute(1, 2, 0).numpy()
    return read


def outlived(acts: Mapping[str, Callable[[], Any]]) -> dict[str, str]:
    """What a child says of each act; a crash of a decoder must not end the tests."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        for name, act in acts.items():
            try:
                act()
                said = "nothing was wrong"
            except Exception as problem:  # noqa: BLE001, whatever it is, the parent is to hear of it
                said = f"{type(problem).__name__}: {problem}"
            os.write(writer, f"{name}\t{said}\n".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        answers = dict(line.rstrip("\n").split("\t") for line in told)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {name: answers.get(name, f"ended with {status}") for name in acts}


# COLOURS


@pytest.mark.parametrize(("kind", "depth", "interlaced"), KINDS)
@COLOURS
def test_every_kind_of_png_has_the_colours_of_its_8_bits(
    module: Module, tmp_path: Path, kind: int, depth: int, interlaced: bool
) -> None:
    pixels = numbers(kind, depth)
    if kind == PALETTE:
        table = np.random.default_rng(0).integers(0, 256, (2**depth, 3)).astype(np.uint8)
        palette, right = table.tobytes(), table[pixels[..., 0]]
        clear = bytes(range(2**depth))
    else:
        palette, right = b"", colours(pixels, depth)
        clear = pixels[5, 5].astype(">u2").tobytes() if kind in (GRAY, RGB) else b""

    for transparent in {b"", clear}:
        encoded = png(pixels, kind, depth, interlaced, palette, transparent)
        (tmp_path / "picture.png").write_bytes(encoded)
        assert np.array_equal(read(module, tmp_path / "picture.png"), right)
        if depth <= 8:  # where Pillow is right too
            picture = Image.open(io.BytesIO(encoded)).convert("RGBA").convert("RGB")
            assert np.array_equal(np.asarray(picture), right)


@pytest.mark.parametrize("kind", [GRAY, RGB, GRAY_ALPHA, RGBA])
@COLOURS
def test_each_of_65536_values_goes_to_the_nearest_of_256(module: Module, tmp_path: Path, kind: int) -> None:
    values = np.arange(65536).reshape(256, 256, 1).repeat(CHANNELS[kind], axis=2)
    (tmp_path / "picture.png").write_bytes(png(values, kind, 16))

    found = read(module, tmp_path / "picture.png")

    assert np.array_equal(found, colours(values, 16))
    assert np.array_equal(found[..., 0].ravel()[::257], np.arange(256))


@pytest.mark.parametrize("size", [0, 8, 20])
@COLOURS
def test_a_picture_is_the_same_in_16_and_in_8_bits(module: Module, tmp_path: Path, size: int) -> None:
    pixels = numbers(RGB, 8)
    (tmp_path / "8.png").write_bytes(png(pixels, RGB, 8))
    (tmp_path / "16.png").write_bytes(png(pixels * 257, RGB, 16))

    assert np.array_equal(read(module, tmp_path / "16.png", size), read(module, tmp_path / "8.png", size))


@COLOURS
def test_jpeg_webp_and_gif_have_the_colours_that_pillow_sees(module: Module, tmp_path: Path) -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 64), np.linspace(255, 0, 48))
    picture = Image.fromarray(np.stack([across, down, (across + down) / 2], axis=2).astype(np.uint8))
    inks = np.array(picture.convert("CMYK"))
    inks[..., 3] = np.linspace(0, 200, 64)
    cmyk = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(cmyk, "JPEG")
    place = cmyk.getvalue().index(b"Adobe")
    ycck = bytearray(cmyk.getvalue())
    ycck[place + 11] = 2
    unmarked = cmyk.getvalue()[: place - 4] + cmyk.getvalue()[place + 12 :]
    files: dict[str, bytes] = {"cmyk.jpg": cmyk.getvalue(), "ycck.jpg": bytes(ycck), "unmarked.jpg": unmarked}

    def save(name: str, image: Image.Image, kind: str, **settings: Any) -> None:
        data = io.BytesIO()
        image.save(data, kind, **settings)
        files[name] = data.getvalue()

    save("colours.jpg", picture, "JPEG", subsampling=2)
    save("progressive.jpg", picture, "JPEG", progressive=True)
    save("rgb.jpg", picture, "JPEG", keep_rgb=True)
    save("gray.jpg", picture.convert("L"), "JPEG")
    save("lossy.webp", picture, "WEBP")
    save("clear.webp", Image.merge("RGBA", [*picture.split(), picture.convert("L")]), "WEBP", lossless=True)
    save("palette.gif", picture.convert("P"), "GIF")
    save("gray.gif", picture.convert("L"), "GIF")
    save("moving.gif", picture.convert("P"), "GIF", save_all=True, append_images=[picture.rotate(180).convert("P")])
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        right = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        # two releases of a JPEG or WebP library may round apart
        assert np.abs(read(module, tmp_path / name) - right).max() <= 2, name


# WHOLE RUNS


def test_16_bits_train_measure_and_ask_as_8_bits(
    module: Module, process: Any, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, options, train, evaluate, predict = (
        module(name) for name in ("images", "options", "train", "evaluate", "predict")
    )
    eight = write_images(here / "eight")
    mixed = here / "mixed"  # the first picture, which decides over the size, and every other one in 16 bits
    for number, path in enumerate(sorted(eight.rglob("*.png"))):
        target = mixed / path.relative_to(eight)
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = images.read_image(path).permute(1, 2, 0).numpy().astype(int)
        target.write_bytes(png(pixels * 257 if number % 2 == 0 else pixels, RGB, 16 if number % 2 == 0 else 8))

    results, said = [], []
    for folder in (eight, mixed):
        for cache in (0, 64):
            opt = options.Options(data_dir=str(folder), batch_size=16, epochs=2, num_workers=0, cache_mb=cache)
            opt = replace(opt, run_dir=str(here / f"run {folder.name} {cache}"))
            results.append(train.train(opt, process))
            capsys.readouterr()
            run = Path(opt.run_dir, "1")
            evaluate.evaluate_run(evaluate.Arguments(run), process)
            monkeypatch.setattr(sys, "argv", ["predict", str(run), str(folder / "val" / "class1" / "0.png")])
            assert predict.main() == 0
            said.append(capsys.readouterr().out.replace(str(run), "").replace(str(folder), ""))

    assert len(set(results)) == 1
    assert len(set(said)) == 1


@COLOURS
def test_what_has_neither_8_nor_16_bits_is_refused_by_name(module: Module, tmp_path: Path) -> None:
    errors = module("engine.errors")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "float.tif").rename(tmp_path / "float.png")
    with pytest.raises(errors.RunError, match=r"float\.png has values from 1 to 1; say which one is white"):
        module("images").read_image(tmp_path / "float.png")


# DAMAGE


def damages(encoded: bytes) -> dict[str, bytes]:
    """A PNG, damaged as disks and downloads do it."""
    dice = random.Random(0)
    found = {"nothing": b""}
    for place in (*range(8, len(encoded) - 12, 7), *(dice.randrange(8, len(encoded) - 12) for _ in range(40))):
        damaged = bytearray(encoded)
        damaged[place] ^= 1 << dice.randrange(8)
        found[f"byte {place} is another"] = bytes(damaged)
    for _ in range(20):
        length = dice.randrange(1, len(encoded) - 12)
        found[f"cut at {length}"] = encoded[:length]
        found[f"zeros from {length}"] = encoded[:length] + bytes(len(encoded) - length)
    return found


@pytest.mark.parametrize(("kind", "depth", "interlaced"), [(RGB, 8, False), (RGB, 8, True), (GRAY, 16, False)])
@DAMAGED
def test_a_damaged_png_is_named_and_kills_nothing(
    module: Module, tmp_path: Path, kind: int, depth: int, interlaced: bool
) -> None:
    path = tmp_path / "damaged.png"
    whole = png(numbers(kind, depth), kind, depth, interlaced)
    place = whole.index(b"IDAT") - 4
    length = int.from_bytes(whole[place : place + 4], "big")
    content = whole[place + 8 : place + 8 + length]
    # in many parts, as most programs write it
    parts = b"".join(chunk(b"IDAT", content[at : at + 60]) for at in range(0, length, 60))
    for encoded in (whole, whole[:place] + chunk(b"tEXt", b"by\0hand") + parts + whole[place + 12 + length :]):
        path.write_bytes(encoded)
        assert np.array_equal(read(module, path), colours(numbers(kind, depth), depth))
        names = damages(encoded)
        for number, damaged in enumerate(names.values()):
            (tmp_path / f"{number}.png").write_bytes(damaged)
        acts = {
            name: partial(module("images").read_image, tmp_path / f"{number}.png") for number, name in enumerate(names)
        }
        for number, (name, said) in enumerate(outlived(acts).items()):
            right = f"RunError: {tmp_path / f'{number}.png'} is not an image that can be read ("
            assert said.startswith(right), f"{name}: {said}"


@DAMAGED
def test_what_follows_the_end_of_a_png_does_not_matter(module: Module, tmp_path: Path) -> None:
    pixels = numbers(RGB, 8)
    (tmp_path / "picture.png").write_bytes(png(pixels, RGB, 8) + b"appended by some program")

    assert np.array_equal(read(module, tmp_path / "picture.png"), colours(pixels, 8))


@pytest.mark.parametrize("workers", [0, 2])
@DAMAGED
def test_a_damaged_image_ends_a_run_with_its_name(module: Module, process: Any, here: Path, workers: int) -> None:
    images = write_images(here / "images")
    damaged = images / "train" / "class3" / "5.png"
    content = bytearray(damaged.read_bytes())
    content[-20] ^= 1
    damaged.write_bytes(content)
    options = module("options").Options(
        data_dir=str(images), run_dir=str(here / "run"), batch_size=16, epochs=1, num_workers=workers, cache_mb=0
    )

    def run() -> None:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), module("engine").exit_status() as status:
            module("train").train(options, process)
        raise ValueError(f"exit status {status.code}, {said.getvalue().splitlines()[-1]}")

    assert outlived({"run": run})["run"] == (
        f"ValueError: exit status 2, error: {damaged} is not an image that can be read (damaged or cut short: "
        "a checksum is wrong); repair or remove it"
    )
