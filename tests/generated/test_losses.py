"""Which losses take scores is one fact for each: a model has a head exactly where a loss needs one."""

from pathlib import Path
from typing import Any

import copier
import pytest
import torch

from scaffold.errors import BadAnswer
from scaffold.paths import template_root
from scaffold.questions.answers import complete, gather
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy, render
from tests.conftest import Run
from tests.generated.rendered import importable, render_project
from tests.updates.updating import History, own_answers, releases

__all__ = ["releases"]  # a fixture

FOCAL = '''"""The focal loss of Lin et al., ICCV 2017."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..options import Options


def focal(logits: Tensor, labels: Tensor, opt: Options) -> Tensor:
    """Mean over the batch of -(1 - p)^2 log p, where p is the probability of the label."""
    logged = -F.cross_entropy(logits.float(), labels, reduction="none")
    return -((1 - logged.exp()).square() * logged).mean()
'''


def with_focal(folder: Path, fact: str) -> Path:
    """A copy of the template with one more loss, and what its facts say of it."""
    template = plain_copy(template_root(), folder)
    losses = template / "template" / "parts" / "losses"
    (losses / "focal.py").write_text(FOCAL)
    if fact:
        (losses / "focal.yml").write_text(f"{fact}\n")
    questions = template / "copier.yml"
    text = questions.read_text()
    added = text.replace(", mse]", ", mse, focal]", 1)
    assert added != text
    questions.write_text(added)
    return template


def by_copier(template: Path, folder: Path, answers: dict[str, Any]) -> None:
    """As somebody does who has Copier only."""
    copier.run_copy(str(template), folder, data=answers, defaults=True, quiet=True, settings=copier.Settings())


@pytest.mark.parametrize("task", ["classification", "metric_learning"])
def test_a_new_loss_on_scores_has_a_head_in_both_tasks(tmp_path: Path, task: str) -> None:
    template = with_focal(tmp_path / "template", "takes: scores")
    form = Form(template)

    flags = {"task": task, "losses": ["focal=1"]}
    answers = complete(form, gather(form, flags, preset=None, answers_file=None), "headed")
    render(answers, tmp_path / "headed", template)

    assert [layer for group in answers["layer_groups"] for layer in group["layers"]][-1] == "head"
    with importable(tmp_path / "headed") as module:
        opt = module("options").Options()
        net = module("model").build_model(opt, {"classes": ["a", "b", "c"], "image_size": 8})
        assert net.head.out_features == 3
        terms = module("losses").criterion(net(torch.rand(2, 3, 8, 8)), torch.tensor([0, 2]), opt)
        assert terms["loss"] == terms["focal"] > 0


def test_a_new_loss_on_embeddings_has_no_head_in_metric_learning_and_is_not_enough_elsewhere(tmp_path: Path) -> None:
    form = Form(with_focal(tmp_path / "template", "takes: embeddings"))
    flags = {"losses": ["focal=1"]}

    answers = complete(form, gather(form, {"task": "metric_learning", **flags}, preset=None, answers_file=None), "p")

    assert "head" not in [layer for group in answers["layer_groups"] for layer in group["layers"]]
    render(answers, tmp_path / "p", tmp_path / "template")
    assert "focal(embedding, labels, opt)" in (tmp_path / "p" / "p" / "losses" / "__init__.py").read_text()
    with pytest.raises(BadAnswer, match="classification needs a loss on the scores: cross_entropy or brier"):
        complete(form, gather(form, flags, preset=None, answers_file=None), "p")


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ("", "the template does not say what 'focal' takes"),
        ("traces: [focal]", "the template does not say what 'focal' takes"),
        ("takes: logits", "'focal' takes logits, which {task} has not"),
    ],
)
@pytest.mark.parametrize("task", ["classification", "metric_learning"])
def test_a_new_loss_of_which_no_fact_says_what_it_takes_is_refused_in_a_sentence(
    tmp_path: Path, task: str, fact: str, sentence: str
) -> None:
    template = with_focal(tmp_path / "template", fact)
    form = Form(template)
    sentence = sentence.format(task=task)

    with pytest.raises(BadAnswer, match=sentence):
        complete(form, gather(form, {"task": task, "losses": ["focal=1"]}, preset=None, answers_file=None), "p")
    with pytest.raises(Exception, match=sentence):
        by_copier(template, tmp_path / "p", {"task": task, "losses": [{"name": "focal", "weight": 1.0}]})
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("task", "loss", "sentence"),
    [
        (
            "regression",
            "triplet",
            "'triplet' takes embeddings, which regression has not; its losses are mse, l1, smooth_l1",
        ),
        ("classification", "huber", "there is no loss 'huber'"),
    ],
)
def test_a_loss_goes_with_its_tasks_only(tmp_path: Path, task: str, loss: str, sentence: str) -> None:
    form = Form(template_root())

    with pytest.raises(BadAnswer, match=sentence):
        complete(form, gather(form, {"task": task, "losses": [f"{loss}=1"]}, preset=None, answers_file=None), "p")
    template = plain_copy(template_root(), tmp_path / "template")
    with pytest.raises(Exception, match=sentence):
        by_copier(template, tmp_path / "p", {"task": task, "losses": [{"name": loss, "weight": 1.0}]})


