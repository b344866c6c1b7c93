"""What an owner does to `MyDataset` takes effect, kept in memory or not, with loader workers or without, and a run that
was killed still ends with the very bits of an undisturbed one."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.crash.fixtures import Rendered
from tests.crash.projects import Change, Project, metrics, outcome, steps
from tests.rendered import importable, render_project, write_images

pytest_plugins = ["tests.crash.fixtures"]
# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")

DATA = "PACKAGE/data.py"
RETURN = "size)\n        return image, self.labels[number], number\n\n\ndef _item_as_it_came"
CLASS = "def _item_as_it_came(self"
NUMPY: Change = (
    DATA,
    "import torch\nfrom torch import Tensor\n",
    "import numpy as np\nimport torch\nfrom torch import Tensor\n",
)
RANDOM: Change = (DATA, "import os\nimport re\n", "import os\nimport random\nimport re\n")


def in_item(line: str) -> Change:
    """A line in the body of `__getitem__`, after the image was read."""
    return (DATA, RETURN, RETURN.replace("        return", f"        {line}\n        return"))


def in_class(*lines: str) -> Change:
    """A method at the end of `MyDataset`."""
    return (DATA, CLASS, "".join(f"    {line}\n" for line in lines) + "\n\n" + CLASS)


def in_subclass(*lines: str) -> tuple[Change, ...]:
    """A subclass with these lines, that takes the place of `MyDataset` everywhere."""
    body = "".join(f"    {line}\n" for line in lines)
    return (
        (DATA, "class ResumableSampler(", f"class Mine(MyDataset):\n{body}\n\nclass ResumableSampler("),
        (DATA, "dataset = MyDataset(data_folder", "dataset = Mine(data_folder"),
        (DATA, 'dataset = MyDataset(f"', 'dataset = Mine(f"'),
    )


FLIP = "image = transforms.RandomHorizontalFlip()(image)"
# what owners do first, each with all the randomness it comes with
RANDOM_EDITS: dict[str, tuple[Change, ...]] = {
    "torchvision's flip": (in_item(FLIP),),
    "torchvision's RandAugment": (in_item("image = transforms.RandAugment()(image)"),),
    "a rare one of Python": (
        RANDOM,
        in_item("image = 255 - image if random.random() < 0.05 else image"),
    ),
    "numpy's noise": (
        NUMPY,
        in_item("image = image ^ torch.from_numpy(np.random.randint(0, 8, image.shape, dtype=np.uint8))"),
    ),
    "a subclass with items": in_subclass(
        "def __getitem__(self, number: int) -> Item:",
        "    image, label, number = super().__getitem__(number)",
        f"    {FLIP}",
        "    return image, label, number",
    ),
    "whole batches, as torch has them": (
        in_class(
            "def __getitems__(self, numbers: list[int]) -> list[Item]:",
            "    some = [self[number] for number in numbers]",
            "    return [(transforms.RandomHorizontalFlip()(image), label, number) for image, label, number in some]",
        ),
    ),
    "whole batches, as a subclass": in_subclass(
        "def __getitems__(self, numbers: list[int]) -> Batch:",
        "    images = torch.stack([self[number][0] for number in numbers])",
        "    return transforms.RandomHorizontalFlip()(images), self.labels[numbers], torch.tensor(numbers)",
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
            "def _inverted(method: Any) -> Any:\n"
            "    return lambda self, number: (255 - method(self, number)[0], *method(self, number)[1:])\n\n\n"
            "MyDataset.__getitem__ = _inverted(MyDataset.__getitem__)\n\n\n" + CLASS,
        ),
    ),
}
Seen = dict[int, tuple[torch.Tensor, int]]


def render(folder: Path, name: str, changes: tuple[Change, ...]) -> Path:
    """A default project, changed."""
    made = render_project(folder / name)
    return Project(made, name, folder).edited(folder / "changed" / name, changes).folder


def seen(folder: Path, images: Path, cache: int, workers: int, pinned: bool = False) -> list[Seen]:
    """The images and labels of two epochs of training, twice of evaluation, and of the training from its middle, as
    the loop gets them, by number."""
    with importable(folder) as module:
        data, options, distributed = (module(name) for name in ("data", "options", "distributed"))
        opt = options.Options(data_dir=str(images), batch_size=16, num_workers=workers, cache_mb=cache)
        process = distributed.start(opt)
        with data.loader_workers():
            opt, dataset = data.with_data(opt, process)
            train, val = data.train_loader(dataset, opt, process), data.val_loader(opt, process)
            train.pin_memory = val.pin_memory = pinned
            found: list[Seen] = []
            for loader, epoch, batch in ((train, 0, 0), (val, 0, 0), (train, 1, 0), (val, 0, 0), (train, 1, 2)):
                if loader is train:
                    data.start_at(train, epoch, batch)
                before = torch.get_rng_state()
                found.append(
                    {
                        int(number): (image, int(label))
                        for batches in data.batches(loader)
                        for image, label, number in zip(*batches, strict=True)
                    }
                )
                assert torch.equal(before, torch.get_rng_state())
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


def test_as_it_came_nothing_is_asked_for_item_by_item(tmp_path: Path, images: Path) -> None:
    with importable(render(tmp_path, "untouched", ())) as module:
        data, options, distributed = (module(name) for name in ("data", "options", "distributed"))
        for cache in (64, 0):
            opt = options.Options(data_dir=str(images), batch_size=16, cache_mb=cache)
            process = distributed.start(opt)
            loader = data.train_loader(data.with_data(opt, process)[1], opt, process)
            assert not loader.dataset.changed, "the two of data.py that are to be alike are not"
            assert (loader.dataset.memory is not None) == (cache > 0)
            assert loader.num_workers == (0 if cache else 2)


def test_a_docstring_changes_nothing(tmp_path: Path, images: Path) -> None:
    documented: Change = (DATA, '"""One image, in every epoch anew:', '"""Documented anew, in other words:')
    with importable(render(tmp_path, "documented", (documented,))) as module:
        opt = module("options").Options(data_dir=str(images))
        assert module("data").Reader(module("data").MyDataset(images / "train", opt), 0).memory is not None


REFUSED: dict[str, tuple[tuple[Change, ...], str]] = {
    "items and batches": (
        (in_item(FLIP), *RANDOM_EDITS["whole batches, as torch has them"]),
        "MyDataset has a __getitem__ and a __getitems__ of its own, and only one of them can say what an item is: remove "
        + "__getitems__, or leave __getitem__ as it came",
    ),
    "floats": (
        (in_item("image = transforms.functional.to_dtype(image, torch.float32, scale=True)"),),
        "images are uint8 from 0 to 255 until they are normalised here, and these are torch.float32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_cannot_work_is_refused_in_a_sentence(project: Rendered, work: Path, name: str, workers: str) -> None:
    changes, sentence = REFUSED[name]
    changed = project("single").changed(work / "code", changes)

    ended = changed.run(work / "run", "--num-workers", workers)

    assert ended.code == 2, ended.said
    assert ended.said.endswith(f"error: {sentence}\n")


EVERYTHING = (
    NUMPY,
    RANDOM,
    in_item(
        "image = transforms.RandAugment()(image) if random.random() < 0.5 else image ^ int(np.random.randint(8))",
    ),
)
PLACES = {
    "in memory": ["--cache-mb", "64", "--num-workers", "0"],
    "in memory, with workers": ["--cache-mb", "64", "--num-workers", "2"],
    "from files": ["--cache-mb", "0", "--num-workers", "0"],
    "from files, with workers": ["--cache-mb", "0", "--num-workers", "2"],
}


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
