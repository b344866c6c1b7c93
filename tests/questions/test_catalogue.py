"""What the questions know of models and of names that are taken is true."""

import keyword
import subprocess
import sys
from typing import Any

import pytest

from scaffold import paths
from scaffold.questions.copier_yml import read
from scaffold.questions.form import Form
from tests.conftest import ROOT

FACTS = read(paths.template_root())[1]
RESERVED: dict[str, list[str]] = FACTS["reserved"].default
MODELS: dict[str, Any] = Form(paths.template_root()).facts_of("model")


def test_the_catalogue_is_what_torch_counts() -> None:
    command = [sys.executable, "tools/write_catalogue.py", "--check"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_layers_of_every_model_but_ones_own_are_known() -> None:
    assert {name for name, facts in MODELS.items() if facts["layers"]} == {*FACTS["model"].values} - {"own"}
    for name, facts in MODELS.items():
        assert name == "own" or {"groups", "stages", "blocks"} <= facts.keys()


def test_pythons_own_words_are_no_names_of_packages() -> None:
    assert {*keyword.kwlist, *keyword.softkwlist} - {*RESERVED["keywords"]} == set()


def test_modules_of_the_standard_library_are_no_names_of_packages() -> None:
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}

    assert public - {*RESERVED["standard_library"]} == set()


@pytest.mark.parametrize("name", ["torch", "torchvision", "numpy", "tqdm", "tyro", "matplotlib", "pytest", "tests"])
def test_what_projects_import_is_no_name_of_a_package(name: str) -> None:
    assert name in {*RESERVED["dependencies"], *RESERVED["folders"]}