def test_a_task_may_have_a_loss_of_its_own_by_the_name_of_another(tmp_path: Path) -> None:
    form = Form(template_root())
    for task, word in (("classification", "softmax"), ("regression", "values")):
        flags = {"task": task, "losses": ["mse=1"]}
        render(complete(form, gather(form, flags, preset=None, answers_file=None), task), tmp_path / task)
        assert word in (tmp_path / task / task / "losses" / "mse.py").read_text()


def test_brier_is_the_sum_over_classes_and_mse_its_old_name_for_the_mean(tmp_path: Path) -> None:
    """Projects that have `mse` of classes keep it; nobody else is offered it."""
    form = Form(template_root())
    flags = {"losses": ["brier=1", "mse=1"]}

    render(complete(form, gather(form, flags, preset=None, answers_file=None), "p"), tmp_path / "p")

    with importable(tmp_path / "p") as module:
        opt = module("options").Options()
        logits, labels = torch.tensor([[0.0, 0.0, 0.0], [9.0, -90.0, -90.0]]), torch.tensor([1, 0])
        terms = module("losses").criterion((logits, logits), labels, opt)
    assert terms["brier"].item() == pytest.approx((1 / 9 + 4 / 9 + 1 / 9 + 0) / 2)
    assert terms["mse"].item() == pytest.approx(terms["brier"].item() / 3)
    with pytest.raises(BadAnswer) as refused:
        complete(form, gather(form, {"losses": ["nope=1"]}, preset=None, answers_file=None), "p")
    assert "cross_entropy, brier, triplet" in str(refused.value)
    assert "mse" not in str(refused.value)


@pytest.mark.parametrize("version", ["v0.3.6", "v0.4.0"])
def test_a_released_project_with_mse_of_classes_updates_to_one_that_minimises_the_same(
    scaffold: Run, releases: History, here: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    losses = [{"name": "cross_entropy", "weight": 1.0}, {"name": "mse", "weight": 0.5}]
    project = releases.make(here / "older", version, {"losses": losses})
    monkeypatch.chdir(project)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    terms: list[tuple[dict[str, float], float]] = []
    for _ in range(2):
        with importable(project) as module:
            opt = module("options").Options(data_dir="data")
            given = (logits, logits, labels) if version == "v0.3.6" and not terms else (logits, labels)
            terms.append((opt.losses, module("losses.mse").mse(*given, opt).item()))
        if len(terms) == 1:
            assert scaffold("update", "--yes").code == 0

    assert terms[0] == terms[1]
    assert own_answers(project)["losses"] == losses


def test_mse_of_numbers_is_torchs_own(tmp_path: Path) -> None:
    with importable(render_project(tmp_path / "regressed", task="regression", losses=["mse=1"])) as module:
        values, targets = torch.randn(5, 2), torch.randn(5, 2)
        found = module("losses").criterion((values, values), targets, module("options").Options())
        assert found["mse"].item() == pytest.approx(torch.nn.MSELoss()(values, targets).item())


def test_each_loss_has_its_part_and_its_fact() -> None:
    form = Form(template_root())
    parts = template_root() / "template" / "parts" / "losses"
    shared = form.questions["shared_losses"].default

    assert (
        set(shared)
        == {path.name.partition(".")[0] for path in parts.glob("*.py*")}
        == {path.stem for path in parts.glob("*.yml")}
    )
    for loss in shared:
        flags = {"task": "metric_learning", "losses": [f"{loss}=1"]}
        layers = complete(form, gather(form, flags, preset=None, answers_file=None), "p")["layer_groups"][0]["layers"]
        assert ("head" in layers) == (loss in ("cross_entropy", "brier", "mse"))
