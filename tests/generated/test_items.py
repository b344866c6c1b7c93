"""What an owner does to `MyDataset` takes effect, kept in memory or not, with loader workers or without, and a run that
was killed still ends with the very bits of an undisturbed one."""

import random
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.generated.rendered import importable, render_project, write_images
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Change, Project, metrics, outcome, steps

pytest_plugins = ["tests.reliability.crash.fixtures"]
# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")

DATA = "PACKAGE/data.py"
RETURN = "as_trained(self.facts), view=self.view)\n        return image, self.labels[number]\n"
CLASS = "\n\ndef load_data("
IMPORTS: Change = (
    DATA,
    "import math\n",
    "import math\nimport random\nimport numpy as np\nfrom torchvision.transforms import v2 as transforms\n",
)


def in_item(line: str) -> Change:
    """A line in the body of `__getitem__`, after the image was read."""
    return (DATA, RETURN, RETURN.replace("        return", f"        {line}\n        return"))


def in_class(*lines: str) -> Change:
    """A method at the end of `MyDataset`."""
    return (DATA, CLASS, "\n" + "".join(f"    {line}\n" for line in lines) + CLASS)


def in_subclass(*lines: str) -> tuple[Change, ...]:
    """A subclass with these lines, that takes the place of `MyDataset`."""
    body = "".join(f"    {line}\n" for line in lines)
    return (
        (DATA, CLASS, f"\n\nclass Mine(MyDataset):\n{body}{CLASS}"),
        (DATA, "in_memory(MyDataset(", "in_memory(Mine("),
    )


FLIP = "image = transforms.RandomHorizontalFlip()(image)"
BATCH = [
    "def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:",
    '    images = [read_image(self.paths[number], self.facts["image_size"]) for number in numbers]',
    "    noise = torch.randint(1, 8, (len(images), 1, 1, 1), dtype=torch.uint8)",
    "    return torch.stack(images) ^ noise, self.labels[numbers]",
]
GETITEMS = [
    "def __getitems__(self, numbers: list[int]) -> list[tuple[Tensor, Tensor]]:",
    "    some = [self[number] for number in numbers]",
    "    return [(transforms.RandomHorizontalFlip()(image), label) for image, label in some]",
]
# what owners do first, each with all the randomness it comes with
RANDOM_EDITS: dict[str, tuple[Change, ...]] = {
    "torchvision's flip": (in_item(FLIP),),
    "torchvision's RandAugment": (in_item("image = transforms.RandAugment()(image)"),),
    "a rare one of Python": (in_item("image = 255 - image if random.random() < 0.2 else image"),),
    "one of a single image": (in_item("image = image ^ random.randint(1, 255) if number == 17 else image"),),
    "half of a pair": (in_item("image = image + int(3 * np.random.randn() ** 2)"),),
    "numpy's noise": (
        in_item("image = image ^ torch.from_numpy(np.random.randint(0, 8, image.shape, dtype=np.uint8))"),
    ),
    "a subclass with items": in_subclass(
        "def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:",
        "    image, label = super().__getitem__(number)",
        f"    {FLIP}",
        "    return image, label",
    ),
    "whole batches": (
        (DATA, "def __getitem__(self, number: int) -> tuple", "def item(self, number: int) -> tuple"),
        in_class(*BATCH),
    ),
}
EDITS = {
    **RANDOM_EDITS,
    "nothing random": (in_item("image = 255 - image"),),
    "only one image of all": (in_item("image = 255 - image if number == 17 else image"),),
    "another label": (in_item("number = number + 0 * int(image.sum()); self.labels[number] = 3"),),
    "a wrapper": (
        (
            DATA,
            CLASS,
            "\n\ndef _inverted(method: Any) -> Any:\n"
            "    return lambda self, number: (255 - method(self, number)[0], *method(self, number)[1:])\n\n\n"
            "MyDataset.__getitem__ = _inverted(MyDataset.__getitem__)\n" + CLASS,
        ),
    ),
    "a collate": (
        in_class(
            "def collate(self, items: Any) -> Any:",
            "    images, labels = zip(*items)",
            "    return 255 - torch.stack(images), torch.stack(labels)",
        ),
    ),
}
Seen = dict[int, tuple[torch.Tensor, int]]


