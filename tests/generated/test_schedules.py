"""Learning rates: at every step what a hand would write down, for every layer group in its proportion."""

import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from scaffold.render.rendering import render
from scaffold.updates.addresses import BUNDLE
from scaffold.updates.template_history import open_history
from tests.generated.rendered import importable, render_project

SCHEDULES = pytest.mark.figure(
    "C11 schedules",
    "each by hand at every step, of any length, with any warm-up",
)

# Shares of the full rate in four epochs of two steps each, without warm-up and with one epoch of it.
BY_HAND: dict[str, tuple[list[float], list[float]]] = {
    "constant": (
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1],
    ),
    "step": (  # a fall every second epoch
        [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1],
        [1 / 3, 2 / 3, 1, 1, 0.1, 0.1, 0.1, 0.1],
    ),
    "multistep": (  # falls after the first and the third epoch
        [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01],
        [1 / 3, 2 / 3, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01],
    ),
    "cosine": (  # (1 + cos(pi k / 8)) / 2, or (1 + cos(pi k / 6)) / 2 from the end of the rise on
        [1, 0.9619397663, 0.8535533906, 0.6913417162, 0.5, 0.3086582838, 0.1464466094, 0.0380602337],
        [1 / 3, 2 / 3, 1, 0.9330127019, 0.75, 0.5, 0.25, 0.0669872981],
    ),
    "one_cycle": (  # a cosine from 1/25 up, which takes the epoch of warm-up or 3/10 of the run, and one down
        [0.04, 1, 0.9330129698, 0.750001, 0.500002, 0.250003, 0.0669910302, 0.000004],
        [0.04, 1, 0.9330129698, 0.750001, 0.500002, 0.250003, 0.0669910302, 0.000004],
    ),
}
# The same for other lengths: (scheduler, settings, steps in an epoch, shares).
THIRD, LOW = 1 / 3, 0.000004
FALL = [1, 0.950484632, 0.811745653, 0.611262022, 0.388741978, 0.188258347, 0.049519368, LOW]  # (1 + cos(pi k / 7)) / 2
OTHER_LENGTHS: list[tuple[str, dict[str, Any], int, list[float]]] = [
    ("cosine", {"epochs": 5, "warmup": 2.0}, 1, [THIRD, 2 * THIRD, 1, 0.75, 0.25]),
    ("cosine", {"epochs": 3, "warmup": 0.5}, 2, [0.5, 1, 0.9045084972, 0.6545084972, 0.3454915028, 0.0954915028]),
    ("cosine", {"epochs": 2, "warmup": 0.0}, 2, [1, 0.8535533906, 0.5, 0.1464466094]),
    ("cosine", {"epochs": 2, "warmup": 0.2}, 2, [1, 0.8535533906, 0.5, 0.1464466094]),  # less than half a step
    ("cosine", {"epochs": 2, "warmup": 2.0}, 2, [0.25, 0.5, 0.75, 1]),
    ("cosine", {"epochs": 1, "warmup": 1.0}, 1, [1]),
    ("cosine", {"epochs": 2, "warmup": 1.0}, 1, [0.5, 1]),
    ("constant", {"epochs": 2, "warmup": 2.0}, 2, [0.25, 0.5, 0.75, 1]),
    ("constant", {"epochs": 1, "warmup": 1.0}, 1, [1]),
    ("constant", {"epochs": 3, "warmup": 1.5}, 2, [0.25, 0.5, 0.75, 1, 1, 1]),
    ("constant", {"epochs": 3, "warmup": 0.0}, 1, [1, 1, 1]),
    ("step", {"epochs": 4, "warmup": 1.0}, 1, [0.5, 1, 0.1, 0.1]),  # by themselves falls come after the rise
    ("step", {"epochs": 2, "warmup": 1.0}, 2, [THIRD, 2 * THIRD, 1, 1]),
    ("step", {"epochs": 5, "warmup": 0.0}, 1, [1, 0.1, 0.01, 0.001, 0.0001]),
    ("step", {"epochs": 6, "warmup": 1.0, "step_size": 3}, 1, [0.5, 1, 1, 0.1, 0.1, 0.1]),  # from the start of the run
    ("step", {"epochs": 3, "warmup": 3.0}, 1, [THIRD, 2 * THIRD, 1]),
    ("multistep", {"epochs": 4, "warmup": 2.0}, 1, [THIRD, 2 * THIRD, 1, 0.1]),
    ("multistep", {"epochs": 2, "warmup": 1.0}, 2, [THIRD, 2 * THIRD, 1, 1]),
    ("multistep", {"epochs": 8, "warmup": 1.0}, 1, [0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.001]),
    ("multistep", {"epochs": 1, "warmup": 1.0}, 1, [1]),
    ("multistep", {"epochs": 5, "warmup": 1.0, "milestones": (2, 4)}, 1, [0.5, 1, 0.1, 0.1, 0.01]),
    ("one_cycle", {"epochs": 5, "warmup": 1.0}, 1, [0.04, 1, 0.750001, 0.250003, LOW]),  # a rise of one step
    ("one_cycle", {"epochs": 5, "warmup": 3.0}, 1, [0.04, 0.52, 1, 0.500002, LOW]),  # of more than half the run
    ("one_cycle", {"epochs": 5, "warmup": 5.0}, 1, [0.04, 0.28, 0.76, 1, LOW]),
    ("one_cycle", {"epochs": 4, "warmup": 0.0}, 1, [0.04, 1, 0.500002, LOW]),
    ("one_cycle", {"epochs": 2, "warmup": 1.25}, 2, [0.04, 1, 0.500002, LOW]),
    ("one_cycle", {"epochs": 3, "warmup": 1.0}, 1, [0.04, 1, LOW]),
    ("one_cycle", {"epochs": 10, "warmup": 0.0}, 1, [0.04, 0.52, *FALL]),  # a rise of three tenths
]
SETTINGS: dict[str, dict[str, Any]] = {"step": {"step_size": 2}, "multistep": {"milestones": (1, 3)}}
GROUPS = {"slow": 0.1, "plain": 1.0, "fast": 2.0}


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("scheduler", BY_HAND)
@SCHEDULES
def test_each_group_has_its_rate_at_every_step(tmp_path: Path, scheduler: str, warmup: int) -> None:
    project = render_project(tmp_path / f"rates_{scheduler}_{warmup}", scheduler=scheduler, warmup=warmup)
    net = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in GROUPS})
    optimizer = torch.optim.SGD(
        [{"params": net[name].parameters(), "lr": 0.5 * multiplier} for name, multiplier in GROUPS.items()], lr=0.5
    )

    traces: dict[str, list[float]] = {name: [] for name in GROUPS}
    with importable(project) as module:
        opt = module("options").Options(epochs=4, **SETTINGS.get(scheduler, {}))
        assert opt.warmup == warmup
        schedule = module("optim").build_scheduler(optimizer, opt, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as "lr_scheduler.step() before optimizer.step()"
            for _ in range(8):
                for name, group in zip(GROUPS, optimizer.param_groups, strict=True):
                    traces[name].append(group["lr"])
                optimizer.step()
                schedule.step()

    for name, multiplier in GROUPS.items():
        assert traces[name] == pytest.approx([0.5 * multiplier * share for share in BY_HAND[scheduler][warmup]])


@pytest.mark.parametrize("scheduler", BY_HAND)
@SCHEDULES
def test_rises_of_any_length_reach_the_full_rate(tmp_path: Path, scheduler: str) -> None:
    project = render_project(tmp_path / f"lengths_{scheduler}", scheduler=scheduler, warmup=1)
    with importable(project) as module, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _, settings, steps_per_epoch, by_hand in [case for case in OTHER_LENGTHS if case[0] == scheduler]:
            opt = module("options").Options(**settings)
            trace = rates(module, opt, steps_per_epoch)
            assert trace == pytest.approx(by_hand), settings
            assert max(trace) == pytest.approx(1)

        for epochs, warmup, steps_per_epoch in itertools.product(
            (1, 2, 3, 7), (0.0, 0.3, 1.0, 1.5, 3.0, 7.0), (1, 2, 5)
        ):
            if warmup <= epochs and (scheduler != "one_cycle" or epochs * steps_per_epoch > 2):
                trace = rates(module, module("options").Options(epochs=epochs, warmup=warmup), steps_per_epoch)
                assert max(trace) == pytest.approx(1), (epochs, warmup, steps_per_epoch)
                assert max(trace) <= 1 + 1e-12, (epochs, warmup, steps_per_epoch)
                assert min(trace) >= 0, (epochs, warmup, steps_per_epoch)


@SCHEDULES
def test_one_cycle_has_a_step_at_the_full_rate_whatever_three_tenths_of_the_run_are(tmp_path: Path) -> None:
    project = render_project(tmp_path / "tenths", scheduler="one_cycle", warmup=0)
    with importable(project) as module:
        for steps in range(3, 40):
            assert max(rates(module, module("options").Options(epochs=steps), 1)) == pytest.approx(1)


# Momentum in one cycle of eight steps, and of ten: from 0.95 down while the rate rises, and back along (1 + cos) / 2.
MOMENTUM = {
    (4, 2): [0.95, 0.85, 0.8566987298, 0.875, 0.9, 0.925, 0.9433012702, 0.95],
    (10, 1): [
        0.95,
        0.9,
        0.85,
        0.8549515566,
        0.8688255099,
        0.8888739533,
        0.9111260467,
        0.9311744901,
        0.9450484434,
        0.95,
    ],
}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("size", MOMENTUM)
@SCHEDULES
def test_one_cycle_mirrors_the_rate_in_the_momentum(tmp_path: Path, optimizer: str, size: tuple[int, int]) -> None:
    project = render_project(tmp_path / f"momentum_{optimizer}", scheduler="one_cycle", optimizer=optimizer)
    epochs, steps_per_epoch = size
    traces: dict[bool, list[float]] = {True: [], False: []}
    with importable(project) as module:
        for cycled, trace in traces.items():
            opt = module("options").Options(epochs=epochs, cycle_momentum=cycled)
            assert opt.warmup == 0
            groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0, "weight_decay": 0.0}]
            built = module("optim").build_optimizer(groups, opt)
            schedule = module("optim").build_scheduler(built, opt, steps_per_epoch)
            for _ in range(epochs * steps_per_epoch):
                group = built.param_groups[0]
                trace.append(group["momentum"] if optimizer == "sgd" else group["betas"][0])
                built.step()
                schedule.step()

    assert traces[True] == pytest.approx(MOMENTUM[size])
    assert traces[False] == pytest.approx([0.9] * len(MOMENTUM[size]))


