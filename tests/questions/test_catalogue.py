"""What the questions know of models and of names that are taken is true."""

import importlib
import keyword
import subprocess
import sys
from typing import Any

import pytest

from scaffold import paths
from scaffold.questions.answer_types import MODEL
from scaffold.questions.copier_yml import read
from scaffold.questions.form import Form
from tests.conftest import ROOT

FACTS = read(paths.template_root())[1]
RESERVED: dict[str, list[str]] = FACTS["reserved"].default
MODELS: dict[str, Any] = Form(paths.template_root()).facts_of("model")


@pytest.mark.parametrize(
    "names",
    [
        ["mobilenet_v3_small", "vit_b_32", "regnet_y_400mf", "googlenet"],
        pytest.param([], id="all", marks=pytest.mark.nightly),
    ],
)
def test_the_catalogue_is_what_torch_counts(names: list[str]) -> None:
    command = [sys.executable, "tools/write_catalogue.py", "--check", *names]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_every_classification_model_of_torchvision_can_be_named() -> None:
    list_models = importlib.import_module("torchvision.models").list_models
    all_of_them = {*list_models(module=importlib.import_module("torchvision.models"))}

    assert {*FACTS["torchvision_models"].default} == all_of_them - {*FACTS["model"].values}


def test_the_layers_of_every_model_are_known_but_those_of_ones_own_and_of_timm() -> None:
    assert {name for name, facts in MODELS.items() if facts["layers"]} == {*FACTS["model"].values} - {"own", "timm"}
    for name, facts in MODELS.items():
        assert name in ("own", "timm") or {"groups", "stages", "blocks"} <= facts.keys()


@pytest.mark.parametrize("name", FACTS["torchvision_models"].default)
def test_the_stages_of_a_model_of_torchvision_are_all_its_layers(name: str) -> None:
    facts = MODEL.facts_for(Form(paths.template_root()), name)

    held = [path for stage in facts["stages"] for path in facts["groups"][stage]]
    assert held == [*facts["blocks"], "head"]
    assert sum(facts["blocks"].values()) == facts["layers"]["backbone"]
    assert FACTS["torchvision_models"].default[name] == sum(facts["layers"].values())


def test_pythons_own_words_are_no_names_of_packages() -> None:
    assert {*keyword.kwlist, *keyword.softkwlist} - {*RESERVED["keywords"]} == set()


def test_modules_of_the_standard_library_are_no_names_of_packages() -> None:
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}

    assert public - {*RESERVED["standard_library"]} == set()


@pytest.mark.parametrize("name", ["torch", "torchvision", "numpy", "tqdm", "tyro", "matplotlib", "pytest", "tests"])
def test_what_projects_import_is_no_name_of_a_package(name: str) -> None:
    assert name in {*RESERVED["dependencies"], *RESERVED["folders"]}