def render(folder: Path, name: str, changes: tuple[Change, ...]) -> Path:
    """A default project, changed."""
    made = render_project(folder / name)
    return Project(made, name, folder).edited(folder / "changed" / name, (IMPORTS, *changes)).folder


def seen(folder: Path, images: Path, cache: int, workers: int, pinned: bool = False) -> list[Seen]:
    """The images and labels of two epochs of training, twice of evaluation, and of the training from its middle, as
    the loop gets them, by number."""
    with importable(folder) as module:
        data, loaders, engine = (module(name) for name in ("data", "engine.loader", "engine"))
        opt = module("options").Options(data_dir=str(images), batch_size=16, num_workers=workers, cache_mb=cache)
        found: list[Seen] = []
        with engine.exit_status() as status, engine.Process.start(opt) as process:
            train_set, val_set = data.load_data(opt, process)
            train, val = data.train_loader(train_set, opt, process), data.val_loader(val_set, opt, process)
            train.pin_memory = val.pin_memory = pinned
            for loader, epoch, batch in ((train, 0, 0), (val, 0, 0), (train, 1, 0), (val, 0, 0), (train, 1, 2)):
                sampler = loaders.batch_sampler(loader)
                sampler.epoch, sampler.start = epoch, batch
                np.random.randn()  # of a pair of numbers, every other time the second one waits in the generator
                before = [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]
                found.append(
                    {
                        int(number): (image, int(label))
                        for parts in loaders.load(loader)
                        for part in parts
                        for number, image, label in zip(part.numbers, part.inputs, part.targets, strict=True)
                    }
                )
                assert before == [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]
        assert status.code == 0
    return found


def same(one: Seen, two: Seen) -> bool:
    """Whether these are the same images and labels."""
    return one.keys() == two.keys() and all(
        torch.equal(one[number][0], two[number][0]) and one[number][1] == two[number][1] for number in one
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, images: Path) -> list[Seen]:
    """What a project sees that nobody has changed."""
    return seen(render(tmp_path_factory.mktemp("plain"), "plain", ()), images, 64, 0)


# each with what it differs in, and all with each other
HOW = [(64, 0, False), (0, 0, False), (64, 2, False), (0, 2, False), (64, 0, True)]


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_an_edit_takes_effect_wherever_images_come_from(
    tmp_path: Path, images: Path, plain: list[Seen], name: str
) -> None:
    project = render(tmp_path, "edited", EDITS[name])

    found = [seen(project, images, *how) for how in HOW]

    first = found[0]
    zero, measured, one, again, middle = first
    assert not same(zero, plain[0])
    assert not same(measured, plain[1]) or name == "only one image of all"
    assert same(measured, again)  # evaluations are comparable
    assert middle.keys() < one.keys()
    assert same({number: one[number] for number in middle}, middle)  # a run goes on as it would have gone on
    for how, others in zip(HOW, found, strict=True):
        assert all(same(*pair) for pair in zip(first, others, strict=True)), how
    if name in RANDOM_EDITS:
        both = zero.keys() & one.keys()
        assert not same({number: zero[number] for number in both}, {number: one[number] for number in both})


@pytest.mark.parametrize("name", ["as it came", *EDITS])
def test_items_are_kept_in_memory_only_if_they_are_always_the_same(tmp_path: Path, images: Path, name: str) -> None:
    kept = name not in (*RANDOM_EDITS, "a collate")
    with importable(render(tmp_path, "kept", EDITS.get(name, ()))) as module:
        data = module("data")
        for cache in (64, 0):
            opt = module("options").Options(data_dir=str(images), batch_size=16, cache_mb=cache)
            with module("engine").Process.start(opt) as process:
                dataset, _ = data.load_data(opt, process)
                workers = data.train_loader(dataset, opt, process).num_workers
            assert isinstance(dataset, data.InMemory) == (kept and cache > 0)
            assert workers == (0 if hasattr(dataset, "batch") else 2)


TWO_WAYS = "has __getitem__ and {0}; only one can say what an item is: remove {0}"
PART_OF_THE_DATA = """        part = Subset(train_set, range(32))
        vars(part).update(facts=train_set.facts, fingerprint=train_set.fingerprint, describe=train_set.describe)
        return part, load_folder"""