def test_without_momentum_one_cycle_has_none_to_mirror(tmp_path: Path) -> None:
    with importable(render_project(tmp_path / "plain", scheduler="one_cycle", optimizer="sgd")) as module:
        opt = module("options").Options(momentum=0.0, epochs=2)
        groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0, "weight_decay": 0.0}]
        optimizer = module("optim").build_optimizer(groups, opt)
        module("optim").build_scheduler(optimizer, opt, 10)
        assert optimizer.param_groups[0]["momentum"] == 0


LENGTHS = list(itertools.product((1, 2, 3, 5, 8, 20), (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 8.0), (1, 2, 7)))
FLAGS: dict[str, list[dict[str, Any]]] = {"step": [{}, {"step_size": 2}], "multistep": [{}, {"milestones": (1, 2)}]}


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("scheduler", BY_HAND)
@pytest.mark.parametrize("version", ["v0.3.5", "v0.3.6"])
def test_a_run_of_an_older_version_is_told_if_its_rates_are_others_now(
    tmp_path: Path, version: str, scheduler: str, warmup: int
) -> None:
    """A checkpoint has the number of the rules by which its run counted; another number is told (test_average)."""
    answers = {"scheduler": scheduler, "warmup": warmup}
    old = open_history(BUNDLE, version, tmp_path / "history").check_out(version, tmp_path / "template")
    render({"project_name": "older", **answers}, tmp_path / "older", old)
    newer = render_project(tmp_path / "newer", **answers)

    counted = 0
    with importable(tmp_path / "older") as before, importable(newer) as now:
        told = vars(before("run")).get("RULES", 1) != now("engine.run").RULES
        for flags in FLAGS.get(scheduler, [{}]):
            for epochs, warm, steps_per_epoch in LENGTHS:
                settings = {"epochs": epochs, **flags, **({"warmup": warm} if warmup else {})}
                try:
                    one = rates(before, before("options").Options(**settings), steps_per_epoch, "scheduler")
                    two = rates(now, now("options").Options(**settings), steps_per_epoch)
                except (ZeroDivisionError, ValueError, before("errors").RunError, now("engine.errors").RunError):
                    continue  # there is no such run, or it is told that it cannot go on
                # `--warmup 0` of one cycle is three tenths of the run now, also where a warm-up was chosen
                kept = one == two or (scheduler == "one_cycle" and warmup and not warm)
                assert told or kept, (settings, steps_per_epoch, one, two)
                counted += 1
    assert counted > 20
    assert told == (version == "v0.3.5")


