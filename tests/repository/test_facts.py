"""What is known of a task, a loss or a model stands in one place: hardly a file names one but its own."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from scaffold.questions.answer_types import MODEL
from scaffold.questions.form import Form
from tests.conftest import ROOT

# Docs, tests and measurements speak of tasks, losses and models as much as they like.
FREE = re.compile(r"^(docs|tests|bench)/|\.md$|\.bundle$|\.npz|\.bz2")
# Where copier.yml is the one file that names them all, what names one beside it, and why.
EXCEPTIONS = {
    "presets/digits.yml": "a set of answers",
    "presets/image-classifier.yml": "a set of answers",
    "presets/language-model.yml": "a set of answers",
    "presets/metric.yml": "a set of answers",
    "presets/multi-label.yml": "a set of answers",
    "presets/object-detection.yml": "a set of answers",
    "presets/retrieval.yml": "a set of answers",
    "presets/segmentation.yml": "a set of answers",
    "presets/vit-ddp.yml": "a set of answers",
    "scaffold/commands/inspect.py": "an example in its help",
    "scaffold/commands/list.py": "an example in its help",
    "scaffold/commands/new.py": "an example in its help",
    "template/parts/losses/mse.yml": "the loss that is offered in its place",
    "template/tasks/detection/model/fasterrcnn.py.jinja": "a backbone of torchvision",
    "template/tasks/detection/model/fcos.py.jinja": "a backbone of torchvision",
    "template/tasks/detection/model/retinanet.py.jinja": "a backbone of torchvision",
    "tools/classical.py": "baselines in docs/accuracy.md",
    "tools/draw_session.py": "types a session that is shown in the docs",
    "tools/keep_checkpoint.py": "keeps runs of two fixed sets of answers for the tests",
    "tools/plain_loop.py": "a baseline in docs/accuracy.md",
    "tools/write_accuracy.py": "measures the rows of docs/accuracy.md",
}
# Choices of a model that are libraries, of which much speaks; their models are named by another question.
LIBRARIES = ("torchvision", "timm")


def names(form: Form) -> dict[str, list[str]]:
    """Every task, loss and model, each with the places that are its own."""
    tasks = {task: [f"template/tasks/{task}/"] for task in form.questions["task"].values}
    chosen = [model for model in form.questions["model"].values if model not in (*LIBRARIES, "own")]
    models = {model: [f"template/parts/model/{model}."] for model in chosen}
    for task, places in tasks.items():
        for model in [model for model in own_models(form, task) if model in models]:
            models[model] += places  # so does one that has models of its own
    folders = ["template/parts/losses/", *(f"template/tasks/{task}/losses/" for task in tasks)]
    losses = {loss: [f"{folder}{loss}." for folder in folders] for loss in form.facts_of("losses")}
    for loss, places in losses.items():
        places.append(f"template/parts/{loss}_loss.")  # what the tasks that have the loss share of it
    for task, places in tasks.items():
        for loss in form.fill({"task": task}, "p", until="losses")["task_facts"]["losses"]:
            losses[loss] += places  # the task that has a loss of its own says so
    return {**tasks, **models, **losses}


def own_models(form: Form, task: str) -> list[str]:
    """The models that only this task has."""
    own = form.fill({"task": task}, "p", until="data")["task_facts"].get("model", [])
    return [own] if isinstance(own, str) else list(own)


def named_in(known: dict[str, list[str]], files: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The files (path and text) that name what is not their own, each with what it names."""
    found: dict[str, set[str]] = {}
    for path, text in files:
        for name, places in known.items():
            # `F.cross_entropy` is a name of torch
            said = re.search(rf"(?<!\w)(?<!F\.){re.escape(name)}(?!\w)", f"{path}\n{text}")
            if said and not any(path.startswith(place) for place in places):
                found.setdefault(path, set()).add(name)
    return found


