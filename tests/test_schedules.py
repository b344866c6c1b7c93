"""Learning rates: at every step what a hand would write down, for every layer group in its proportion."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.rendered import importable, render_project

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
    "cosine": (  # (1 + cos(pi k / 8)) / 2
        [1, 0.9619397663, 0.8535533906, 0.6913417162, 0.5, 0.3086582838, 0.1464466094, 0.0380602337],
        [0.3333333333, 0.6412931775, 0.8535533906, 0.6913417162, 0.5, 0.3086582838, 0.1464466094, 0.0380602337],
    ),
    "one_cycle": (  # a cosine from 1/25 up, which takes the epoch of warm-up or 3/10 of the run, and one down
        [0.04, 0.8192751049, 0.9719417774, 0.8117456539, 0.5559840141, 0.2830609982, 0.0766415938, 0.000004],
        [0.04, 1, 0.9330129698, 0.750001, 0.500002, 0.250003, 0.0669910302, 0.000004],
    ),
}
SETTINGS: dict[str, dict[str, Any]] = {"step": {"step_size": 2}, "multistep": {"milestones": (1, 3)}}
GROUPS = {"slow": 0.1, "plain": 1.0, "fast": 2.0}


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.parametrize("scheduler", BY_HAND)
def test_each_group_has_its_rate_at_every_step(tmp_path: Path, scheduler: str, warmup: int) -> None:
    project = render_project(tmp_path / f"rates_{scheduler}_{warmup}", scheduler=scheduler, warmup=warmup)
    net = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in GROUPS})
    optimizer = torch.optim.SGD(
        [{"params": net[name].parameters(), "lr": 0.5 * multiplier} for name, multiplier in GROUPS.items()], lr=0.5
    )

    traces: dict[str, list[float]] = {name: [] for name in GROUPS}
    with importable(project) as module:
        warm = {"warmup": float(warmup)} if warmup else {}
        opt = module("options").Options(epochs=4, **warm, **SETTINGS.get(scheduler, {}))
        schedule = module("scheduler").build_scheduler(optimizer, opt, 2)
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
def test_groups_are_in_the_same_proportion_to_the_end_of_a_long_run(tmp_path: Path, scheduler: str) -> None:
    project = render_project(tmp_path / f"ratios_{scheduler}", scheduler=scheduler)
    parameters = [nn.Parameter(torch.zeros(1)) for _ in GROUPS]
    optimizer = torch.optim.AdamW(
        [{"params": [one], "lr": 0.01 * by} for one, by in zip(parameters, GROUPS.values(), strict=True)]
    )

    with importable(project) as module:
        schedule = module("scheduler").build_scheduler(optimizer, module("options").Options(epochs=60), 10)
        for _ in range(600):
            slow, plain, fast = (group["lr"] for group in optimizer.param_groups)
            assert slow == pytest.approx(0.1 * plain)
            assert fast == pytest.approx(2 * plain)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize(
    ("scheduler", "settings", "sentence"),
    [
        ("step", {"step_size": 80, "epochs": 60}, "--step-size 80 never comes in 60 epochs"),
        ("multistep", {"milestones": (30, 60), "epochs": 60}, "the milestone 60 never comes in 60 epochs"),
        ("cosine", {"warmup": 9.0, "epochs": 4}, "--warmup 9 is longer than --epochs 4"),
    ],
)
def test_what_would_never_happen_is_refused(
    tmp_path: Path, scheduler: str, settings: dict[str, Any], sentence: str
) -> None:
    project = render_project(tmp_path / f"refused_{scheduler}", scheduler=scheduler)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)

    with importable(project) as module, pytest.raises(module("errors").RunError, match=sentence):
        module("scheduler").build_scheduler(optimizer, module("options").Options(**settings), 10)


def test_falls_come_by_themselves_in_a_run_of_any_length(tmp_path: Path) -> None:
    for scheduler in ("step", "multistep"):
        project = render_project(tmp_path / f"falls_{scheduler}", scheduler=scheduler, warmup=0)
        with importable(project) as module:
            for epochs in (2, 3, 5, 20):
                optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
                schedule = module("scheduler").build_scheduler(optimizer, module("options").Options(epochs=epochs), 1)
                for _ in range(epochs):
                    optimizer.step()
                    schedule.step()
                assert optimizer.param_groups[0]["lr"] < 0.2
