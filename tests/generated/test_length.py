"""How long a training is: it follows from the size of the data, unless it is typed or recorded."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.generated.rendered import importable, render_project, write_images

# items, and what follows: batch size, epochs, epochs between evaluations
LENGTHS = [
    (10, (16, 400, 20)),
    (48, (16, 134, 6)),
    (100, (16, 67, 3)),
    (639, (16, 20, 1)),
    (640, (32, 20, 1)),
    (1279, (32, 20, 1)),
    (1280, (64, 20, 1)),
    (1442, (64, 20, 1)),
    (1_000_000, (64, 20, 1)),
]


Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    with importable(render_project(tmp_path_factory.mktemp("length") / "digits")) as found:
        yield found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.mark.parametrize(("items", "wanted"), LENGTHS)
def test_small_data_are_passed_over_until_there_are_some_hundreds_of_steps(
    module: Module, items: int, wanted: tuple[int, ...]
) -> None:
    opt = module("engine").fit_to_data(module("options").Options(), items)

    assert (opt.batch_size, opt.epochs, opt.eval_every) == wanted
    assert opt.save_every == opt.eval_every
    assert opt.epochs * max(1, items // opt.batch_size) >= 400
    assert module("engine").fit_to_data(opt, 10) == opt  # of a run that goes on


def test_what_is_typed_counts(module: Module) -> None:
    fit, options = module("engine").fit_to_data, module("options").Options

    assert fit(options(epochs=3), 48).epochs == 3
    assert fit(options(epochs=3), 48).eval_every == 1
    assert fit(options(batch_size=8), 48).batch_size == 8
    assert fit(options(steps=10, batch_size=8), 48).epochs == 2
    assert fit(options(least_steps=30), 48).epochs == 20
    assert fit(options(eval_every=2, save_every=3), 48).save_every == 3
    with pytest.raises(module("engine").RunError, match="--epochs and --steps both"):
        fit(options(epochs=3, steps=10), 48)


def test_a_run_records_its_length_and_goes_on_with_it(module: Module, images: Path, tmp_path: Path) -> None:
    opt = options(module, images, tmp_path)
    with module("engine").Process.start(opt) as process:
        module("train").train(opt, process)

    record = recorded(tmp_path)
    assert (record["options"]["epochs"], record["options"]["batch_size"]) == (134, 16)
    rows = [json.loads(line) for line in (tmp_path / "run/1/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row["kind"] == "val"][:2] == [5, 11]
    assert rows[-1]["step"] == 402
    assert "134 epochs of 3 steps of 16 items: 402 steps" in (tmp_path / "run/1/train.log").read_text()
    assert " are few" not in (tmp_path / "run/1/train.log").read_text()


def test_a_run_of_an_older_version_goes_on_with_its_epochs_and_its_batches(
    module: Module, images: Path, tmp_path: Path
) -> None:
    opt = options(module, images, tmp_path, epochs=1, batch_size=8)
    with module("engine").Process.start(opt) as process:
        module("train").train(opt, process)
        record = recorded(tmp_path)
        for name in ("least_epochs", "least_steps", "steps"):
            del record["options"][name]
        record |= {
            "options": record["options"] | {"epochs": 2, "eval_every": 1, "save_every": 1},
            "given": ["data_dir"],
        }
        (tmp_path / "run/1/options.json").write_text(json.dumps(record))

        typed = replace(options(module, images, tmp_path), run=1, given=("data_dir", "run_dir", "run"))
        module("train").train(module("engine").history.with_recorded_settings(typed, process), process)

    log = (tmp_path / "run/1/train.log").read_text()
    assert "2 epochs of 6 steps of 8 items: 12 steps" in log
    assert "epoch 2/2" in log
    assert "12 steps may teach a network little" in log


def test_the_same_command_knows_that_it_is_finished(module: Module, images: Path, tmp_path: Path) -> None:
    opt = options(module, images, tmp_path, least_epochs=1, least_steps=1)
    with module("engine").Process.start(opt) as process:
        module("train").train(opt, process)
    typed = replace(opt, given=("data_dir", "run_dir", "num_workers", "least_epochs", "least_steps"))

    assert module("engine").history.choose(typed) is None  # a new one
    record = recorded(tmp_path)
    record["options"]["epochs"] = 5
    (tmp_path / "run/1/options.json").write_text(json.dumps(record))
    assert module("engine").history.choose(typed) == 1


def options(module: Module, images: Path, folder: Path, **more: Any) -> Any:
    """Settings of a run on the small images."""
    return module("options").Options(data_dir=str(images), run_dir=str(folder / "run"), num_workers=0, **more)


def recorded(folder: Path) -> dict[str, Any]:
    """What options.json of the first run holds."""
    record: dict[str, Any] = json.loads((folder / "run/1/options.json").read_text())
    return record


def test_one_of_anything_is_told_as_one(module: Module) -> None:
    opt = replace(module("options").Options(), epochs=1, batch_size=1)
    counted = module("engine").counted

    assert module("engine.plan").length(opt, 1) == "1 epoch of 1 step of 1 item: 1 step"
    assert [counted(0, "box"), counted(1, "class"), counted(2, "class")] == ["0 boxes", "1 class", "2 classes"]


def test_steps_that_end_within_an_epoch_are_told_to_be_whole_epochs(module: Module) -> None:
    opt = replace(module("options").Options(), epochs=2, batch_size=8, steps=9)
    length = module("engine.plan").length

    assert length(opt, 6) == "2 epochs of 6 steps of 8 items: 12 steps (--steps 9 in whole epochs)"
    assert length(replace(opt, steps=12), 6) == "2 epochs of 6 steps of 8 items: 12 steps"