REFUSED: dict[str, tuple[tuple[Change, ...], str]] = {
    "items and batches": (
        (in_item(FLIP), in_class(*BATCH)),
        "MyDataset " + TWO_WAYS.format("batch"),
    ),
    "batches of a subclass": (
        in_subclass(*BATCH),
        "Mine " + TWO_WAYS.format("batch"),
    ),
    "batches as torch has them": (
        (in_class(*GETITEMS),),
        "MyDataset " + TWO_WAYS.format("__getitems__"),
    ),
    "batches as torch has them, in a part of the data": (
        (
            in_class(*GETITEMS),
            (DATA, "import DataLoader, Dataset\n", "import DataLoader, Dataset, Subset\n"),
            (DATA, "        return train_set, load_folder", PART_OF_THE_DATA),
        ),
        "MyDataset " + TWO_WAYS.format("__getitems__"),
    ),
    "floats": (
        (in_item("image = transforms.functional.to_dtype(image, torch.float32, scale=True)"),),
        "images are uint8 from 0 to 255 until they are normalised here, and these are torch.float32",
    ),
}
PLACES = {
    "in memory": ["--cache-mb", "64", "--num-workers", "0"],
    "in memory, with workers": ["--cache-mb", "64", "--num-workers", "2"],
    "from files": ["--cache-mb", "0", "--num-workers", "0"],
    "from files, with workers": ["--cache-mb", "0", "--num-workers", "2"],
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("place", PLACES)
def test_what_cannot_work_is_refused_in_a_sentence(project: Rendered, work: Path, name: str, place: str) -> None:
    changes, sentence = REFUSED[name]
    changed = project("single").changed(work / "code", (IMPORTS, *changes))

    ended = changed.run(work / "run", *PLACES[place])

    assert ended.code == 2, ended.said
    assert ended.said.endswith(f"error: {sentence}\n")


EVERYTHING = (
    IMPORTS,
    in_item(
        "image = transforms.RandAugment()(image) if random.random() < 0.5 else image ^ int(np.random.randint(8))",
    ),
)


def test_a_killed_run_with_random_transforms_ends_with_the_same_bits(project: Rendered, work: Path) -> None:
    plain = project("vit")  # with dropout, which draws from the same generators
    assert plain.run(work / "plain", "--epochs", "3").code == 0
    changed = plain.changed(work / "code", EVERYTHING)
    outcomes = {}
    for name, place in PLACES.items():
        here = replace(changed, flags=[*changed.flags, *place])
        assert here.run(work / name, "--epochs", "3").code == 0
        expected = outcomes[name] = outcome(work / name)

        # killed in the second epoch, then asked to stop in the middle of the third epoch
        often = work / f"{name}, often"
        killed = ("fail_once", {"package": here.package, "what": "die", "rank": 0, "step": 5})
        assert here.run(often, "--epochs", "3", faults=[killed]).code == -signal.SIGKILL
        where = {"where": "forward", "time_": 5, "number": signal.SIGTERM}
        asked = here.run(often, "--epochs", "3", faults=[("signal_in", {"package": here.package, **where})])
        assert asked.code == 128 + signal.SIGTERM, asked.said
        assert 8 in steps(often), "it was not stopped in the middle of an epoch"
        assert here.run(often, "--epochs", "3").code == 0
        assert expected.differs(outcome(often)) == []

    first = outcomes["in memory"]
    assert {name: first.differs(other) for name, other in outcomes.items()} == {name: [] for name in PLACES}
    assert metrics(work / "plain", "train") != metrics(work / "in memory", "train")


def test_two_processes_draw_what_one_draws(project: Rendered, work: Path) -> None:
    changed = project("ddp_plain").changed(work / "code", EVERYTHING)
    flags = ["--epochs", "1", "--log-every", "1"]
    outcomes = []
    for workers in ("0", "2"):
        ended = changed.run(work / workers, *flags, "--num-workers", workers)
        assert ended.code == 0, ended.said
        outcomes.append(outcome(work / workers))
    assert outcomes[0].differs(outcomes[1]) == []

    assert changed.run(work / "alone", *flags, ranks=1).code == 0
    alone, together = (metrics(work / folder, "train") for folder in ("alone", "0"))
    assert [row["train/loss"] for row in alone] == pytest.approx([row["train/loss"] for row in together], abs=1e-5)