def rates(module: Callable[[str], ModuleType], opt: Any, steps_per_epoch: int, name: str = "optim") -> list[float]:
    """The rate at every step of a run, as a share of the full one."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = module(name).build_scheduler(optimizer, opt, steps_per_epoch)
    trace = []
    for _ in range(opt.epochs * steps_per_epoch):
        trace.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return trace


@pytest.mark.parametrize("scheduler", BY_HAND)
def test_groups_are_in_the_same_proportion_to_the_end_of_a_long_run(tmp_path: Path, scheduler: str) -> None:
    project = render_project(tmp_path / f"ratios_{scheduler}", scheduler=scheduler)
    parameters = [nn.Parameter(torch.zeros(1)) for _ in GROUPS]
    optimizer = torch.optim.AdamW(
        [{"params": [one], "lr": 0.01 * by} for one, by in zip(parameters, GROUPS.values(), strict=True)]
    )

    with importable(project) as module:
        schedule = module("optim").build_scheduler(optimizer, module("options").Options(epochs=60), 10)
        for _ in range(600):
            slow, plain, fast = (group["lr"] for group in optimizer.param_groups)
            assert slow == pytest.approx(0.1 * plain)
            assert fast == pytest.approx(2 * plain)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize(
    ("scheduler", "settings", "sentence"),
    [
        ("step", {"step_size": 80, "epochs": 60}, "--step-size 80 is not within 60 epochs"),
        ("multistep", {"milestones": (30, 60), "epochs": 60}, "--milestones 60 is not within 60 epochs"),
        ("cosine", {"warmup": 9.0, "epochs": 4}, "--warmup 9 is longer than --epochs 4; take 0 to 4"),
        ("constant", {"warmup": 4.5, "epochs": 4}, "--warmup 4.5 is longer than --epochs 4; take 0 to 4"),
        ("one_cycle", {"warmup": 9.0, "epochs": 4}, "--warmup 9 is longer than --epochs 4; take 0 to 4"),
        ("step", {"warmup": -1.0, "epochs": 4}, "--warmup must be at least 0, and is -1"),
        ("cosine", {"warmup": float("nan"), "epochs": 4}, "--warmup must be at least 0, and is nan"),
        ("step", {"step_size": 2, "warmup": 3.0, "epochs": 9}, "--step-size 2 ends before --warmup 3 does"),
        (
            "multistep",
            {"milestones": (2, 5), "warmup": 3.0, "epochs": 9},
            "--milestones 2 comes before --warmup 3 ends",
        ),
        ("one_cycle", {"epochs": 2}, "at least 3 steps, and this run has 2; raise --epochs"),
        ("one_cycle", {"epochs": 1}, "at least 3 steps, and this run has 1; raise --epochs"),
    ],
)
@SCHEDULES
def test_what_would_never_happen_is_refused(
    tmp_path: Path, scheduler: str, settings: dict[str, Any], sentence: str
) -> None:
    project = render_project(tmp_path / f"refused_{scheduler}", scheduler=scheduler)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)

    steps_per_epoch = 1 if scheduler == "one_cycle" else 10
    with importable(project) as module, pytest.raises(module("engine.errors").RunError, match=sentence):
        checked_scheduler(module, settings, optimizer, steps_per_epoch)


def checked_scheduler(
    module: Callable[[str], ModuleType], settings: dict[str, Any], optimizer: torch.optim.Optimizer, steps: int
) -> None:
    """As a run does it: the settings are checked, and then the scheduler is built."""
    opt = module("options").Options(**settings)
    module("engine.options").check(opt)
    module("optim").build_scheduler(optimizer, opt, steps)


@SCHEDULES
def test_falls_come_by_themselves_in_a_run_of_any_length(tmp_path: Path) -> None:
    for scheduler in ("step", "multistep"):
        project = render_project(tmp_path / f"falls_{scheduler}", scheduler=scheduler, warmup=0)
        with importable(project) as module:
            for epochs in (2, 3, 5, 20):
                optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
                schedule = module("optim").build_scheduler(optimizer, module("options").Options(epochs=epochs), 1)
                for _ in range(epochs):
                    optimizer.step()
                    schedule.step()
                assert optimizer.param_groups[0]["lr"] < 0.2
