"""How often a run is evaluated, when it ends early, and that it then stays ended: `--eval-every`, `--patience`, `break`."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import tree
from tests.generated.rendered import importable, render_project, write_images
from tests.reliability.test_damage import resealed

# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")

# The accuracy after each evaluation: the second is the best of the first six, and the seventh is better.
ACCURACIES = [0.5, 0.6, 0.55, 0.6, 0.4, 0.3, 0.7, *[0.1] * 9]
STEPS = 3  # of an epoch
Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    project = render_project(tmp_path_factory.mktemp("patience") / "patient", ema=True, logger="none")
    with importable(project) as modules:
        yield modules


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images")


class Training:
    """Runs of a project in one folder, whose evaluations find the accuracies above."""

    def __init__(self, module: Module, images: Path, folder: Path) -> None:
        self.module, self.folder = module, folder
        self.opt = module("options").Options(
            data_dir=str(images), run_dir=str(folder), run=1, batch_size=16, epochs=12, log_every=1, num_workers=0,
            keep=9,
        )  # fmt: skip
        self.before_evaluation: Callable[[int], None] = lambda number: None
        self.losses: dict[int, float] = {}  # of these evaluations; of others it rises

    def __call__(self, **settings: Any) -> float:
        """Trains as the command with these settings does, and returns the newest accuracy."""
        train = self.module("train")
        original = train.evaluate

        def scripted(net: Any, *arguments: Any) -> Any:
            number = len(self.rows("val")) + 1
            self.before_evaluation(number)
            metrics = original(net, *arguments)  # a stop may come in it
            values = {"accuracy": ACCURACIES[number - 1], "loss": self.losses.get(number, float(number))}
            metrics.compute = lambda: values
            return metrics

        opt = replace(self.opt, **settings)
        vars(train)["evaluate"] = scripted
        try:
            with self.module("engine").Process.start(opt) as process:
                value: float = train.train(opt, process)
                return value
        finally:
            vars(train)["evaluate"] = original

    def rows(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "1" / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [row for row in rows if row["kind"] == kind]

    def evaluated(self) -> list[int]:
        """The epochs that ended with an evaluation."""
        return [row["step"] // STEPS for row in self.rows("val")]

    def log(self) -> str:
        return (self.folder / "1" / "train.log").read_text()

    def files(self) -> dict[str, bytes]:
        """All that a run consists of, but for its log and its lock."""
        return {name: data for name, data in tree(self.folder).items() if Path(name).name not in ("lock", "train.log")}

    def result(self) -> dict[str, str]:
        """Hashes of the newest checkpoint's files and of the metrics."""
        checkpoints = self.folder / "1" / "checkpoints"
        newest = max(checkpoints.iterdir(), key=lambda path: int(path.name))
        paths = [path for path in newest.iterdir() if path.name != "MANIFEST.json"]
        paths.append(self.folder / "1" / "metrics.jsonl")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def state(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
        """What the launcher of a cluster is told of the run."""
        monkeypatch.setattr("sys.argv", ["history", str(self.folder / "1")])
        capsys.readouterr()
        assert self.module("engine.__main__").main() == 0
        return capsys.readouterr().out.splitlines()[0]


@pytest.fixture
def training(module: Module, images: Path, tmp_path: Path) -> Training:
    return Training(module, images, tmp_path / "run")


def test_only_each_nth_epoch_and_the_last_are_evaluated(training: Training) -> None:
    training(eval_every=3, epochs=7)

    assert training.evaluated() == [3, 6, 7]
    checkpoints = sorted(int(path.name) for path in (training.folder / "1" / "checkpoints").iterdir())
    assert checkpoints == [STEPS * epoch for epoch in range(1, 8)]


def test_evaluations_change_nothing_in_the_training(module: Module, images: Path, tmp_path: Path) -> None:
    often, seldom = Training(module, images, tmp_path / "often"), Training(module, images, tmp_path / "seldom")

    often(epochs=4)
    seldom(epochs=4, eval_every=4)

    assert often.rows("train") == seldom.rows("train")
    assert often.result()["model.pt"] == seldom.result()["model.pt"]
    assert often.result()["ema.pt"] == seldom.result()["ema.pt"]


def test_a_run_ends_when_nothing_has_got_better(
    training: Training, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training(patience=3) == ACCURACIES[4]

    assert training.evaluated() == [1, 2, 3, 4, 5]  # as good as the best one is not better
    assert "finished before 12 epochs: no better accuracy in 3 evaluations" in training.log()
    assert (training.folder / "1" / "curves.png").exists()
    assert training.state(capsys, monkeypatch) == "finished"


@pytest.mark.parametrize(("loss", "best"), [(3.0, 2), (2.0, 2), (1.9, 4)])
def test_of_equally_good_checkpoints_the_lower_loss_is_the_best(training: Training, loss: float, best: int) -> None:
    """The second and the fourth evaluation find the same accuracy; the second has a loss of 2."""
    training.losses = {4: loss}

    training(patience=3, keep=2)

    assert training.evaluated() == [1, 2, 3, 4, 5]  # for patience it is no better
    assert (
        f"best 0.6000 (step {STEPS * best}, the highest accuracy, and of equal ones the lowest loss)" in training.log()
    )
    checkpoints = {int(path.name) for path in (training.folder / "1" / "checkpoints").iterdir()}
    assert checkpoints == {STEPS * number for number in (best, 4, 5)}
    state = json.loads((training.folder / "1" / "checkpoints" / f"{STEPS * 5}" / "state.json").read_text())
    assert (state["best_step"], state["best_loss"]) == (STEPS * best, min(loss, 2.0))


def test_a_run_of_an_older_version_knows_no_loss_of_its_best_checkpoint(training: Training) -> None:
    training(epochs=3)
    newest = training.folder / "1" / "checkpoints" / f"{3 * STEPS}"
    state = json.loads((newest / "state.json").read_text())
    del state["best_loss"]
    (newest / "state.json").write_text(json.dumps(state))
    resealed(newest)

    training(epochs=4)

    assert f"best 0.6000 (step {STEPS * 4}, " in training.log()


def test_patience_counts_evaluations_and_not_epochs(training: Training) -> None:
    training(patience=1, eval_every=2)

    assert training.evaluated() == [2, 4, 6]


def test_patience_that_is_never_used_up_changes_nothing(module: Module, images: Path, tmp_path: Path) -> None:
    patient, plain = Training(module, images, tmp_path / "patient"), Training(module, images, tmp_path / "plain")

    patient(patience=9, epochs=3)
    plain(epochs=3)

    assert patient.result() == plain.result()


@pytest.mark.parametrize("again", [{"patience": 3}, {"patience": 2}, {"patience": 3, "epochs": 9}])
def test_the_same_command_or_less_leaves_an_ended_run_as_it_is(training: Training, again: dict[str, int]) -> None:
    ended = training(patience=3)
    before = training.files()

    assert training(**again) == ended

    assert training.files() == before
    assert "run 1 is finished" in training.log()


def test_without_a_number_another_run_begins(training: Training) -> None:
    training(patience=3)
    training.opt = replace(training.opt, run=None)

    training(patience=3)

    assert (training.folder / "2").is_dir()


@pytest.mark.parametrize(
    ("more", "evaluated"),
    [
        ({"patience": 5}, 12),  # the seventh is better
        ({"patience": 4}, 6),
        ({"patience": 0}, 12),
        ({"patience": 3, "epochs": 13}, 6),  # still not better
    ],
)
def test_more_patience_or_more_epochs_go_on(training: Training, more: dict[str, int], evaluated: int) -> None:
    training(patience=3)

    training(**more)

    assert training.evaluated() == [*range(1, evaluated + 1)]


def test_gone_on_with_it_ends_as_if_it_had_been_as_patient_from_the_start(
    module: Module, images: Path, tmp_path: Path
) -> None:
    twice, once = Training(module, images, tmp_path / "twice"), Training(module, images, tmp_path / "once")

    twice(patience=3)
    twice(patience=4)
    once(patience=4)

    assert twice.result() == once.result()


class Killed(BaseException):
    """Ends a run with nothing saved, as SIGKILL does."""


@pytest.mark.parametrize("evaluation", [1, 4, 5])
@pytest.mark.parametrize("how", ["killed", "SIGTERM"])
def test_interrupted_it_ends_at_the_same_place_with_the_same_bits(
    module: Module, images: Path, tmp_path: Path, how: str, evaluation: int
) -> None:
    undisturbed, training = Training(module, images, tmp_path / "whole"), Training(module, images, tmp_path / "run")
    undisturbed(patience=3)

    def interrupt(number: int) -> None:
        if number == evaluation:
            training.before_evaluation = lambda number: None
            if how == "killed":
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)

    training.before_evaluation = interrupt
    with pytest.raises((Killed, module("engine").RunError)):
        training(patience=3)
    ended = training(patience=3)

    assert ended == ACCURACIES[4]
    assert training.evaluated() == [1, 2, 3, 4, 5]
    assert training.result() == undisturbed.result()
    assert training.files().keys() == undisturbed.files().keys()


BREAK = "                run.measured(metrics.compute(), BEST, MORE_IS_BETTER)"


def test_a_break_in_the_loop_ends_the_run_for_good(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = render_project(tmp_path / "breaks", logger="none")
    path = project / "breaks" / "train.py"
    text = path.read_text()
    assert text.count(BREAK) == 1
    line = text[text.index(BREAK) :].partition("\n")[0]
    path.write_text(text.replace(line, f"{line}\n                if epoch == 1:\n                    break"))
    with importable(project) as module:
        training = Training(module, images, tmp_path / "run")

        assert training() == ACCURACIES[1]
        before = training.files()
        assert training() == ACCURACIES[1]

        assert training.evaluated() == [1, 2]
        assert training.files() == before
        assert "finished before 12 epochs" in training.log()
        assert training.state(capsys, monkeypatch) == "finished"

        training(epochs=13)

        assert training.evaluated() == [*range(1, 14)]