def tracked() -> list[tuple[str, str]]:
    """The files of the repository, but docs and tests."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    paths = [path for path in listed if path and not FREE.search(path) and (ROOT / path).is_file()]
    return [(path, (ROOT / path).read_text(encoding="utf-8")) for path in paths]


def test_one_file_names_tasks_losses_and_models(form: Form) -> None:
    found = named_in(names(form), tracked())

    assert found.keys() - EXCEPTIONS.keys() == {"copier.yml"}, found
    assert EXCEPTIONS.keys() - found.keys() == set(), "an exception that is none any more"


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("template/macros/losses.jinja", "{% if 'triplet' in loss_names %}", "triplet"),
        ("template/tasks/classification/task.yml", "needs: [cross_entropy]", "cross_entropy"),
        ("template/parts/model/vit.yml", "like: cnn", "cnn"),
        ("template/parts/losses/mse.py", "from .triplet import triplets", "triplet"),
        ("scaffold/wizard.py", 'if task == "metric_learning":', "metric_learning"),
        ("template/project/{% if model == 'resnet50' %}a.py{% endif %}", "", "resnet50"),
    ],
)
def test_a_name_in_another_file_is_found(form: Form, path: str, text: str, name: str) -> None:
    known = names(form)

    assert named_in(known, [(path, text)]) == {path: {name}}


def test_what_belongs_to_a_name_may_say_it(form: Form) -> None:
    own = [
        ("template/tasks/classification/task.yml", "classification"),
        ("template/parts/model/cnn.py.jinja", "cnn"),
        ("template/parts/losses/mse.py", "F.mse_loss, mse"),
        ("template/tasks/classification/metrics.py", "F.cross_entropy(logits, labels)"),
    ]

    assert named_in(names(form), own) == {}


def test_every_choice_has_its_facts_and_they_are_what_is_read(form: Form) -> None:
    known = {"about", "takes", "needs", "losses", "targets", "new_classes", "report", "gallery", "epochs", "traces"}
    known |= {"data", "model", "loss_of_model", "usual_losses", "batch_size", "mixes"}
    for task, facts in form.facts_of("task").items():
        assert facts.keys() <= known, task
        assert {"about", "takes", "losses", "epochs", "traces"} <= facts.keys(), task
        assert ("data" in facts) != ("targets" in facts), task
    for loss, facts in form.facts_of("losses").items():
        assert {"takes", "traces"} <= facts.keys() <= {"takes", "compares", "now", "flags", "traces"}, loss
    known = {
        "traces",
        "takes",
        "square",
        "imagenet",
        "family",
        "least_size",
        "least_size_in_bf16",
        "image_size",
        "sized",
        "step",
        "auxiliary",
        "batch_norm_momentum",
        "first",
        "convolution",
        "last",
        "embedding",
        "epochs",
        "undecayed",
        "groups",
        "stages",
        "layers",
        "blocks",
        "gives",
        "computes_losses",
        "batch_size",
        "lr",
        "clip",
        "sgd",
        "fresh",
        "coco",
    }
    of_torchvision = {name: MODEL.facts_for(form, name) for name in form.questions["torchvision_models"].default}
    for model, facts in {**form.facts_of("model"), **of_torchvision}.items():
        assert {"traces", "layers"} <= facts.keys() <= known, model
        assert ("gives" in facts) != ("takes" in facts), model  # a task's own model, or one for data of a kind


def test_each_file_of_facts_belongs_to_a_choice(form: Form) -> None:
    own = {
        f"template/tasks/{task}/model/{model}.yml"
        for task in form.questions["task"].values
        for model in own_models(form, task)
    }
    shared = {*form.questions["model"].values} - {Path(path).stem for path in own}
    expected = own | {f"template/parts/model/{model}.yml" for model in shared}
    named = form.questions["torchvision_models"].default
    expected |= {f"template/parts/model/torchvision/{name}.yml" for name in named}
    expected |= {f"template/parts/losses/{loss}.yml" for loss in form.questions["shared_losses"].default}
    expected |= {f"template/parts/data/{data}/data.yml" for data in form.questions["data"].values}
    for task, facts in form.facts_of("task").items():
        expected.add(f"template/tasks/{task}/task.yml")
        expected.add(
            f"template/{facts['data']}/data.yml" if "data" in facts else f"template/parts/data/{facts['targets']}.yml"
        )
        expected |= {f"template/tasks/{task}/losses/{loss}.yml" for loss in facts["losses"]}
    folders = ("tasks", "parts/losses", "parts/model", "parts/data")
    found = {path.relative_to(ROOT).as_posix() for one in folders for path in (ROOT / "template" / one).rglob("*.yml")}

    assert found == expected
