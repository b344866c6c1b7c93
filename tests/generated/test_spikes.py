"""Two tasks that are unlike all that are offered, each a folder dropped into a copy of the template with one line more.

They prove the contracts: `boxes` has targets of unequal number and a model that computes its losses itself, `tokens` has no
targets, a loss that is a mean over tokens, and one long file that stays on the disk.
"""

import shutil
from pathlib import Path

import pytest

from scaffold import paths
from scaffold.questions.answers import complete, gather
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy, render
from scaffold.trials import lint
from tests.generated.rendered import own_tests

pytestmark = pytest.mark.nightly  # detection and the language model, which every commit tries, are such tasks as well
SPIKES = Path(__file__).with_name("spikes")
LINE = "    regression - a number, or several, for each image: regression\n"


@pytest.fixture(scope="module", params=["boxes", "tokens"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of such a task, for several processes and with gradient accumulation."""
    task: str = request.param
    folder = tmp_path_factory.mktemp(task)
    template = folder / "template"
    plain_copy(paths.template_root(), template)
    shutil.copytree(SPIKES / task, template / "template" / "tasks" / task)
    questions = template / "copier.yml"
    text = questions.read_text()
    assert text.count(LINE) == 1
    questions.write_text(text.replace(LINE, LINE + f"    {task} - a spike: {task}\n"))
    form = Form(template)
    flags = {"task": task, "distributed": "ddp", "accumulate": 2}
    answers = complete(form, gather(form, flags, preset=None, answers_file=None), task)
    render(answers, folder / "projects" / task, template)
    return folder / "projects" / task


def test_it_renders_and_types(project: Path) -> None:
    folder = project.parent

    assert lint.ruff(folder, "check") == {}
    assert lint.ruff(folder, "format", "--check") == {}
    assert lint.parse(project) == []
    assert lint.dead(project, project.name) == []
    assert {name: found for name, found in lint.types({project: project.name}, folder.parent).items() if found} == {}


def test_it_trains_and_is_killed_and_resumed_with_equal_bits(project: Path) -> None:
    own_tests(project, "tests/test_resume.py", "tests/test_train.py", "tests/test_data.py")


def test_its_own_tests_pass_on_two_processes_too(project: Path) -> None:
    own_tests(project)
