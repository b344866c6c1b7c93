"""A setting that changed since a run began is applied, told of or refused, and never passed over."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scaffold.render.rendering import render
from tests.conftest import ROOT, tree
from tests.generated.rendered import importable
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Fault, Project, checkpoints, metrics, outcome, steps, write_images
from tests.reliability.test_damage import resealed

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--keep", "9", "--log-every", "1"]
STEP = 5  # the second of three in the second epoch, after which the run was stopped
Effect = Callable[[Path, Path], bool]  # of the folder of the changed run, and of that of the unchanged one


def rows(work: Path, kind: str = "train", run: int = 1) -> dict[int, dict[str, Any]]:
    """The rows of one kind by their steps."""
    return {row["step"]: row for row in metrics(work, kind, run)}


# EFFECTS


def otherwise(here: Path, plain: Path) -> bool:
    """From the next step on it learns otherwise, and before it was the same."""
    changed, before = rows(here), rows(plain)
    return all((changed[step] == before[step]) == (step <= STEP) for step in before if step != STEP + 1)


def same_bits(here: Path, plain: Path) -> bool:
    """It comes to the same."""
    return outcome(here).differs(outcome(plain)) == []


def times(name: str, factor: float) -> Effect:
    """A number of the next row is so many times that of the unchanged run, and the rows before are as they were."""

    def effect(here: Path, plain: Path) -> bool:
        changed, before = rows(here), rows(plain)
        assert all(changed[step] == before[step] for step in range(1, STEP + 1))
        return bool(changed[STEP + 1][name] == pytest.approx(factor * before[STEP + 1][name]))

    return effect


def ends_at(step: int) -> Effect:
    """The last checkpoint is of this step."""
    return lambda here, _: steps(here)[-1] == step == max(rows(here))


def has_rows(*wanted: int) -> Effect:
    """From then on there are rows of these steps."""
    return lambda here, _: [step for step in rows(here) if step > STEP] == list(wanted)


def has_steps(*wanted: int) -> Effect:
    """There are checkpoints of these steps."""
    return lambda here, _: steps(here) == list(wanted)


def rate_of(group: str, factor: float) -> Effect:
    """One layer group has another rate at every step, and the other group has not."""

    def effect(here: Path, plain: Path) -> bool:
        changed, before = rows(here), rows(plain)
        after = [step for step in before if step > STEP]
        other = {"lr/head": "lr/backbone", "lr/backbone": "lr/head"}[group]
        assert all(changed[step][other] == before[step][other] for step in after)
        return all(changed[step][group] == pytest.approx(factor * before[step][group]) for step in after)

    return effect


def has_rates(wanted: dict[int, float]) -> Effect:
    """The rows of these steps have these shares of the rate of 0.002."""
    return lambda here, _: {step: rows(here)[step]["lr/all"] / 0.002 for step in wanted} == pytest.approx(wanted)


def rate_at(step: int) -> Effect:
    """The row of this step has a higher rate, whatever the rates were before."""
    return lambda here, plain: bool(rows(here)[step]["lr/all"] > rows(plain)[step]["lr/all"] > 0)


def only_the_average(here: Path, plain: Path) -> bool:
    """The moving average is another one, and the weights are the same."""
    differing = outcome(here).differs(outcome(plain))
    return "ema.pt" in differing and "model.pt" not in differing


def moves(layer: str, wanted: bool) -> Effect:
    """Whether the weights of a layer are others at the end than when the run was stopped."""

    def effect(here: Path, _: Path) -> bool:
        one, two = (
            torch.load(checkpoints(here) / str(step) / "model.pt", weights_only=True)
            for step in (STEP, steps(here)[-1])
        )
        moved = any(not torch.equal(one[name], two[name]) for name in one if name.startswith(f"{layer}."))
        return moved == wanted

    return effect


def takes_new_images(here: Path, _: Path) -> bool:
    """Images are seen that were not there."""
    seen = [json.loads(line) for line in (here / "samples.jsonl").read_text().splitlines()]
    return bool(max(max(line["numbers"]) for line in seen) >= 48)


# TRIALS


@dataclass(frozen=True)
class Trial:
    """A change, and what is to come of it: what is said (nothing, if it is taken as it is), and the effect."""

    flags: tuple[str, ...]
    said: str  # a sentence, or "" if it is taken as it is, or begins with "refused: "
    effect: Effect | None = None
    project: str = "single"
    before: tuple[str, ...] = ()  # what the run was begun with
    fault: Fault | None = None
    ranks: int = 0
    edit: tuple[tuple[str, Any], ...] = ()  # what the checkpoint says of where it was made

    @property
    def name(self) -> str:
        what = " ".join(self.flags) or " ".join(key for key, _ in self.edit) or self.said.split()[0]
        return f"{self.project}: {what}"


def warned(project: str, name: str, old: Any, new: Any, effect: Effect = otherwise, *before: str) -> Trial:
    """A flag that is taken, with a sentence."""
    words = {True: f"--{name}", False: f"--no-{name}"}
    flags = (words[new],) if isinstance(new, bool) else (f"--{name}", str(new))
    return Trial(flags, f"--{name} was {old} and is {new} from here on", effect, project, before)


def refused(project: str, name: str, old: Any, new: Any) -> Trial:
    """A flag that is not taken."""
    flags = (f"--no-{name}",) if new is False else (f"--{name}", str(new))
    return Trial(flags, f"refused: run 1 has --{name} {old} and cannot go on with {new}; take --new-run", None, project)


def grouped(name: str, old: dict[str, float], key: str, value: float, effect: Effect, *before: str) -> Trial:
    """A number of a layer group or of a loss."""
    project = "groups" if name == "groups" else "stepped" if len(old) > 1 else "single"
    said = f"--{name} was {old} and is {old | {key: value}} from here on"
    return Trial((f"--{name}.{key}", str(value)), said, effect, project, before)


def elsewhere(name: str, old: Any, new: Any, **more: Any) -> Trial:
    """The run goes on at another place."""
    said = f"{name} was {old} and is {new}: the result will be close, not equal"
    return Trial((), said, **more)


SINGLE = [
    warned("single", "lr", 0.002, 0.001, times("lr/all", 0.5)),
    warned("single", "epochs", 4, 5, ends_at(15)),
    warned("single", "epochs", 4, 2, ends_at(6)),
    warned("single", "weight-decay", 0.05, 5.0),
    warned("single", "beta1", 0.9, 0.5),
    warned("single", "beta2", 0.999, 0.9),
    warned("single", "label-smoothing", 0.0, 0.2),
    warned("single", "warmup", 1.0, 4.0, has_rates({6: 6 / 12, 8: 8 / 12, 10: 10 / 12, 12: 1})),  # and all of it
    warned("single", "shift", 0.08, 0.3),
    warned("single", "rotate", 10.0, 40.0),
    warned("single", "zoom", 0.1, 0.4),
    warned("single", "flip", False, True),
    warned("single", "mixup", 0.0, 0.2),
    warned("single", "cutmix", 0.0, 1.0),
    grouped("losses", {"cross_entropy": 1.0}, "cross_entropy", 0.5, times("train/loss", 0.5)),
    refused("single", "seed", 2022, 7),
    refused("single", "batch-size", 16, 8),
    Trial(
        ("--image-size", "16"),
        "refused: run 1 has --image-size 0 and cannot go on with 16; take --new-run",
    ),
    refused("single", "width", 32, 16),
    refused("single", "deterministic", True, False),
    Trial(("--log-every", "3"), "", has_rows(6, 9, 12)),
    Trial(
        ("--save-every", "2", "--eval-every", "4"), "--eval-every was 1 and is 4 from here on", has_steps(3, 5, 6, 12)
    ),
    Trial(("--keep", "2"), "", has_steps(9, 12)),  # the last is the best
    Trial(("--num-workers", "1", "--cache-mb", "0", "--loader-timeout", "60"), "", same_bits),
    elsewhere("threads", 1, 2, fault=("threads", {"number": 2})),
    elsewhere("torch", "2.6.0", torch.__version__, edit=(("torch", "2.6.0"),)),
    elsewhere("device", "cuda", "cpu", edit=(("device", "cuda"),)),
    elsewhere("gpu", "NVIDIA H100", None, edit=(("gpu", "NVIDIA H100"),)),
]
GROUPS = {"backbone": 0.1, "head": 1.0}
OTHERS = [
    grouped("groups", GROUPS, "head", 0.5, rate_of("lr/head", 0.5)),
    grouped("groups", GROUPS, "backbone", 0.0, moves("conv1", False)),
    grouped("groups", GROUPS, "head", 0.0, moves("head", False)),
    grouped("groups", {**GROUPS, "head": 0.0}, "head", 1.0, moves("head", True), "--groups.head", "0"),
    grouped("losses", {"hinge_embedding": 1.0, "mse": 0.5}, "mse", 2.0, otherwise),
    warned("stepped", "momentum", 0.9, 0.1),
    warned("stepped", "margin", 1.0, 9.0),
    warned("stepped", "step-size", 0, 3, rate_at(9)),
    warned("stepped", "gamma", 0.1, 0.5, rate_at(9)),
    Trial(
        ("--milestones", "1"),
        "--milestones was () and is (1,) from here on",
        rate_at(12),
        "milestones",
    ),
    warned("single", "crop-scale", 0.0, 0.5),
    warned("single", "color-jitter", 0.0, 0.4),
    warned("single", "auto-augment", "none", "randaugment"),
    warned("one_cycle", "epochs", 4, 5, ends_at(15)),
    warned("one_cycle", "cycle-momentum", True, False),
    warned("rich", "dropout", 0.1, 0.5),
    warned("rich", "clip", 1.0, 0.001),
    warned("rich", "accumulate", 2, 3),
    warned("rich", "ema-decay", 0.998, 0.5, only_the_average),
    warned("sampler", "t1", -1.0, -2.0),
    warned("sampler", "beta", 0.002, 0.5),
    refused("sampler", "per-class", 4, 2),
    refused("rich", "dim", 16, 32),
    refused("rich", "depth", 1, 2),
    refused("rich", "heads", 4, 2),
    refused("rich", "patch-size", 0, 4),
    Trial(("--agree-every", "1", "--timeout", "60"), "", same_bits, "ddp", ("--agree-every", "1")),
    elsewhere("world", 2, 1, project="ddp", before=("--agree-every", "1"), ranks=1),
    elsewhere("world", 2, 1, project="fsdp", before=("--agree-every", "1"), ranks=1),
]


class Stopped:
    """Runs that were stopped in the middle of an epoch, and what they come to unchanged; each is made once."""

    def __init__(self, project: Rendered, folder: Path) -> None:
        self.project, self.folder = project, folder

    def copy(self, work: Path, name: str = "single", before: tuple[str, ...] = ()) -> Project:
        """Puts a stopped run of a project into `work`."""
        trained, kept = self.project(name), self.at(name, before)
        if not kept.exists():
            where = {"where": "forward", "time_": (STEP - 1) * trained.parts + 1, "number": signal.SIGTERM}
            stop = ("signal_in", {"package": trained.package, **where})
            assert trained.run(kept, *EPOCHS, *before, faults=[stop]).code == 143
            assert steps(kept) == [3, STEP]
        shutil.copytree(kept, work)
        return trained

    def plain(self, name: str, before: tuple[str, ...]) -> Path:
        """Where that run has gone on with the settings that it had."""
        folder = self.at(name, before).with_suffix(".plain")
        if not folder.exists():
            assert self.copy(folder, name, before).run(folder, *EPOCHS, *before).code == 0
        return folder

    def at(self, name: str, before: tuple[str, ...]) -> Path:
        return self.folder / " ".join([name, *before]).replace(".", "-")


@pytest.fixture(scope="module")
def stopped(project: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    return Stopped(project, tmp_path_factory.mktemp("stopped"))


def content(work: Path) -> dict[str, bytes]:
    """All files of the runs but their locks, and the logs, which a run that is refused may tell its reasons."""
    return {name: data for name, data in tree(work / "run").items() if Path(name).name not in ("lock", "train.log")}


def attempt(stopped: Stopped, work: Path, trial: Trial) -> None:
    """Goes on with a changed setting."""
    trained = stopped.copy(work, trial.project, trial.before)
    if trial.edit:
        manifest = checkpoints(work) / str(STEP) / "MANIFEST.json"
        said = json.loads(manifest.read_text())
        said["fingerprint"].update(trial.edit)
        manifest.write_text(json.dumps(said))
        resealed(manifest.parent)
    before = content(work)

    faults = [trial.fault] if trial.fault else None
    ended = trained.run(work, *EPOCHS, *trial.before, *trial.flags, faults=faults, ranks=trial.ranks)

    assert "Traceback" not in ended.said, f"{trial.name}: {ended.said}"
    if trial.said.startswith("refused: "):
        assert ended.code == 2, f"{trial.name}: {ended.said}"
        assert trial.said.removeprefix("refused: ") in ended.said, f"{trial.name}: {ended.said}"
        assert content(work) == before, trial.name
        return
    assert ended.code == 0, f"{trial.name}: {ended.said}"
    noted = re.findall(r"^\S+ \S+ ((?:--)?\S+ was .*)$", ended.said, re.MULTILINE)
    assert noted == ([trial.said] if trial.said else []), trial.name
    if noted:
        assert trial.said in (work / "run" / "1" / "train.log").read_text(), trial.name
    assert f"going on after step {STEP}," in ended.said, trial.name
    if trial.effect:
        assert trial.effect(work, stopped.plain(trial.project, trial.before)), trial.name


@pytest.mark.parametrize("trial", SINGLE, ids=lambda trial: trial.name)
def test_a_changed_setting_is_applied_told_or_refused(stopped: Stopped, work: Path, trial: Trial) -> None:
    attempt(stopped, work, trial)


@pytest.mark.nightly
def test_every_changed_setting_is(stopped: Stopped, work: Path, figure: Callable[..., None]) -> None:
    every = [*SINGLE, *OTHERS]
    for number, trial in enumerate(every):
        attempt(stopped, work / str(number), trial)

    figure(
        "B12 changed settings",
        "in a run that goes on: taken, with a real effect and told, or refused",
        len(every),
        len(every),
    )


def test_other_images_of_the_same_classes_are_taken_and_other_classes_are_not(stopped: Stopped, work: Path) -> None:
    more, fewer = work / "more", work / "fewer"
    for folder in (more, fewer):
        write_images(folder)
    for label in range(4):
        place = more / "train" / f"class{label}"
        for number in range(4):
            shutil.copy(place / f"{number}.png", place / f"more{number}.png")
    for split in ("train", "val"):
        shutil.rmtree(fewer / split / "class3")
    single = stopped.copy(work / "more images")
    stopped.copy(work / "fewer classes")
    before = content(work / "fewer classes")

    taken = single.run(work / "more images", *EPOCHS, "--data-dir", str(more), "--data-changed")
    not_taken = single.run(work / "fewer classes", *EPOCHS, "--data-dir", str(fewer))

    assert taken.code == 0, taken.said
    assert f"--data-dir was {single.images} and is {more} from here on" in taken.said
    assert takes_new_images(work / "more images", work)
    assert not_taken.code == 4
    assert "and cannot go on with ['class0', 'class1', 'class2']. To begin anew: python -m" in not_taken.said
    assert content(work / "fewer classes") == before


@pytest.mark.parametrize("name", ["single", "one_cycle"])
def test_a_run_that_has_all_the_epochs_asked_for_is_finished(stopped: Stopped, work: Path, name: str) -> None:
    trained = stopped.copy(work, name)
    before = content(work)

    ended = trained.run(work, *EPOCHS, "--epochs", "1")

    assert ended.code == 0, ended.said
    assert "run 1 is finished; for more, raise --epochs" in ended.said
    assert "from here on" not in ended.said  # nothing is done with what changed
    assert content(work) == before


@pytest.mark.parametrize("name", ["single", "one_cycle"])
def test_with_fewer_images_the_rates_end_where_the_run_ends(stopped: Stopped, work: Path, name: str) -> None:
    fewer = work / "fewer"
    write_images(fewer)
    for label in range(4):
        for number in range(8, 12):
            (fewer / "train" / f"class{label}" / f"{number}.png").unlink()
    trained = stopped.copy(work / "runs", name)

    ended = trained.run(work / "runs", *EPOCHS, "--data-dir", str(fewer), "--data-changed")

    assert ended.code == 0, ended.said
    rates = [row["lr/all"] for step, row in rows(work / "runs").items() if step > STEP]
    assert len(rates) == 4  # two epochs of two steps; what is left of the second one has no whole batch
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 3e-4


def test_a_run_from_before_a_setting_goes_on_without_it(stopped: Stopped, work: Path) -> None:
    """Momentum was not cycled before 0.5.0."""
    flag = ("--no-cycle-momentum",)
    without, cycled = (stopped.plain("one_cycle", before) for before in (flag, ()))
    trained = stopped.copy(work, "one_cycle", flag)
    record = work / "run" / "1" / "options.json"
    saved = json.loads(record.read_text())
    del saved["options"]["cycle_momentum"]
    saved["given"].remove("cycle_momentum")
    record.write_text(json.dumps(saved))

    ended = trained.run(work, *EPOCHS)

    assert ended.code == 0, ended.said
    assert "from here on" not in ended.said
    assert same_bits(work, without)
    assert not same_bits(work, cycled)


def test_a_cycled_momentum_goes_on_where_it_was(stopped: Stopped, work: Path) -> None:
    whole = stopped.project("one_cycle").run(work, *EPOCHS)

    assert whole.code == 0, whole.said
    assert same_bits(stopped.plain("one_cycle", ()), work)


def test_a_setting_that_is_changed_back_is_told(stopped: Stopped, work: Path) -> None:
    single = stopped.copy(work)
    stop = ("signal_in", {"package": single.package, "where": "forward", "time_": 2, "number": signal.SIGTERM})
    assert single.run(work, *EPOCHS, "--lr", "0.001", faults=[stop]).code == 143

    ended = single.run(work, *EPOCHS, "--lr", "0.002")

    assert ended.code == 0, ended.said
    assert "--lr was 0.001 and is 0.002 from here on" in ended.said
    assert rows(work)[12]["lr/all"] == rows(stopped.plain("single", ()))[12]["lr/all"]


def test_a_setting_that_is_not_typed_again_stays_as_it_was(stopped: Stopped, work: Path) -> None:
    single = stopped.copy(work)
    stop = ("signal_in", {"package": single.package, "where": "forward", "time_": 2, "number": signal.SIGTERM})
    assert single.run(work, *EPOCHS, "--lr", "0.001", faults=[stop]).code == 143

    ended = single.run(work, *EPOCHS)

    assert ended.code == 0, ended.said
    assert "from here on" not in ended.said
    assert rows(work)[12]["lr/all"] == pytest.approx(0.5 * rows(stopped.plain("single", ()))[12]["lr/all"])
    assert json.loads((work / "run" / "1" / "options.json").read_text())["options"]["lr"] == 0.001


def test_a_loss_that_was_added_since_is_told_and_has_its_default(tmp_path: Path) -> None:
    render({"project_name": "added"}, tmp_path / "added")
    with importable(tmp_path / "added") as module:
        options: Any = module("options").Options
        history, engine = module("engine.history"), module("engine")
        then = options(run_dir=str(tmp_path / "run"), losses={"cross_entropy": 0.5})
        (tmp_path / "run" / "1" / "checkpoints").mkdir(parents=True)
        history.write_record(tmp_path / "run" / "1", then, {}, {})

        @dataclass(frozen=True)
        class Later(options):  # type: ignore[misc]
            losses: dict[str, float] = engine.setting({"cross_entropy": 1.0, "more": 0.3})  # noqa: RUF009

        now: Any = Later(run_dir=then.run_dir)
        both = {"cross_entropy": 0.5, "more": 0.3}
        with engine.Process.start(now) as process:
            goes_on = history.with_recorded_settings(replace(now, run=1), process)

        assert history.choose(then) == 1
        assert history.choose(now) is None  # another command: a new run
        assert goes_on.losses == history.read_options(tmp_path / "run" / "1", Later).losses == both
        assert history.compare(1, goes_on, {}, {}).notes == [f"--losses was {then.losses} and is {both} from here on"]


def test_a_run_that_has_no_checkpoint_yet_takes_all_settings_and_keeps_them(project: Rendered, work: Path) -> None:
    single = project("single")
    folder = str(work / "run")
    assert single.run(work, *EPOCHS, faults=[("die_at", {"folder": folder, "operation": 12})]).code == -signal.SIGKILL
    assert steps(work) == []
    stop = ("signal_in", {"package": single.package, "where": "forward", "time_": 4, "number": signal.SIGTERM})
    other = ["--seed", "7", "--width", "16"]

    began = single.run(work, *EPOCHS, *other, faults=[stop])
    refused = single.run(work, *EPOCHS, "--seed", "2022")
    ended = single.run(work, *EPOCHS)
    measured = single.run(work, str(work / "run" / "1"), module="evaluate")

    assert began.code == 143, began.said
    assert "--seed was 2022 and is 7 from here on" in began.said
    assert refused.code == 2, refused.said
    assert "run 1 has --seed 7 and cannot go on with 2022" in refused.said
    assert ended.code == 0, ended.said
    assert measured.code == 0, measured.said


def test_a_number_and_a_new_run_do_not_go_together(stopped: Stopped, work: Path) -> None:
    single = stopped.copy(work)
    before = content(work)

    ended = single.run(work, *EPOCHS, "--new-run")

    assert ended.code == 2, ended.said
    assert "--run is the number of one run; leave out --new-run and --seeds" in ended.said
    assert content(work) == before


def test_a_finished_run_goes_on_for_more_epochs(stopped: Stopped, work: Path) -> None:
    single = stopped.copy(work)
    assert single.run(work, *EPOCHS).code == 0

    ended = single.run(work, *EPOCHS, "--epochs", "6")

    assert ended.code == 0, ended.said
    assert "--epochs was 4 and is 6 from here on" in ended.said
    assert list(rows(work)) == list(range(1, 19))
    assert rows(work)[13]["lr/all"] > rows(work)[12]["lr/all"]  # on the curve of the longer run


@pytest.mark.parametrize(
    ("flags", "run"),
    [
        ([], 1),
        (["--log-every", "3", "--num-workers", "0"], 1),
        (["--lr", "0.001"], 2),
        (["--seed", "7"], 2),
        (["--epochs", "5"], 2),
        (["--batch-size", "8"], 2),
        (["--new-run"], 2),
    ],
    ids=str,
)
def test_without_a_number_changed_settings_begin_a_new_run(
    stopped: Stopped, work: Path, flags: list[str], run: int
) -> None:
    single = stopped.copy(work)
    before = content(work)

    ended = single.run(work, *EPOCHS, *flags, "--run", "None")

    assert ended.code == 0, ended.said
    assert sorted(path.name for path in (work / "run").iterdir()) == [str(number + 1) for number in range(run)]
    assert f"run {run}: batch size" in ended.said
    assert ("going on after step 5," in ended.said) == (run == 1)
    assert min(rows(work, run=run)) == 1 if "--log-every" not in flags else True
    if run == 2:
        assert {name: data for name, data in content(work).items() if name.startswith("1/")} == before
    again = single.run(work, *EPOCHS, *flags, "--run", "None", "--new-run")
    assert again.code == 0
    assert (work / "run" / str(run + 1)).is_dir()


def test_interrupted_seeds_go_on_where_they_were(project: Rendered, work: Path) -> None:
    single = project("single")
    seeds = [*EPOCHS, "--run", "None", "--seeds"]
    undisturbed = single.run(work.parent / "undisturbed", *seeds, "3")

    def made() -> list[str]:
        return sorted(path.name for path in (work / "run").iterdir())

    def result(folder: Path, run: int) -> Any:
        newest = checkpoints(folder, run) / str(steps(folder, run)[-1])
        return json.loads((newest / "MANIFEST.json").read_text())["files"], metrics(folder, "train", run)

    # in the fifth step of the second of three runs of twelve steps
    there = {"package": single.package, "where": "forward", "time_": 12 + STEP, "number": signal.SIGTERM}
    ended = single.run(work, *seeds, "3", faults=[("signal_in", there)])
    assert ended.code == 128 + signal.SIGTERM, ended.said
    assert made() == ["1", "2"]

    again = single.run(work, *seeds, "3")

    assert again.code == 0, again.said
    assert made() == ["1", "2", "3"]
    assert "run 1 is finished" in again.said
    assert f"going on after step {STEP}," in again.said
    assert again.said.splitlines()[-1] == undisturbed.said.splitlines()[-1]  # mean and deviation
    for run in (1, 2, 3):
        assert result(work, run) == result(work.parent / "undisturbed", run)

    more = single.run(work, *seeds, "4")  # one more than there are
    assert more.code == 0, more.said
    assert made() == ["1", "2", "3", "4"]
    assert single.run(work, *seeds, "2", "--seed", "2024").code == 0  # the last two, which are done
    assert made() == ["1", "2", "3", "4", "5", "6"]
    for run, seed in enumerate([2022, 2023, 2024, 2025, 2024, 2025], start=1):
        assert json.loads((work / "run" / str(run) / "options.json").read_text())["options"]["seed"] == seed


@pytest.mark.parametrize(("parts", "code"), [(2, 0), (3, 2), (4, 2)])
def test_parts_that_have_nothing_to_compare_are_refused(project: Rendered, work: Path, parts: int, code: int) -> None:
    ended = project("sampler").run(work, "--epochs", "1", "--accumulate", str(parts))  # 16 images, four of a class

    assert ended.code == code, ended.said
    assert (
        "has parts that do not hold two classes or more with 4 images of each; take --batch-size" in ended.said
    ) == (code > 0)
    assert bool(list((work / "run").glob("*/options.json"))) == (code == 0)


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [
        ("heads", "3", "divisible by --heads 3"),
        ("heads", "0", "--heads must be above 0, and is 0"),
        ("patch-size", "99", "must be at most the image size"),
        ("dropout", "2", "--dropout must be at least 0 and below 1, and is 2.0"),
        ("ema-decay", "1", "--ema-decay must be at least 0 and below 1, and is 1.0"),
        ("agree-every", "0", "--agree-every must be above 0, and is 0"),
    ],
)
def test_a_setting_that_cannot_train_is_refused_before_anything_is_made(
    project: Rendered, work: Path, flag: str, value: str, wanted: str
) -> None:
    ended = project("ddp").run(work, f"--{flag}", value, "--plan", ranks=1)

    assert ended.code == 2, ended.said
    assert wanted in ended.said
    assert "Traceback" not in ended.said
    assert not (work / "run").exists()


# EVERY SETTING HAS ITS PLACE


def weighted(*losses: str) -> list[dict[str, Any]]:
    return [{"name": name, "weight": 1.0} for name in losses]


# The projects that have, together, all settings there are.
VARIANTS: list[dict[str, Any]] = [
    {"ema": True, "clip": 1.0, "accumulate": 2, "distributed": "ddp", "precision": "bf16"},
    {"model": "vit", "optimizer": "sgd", "scheduler": "step", "losses": weighted("hinge_embedding", "cross_entropy")},
    {"task": "metric_learning", "losses": weighted("triplet"), "scheduler": "multistep", "distributed": "fsdp"},
    {"model": "resnet18", "weights": "file", "weights_file": "weights.pt", "scheduler": "constant"},
    {"scheduler": "one_cycle"},
    {"task": "regression", "losses": weighted("smooth_l1", "huber")},
    {"data": "arrays", "model": "mlp"},
    {"task": "multi_label"},
    {"task": "triplet_learning", "losses": weighted("triplet_margin", "triplet")},
    {"task": "language_model"},
    {"task": "segmentation", "model": "deeplabv3_mobilenet_v3_large"},
    *({"task": "detection", "model": model} for model in ("yolo_small", "yolo_v1", "fasterrcnn")),
]
# What happens to a setting that changed, as the README of a project has it in its table.
TAKEN = {"num_workers", "log_every", "save_every", "save_minutes", "max_minutes", "keep"}
TAKEN |= {"loader_timeout", "timeout", "agree_every"}
TAKEN |= {
    "cache_mb",
    "run",
    "new_run",
    "data_changed",
    "run_dir",
    "seeds",
    "plan",
    "given",
    "token_cache",
    "sample",
}  # not of the run, or without effect on it
TOLD = {"lr", "groups", "losses", "epochs", "patience", "eval_every", "eval_steps", "data_dir", "compile", "precision"}
TOLD |= {"balance"}  # in which order
TOLD |= {"steps", "least_epochs", "least_steps"}  # how long it takes
TOLD |= {"warmup", "milestones", "gamma", "step_size", "cycle_momentum"}  # the schedule
TOLD |= {"shift", "rotate", "zoom", "flip", "brightness"}  # augmentation
TOLD |= {"crop_scale", "color_jitter", "auto_augment", "mixup", "cutmix"}
TOLD |= {"weight_decay", "beta1", "beta2", "momentum", "clip", "accumulate", "ema_decay"}  # how a step is made
TOLD |= {"label_smoothing", "margin", "p", "swap", "t1", "t2", "beta", "delta"}  # how a loss is counted
TOLD |= {"pos_weight", "class_weights"}
TOLD |= {"lambda_coord", "lambda_noobj", "auxiliary"}
TOLD |= {"dropout", "drop_path", "decay_position"}
REFUSED = {"seed", "batch_size", "image_size", "per_class", "deterministic"}
REFUSED |= {"channels", "scale", "nested", "held_out", "image_column", "inputs"}  # what the data are
REFUSED |= {"targets", "separator", "columns"}  # and what is learned
REFUSED |= {"block", "tokenizer", "text_key", "first_pixel", "ignore"}
REFUSED |= {"width", "stages", "patch_size", "dim", "depth", "heads", "boxes_per_cell"}  # the size of the model
REFUSED |= {"weights_file"}  # where it began


def every_setting() -> set[str]:
    """The names of all settings that some project has, as the template has them."""
    template = ROOT / "template"
    texts = [path.read_text(encoding="utf-8") for path in template.rglob("*.options")]
    package = template / "project" / "{{ package_name }}"
    texts.append((package / "options.py.jinja").read_text(encoding="utf-8"))
    engine = (package / "engine" / "options.py").read_text(encoding="utf-8")
    texts.append(engine.partition("class RunOptions")[2].partition("\n\n\n")[0])
    return set(re.findall(r"^    (\w+): ", "\n".join(texts), re.MULTILINE))


def test_every_setting_of_every_project_has_its_place(tmp_path: Path) -> None:
    places: dict[str, set[str]] = {}
    for number, answers in enumerate(VARIANTS):
        folder = tmp_path / f"settings_{number}"
        render({"project_name": folder.name, **answers}, folder)
        with importable(folder) as module:
            options, change = module("options").Options, module("engine.options").change
            for each in fields(options):
                places.setdefault(each.name, set()).add(change(options, each.name))

    assert set(places) == every_setting() == TAKEN | TOLD | REFUSED
    for names, place in ((TAKEN, "free"), (TOLD, "told"), (REFUSED, "refused")):
        assert {name for name in places if places[name] == {place}} == names


def test_the_readme_of_a_project_says_what_happens_to_each_setting(tmp_path: Path) -> None:
    render({"project_name": "readme"}, tmp_path / "readme")
    readme = (tmp_path / "readme" / "README.md").read_text()

    table = readme.partition("| a setting that differs |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == 4
    for line, names in zip(table, (TAKEN, TOLD, REFUSED, set()), strict=True):
        flags = {flag.replace("-", "_") for flag in re.findall(r"`--([\w-]+)`", line)}
        assert flags <= names, line
    assert "threads, processes, device, version of torch" in table[3]
