"""Metrics of regression are those of scikit-learn, in whatever unit and however far from zero the targets are."""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from sklearn import metrics as sklearn

from tests.generated.alone import Alone
from tests.generated.rendered import importable, render_project

Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    with importable(
        render_project(tmp_path_factory.mktemp("of") / "told", task="regression", logger="none")
    ) as modules:
        yield modules


@pytest.mark.parametrize(
    ("offset", "unit"),
    [(0.0, 1.0), (0.0, 1e-9), (1.764e9, 1e-3), (4.5e6, 1e4)],
    ids=["standard", "nanometres", "seconds since 1970", "metres of a map"],
)
def test_the_numbers_are_those_of_scikit_learn(module: Module, offset: float, unit: float) -> None:
    noise = torch.Generator().manual_seed(2022)
    standard = torch.randn(300, 2, generator=noise, dtype=torch.float64)
    true = offset + unit * standard
    told = standard + 0.1 * torch.randn(300, 2, generator=noise, dtype=torch.float64)
    data = module("data")
    facts = data.target_facts(["one", "other"], true)
    metrics = module("metrics").Metrics(Alone(), facts)
    standardised = data.standardise(offset + unit * told, facts)
    for part in torch.arange(300).split(7):
        metrics.update((standardised[part], None), data.standardise(true, facts)[part], part)

    found = metrics.compute()

    expected = {
        "r2": sklearn.r2_score(standard, told),
        "mae": unit * sklearn.mean_absolute_error(standard, told),
        "rmse": unit * sklearn.root_mean_squared_error(standard, told),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    error = data.in_units(standardised, facts) - (offset + unit * told)
    assert error.abs().max() < 1e-5 * unit


def test_a_small_number_is_shown(module: Module) -> None:
    shown = module("engine").shown

    assert [shown(value) for value in (0.95, 0.0, 1e-3, 2.5e-9, -3e-4, float("nan"))] == [
        "0.9500",
        "0.0000",
        "0.0010",
        "2.500e-09",
        "-3.000e-04",
        "nan",
    ]
