"""Models of torchvision and timm in generated projects: each builds, two of each family learn, weights fit."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scaffold import paths
from scaffold.questions.answer_types import MODEL
from scaffold.questions.copier_yml import read
from scaffold.questions.form import Form
from tests.generated.rendered import importable, render_project

NAMES: dict[str, int] = read(paths.template_root())[1]["torchvision_models"].default
FORM = Form(paths.template_root())
FACTS = {name: MODEL.facts_for(FORM, name) for name in NAMES}


def small_ones() -> list[str]:
    """The two smallest models of each family."""
    by_family: dict[str, list[str]] = {}
    for name in sorted(NAMES, key=lambda name: NAMES[name]):
        by_family.setdefault(FACTS[name]["family"], []).append(name)
    return [name for names in by_family.values() for name in names[:2]]


@contextmanager
def model_of(folder: Path, name: str, **flags: Any) -> Iterator[tuple[ModuleType, Any]]:
    """The module of a project's model, and the project's settings."""
    project = render_project(folder / "p", model=name, **flags)
    with importable(project) as module:
        yield module("model"), module("options").Options()


def facts_for(name: str, channels: int = 3, side: int = 0) -> dict[str, Any]:
    """What data tell, for the smallest images that a model takes."""
    return {"classes": [*"0123456789"], "image_size": side or FACTS[name]["least_size"], "channels": channels}


def counted(net: Any) -> dict[str, int]:
    """The parameters of the backbone and the head."""
    return {part: sum(one.numel() for one in getattr(net, part).parameters()) for part in ("backbone", "head")}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("mobilenet_v3_small", "swin_t", "vgg11") else [pytest.mark.nightly])
        for name in NAMES
    ],
)
def test_a_model_is_what_the_catalogue_says(name: str, tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    facts = FACTS[name]
    # RegNets look at numbers while they are made
    device = torch.device("cpu" if facts["family"] == "RegNet" else "meta")
    with model_of(tmp_path, name) as (model, opt), device:
        for channels in (3, 5):
            side = 224 if "sized" in facts else facts["least_size"]  # its positions are counted for 224
            net = model.build_model(opt, facts_for(name, channels, side))
            logits, embedding = net.eval()(torch.zeros(2, channels, side, side))

            assert (logits.shape, embedding.shape) == ((2, 10), (2, facts["embedding"]))
            if channels == 3:
                assert counted(net) == facts["layers"]
            # with a smaller one mobilenet_v3_small has learned all in 400 steps, and evaluates at chance
            assert {layer.momentum for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)} <= {0.1}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "shufflenet_v2_x0_5" else [pytest.mark.nightly])
        for name in ["shufflenet_v2_x0_5", *(name for name in small_ones() if name != "shufflenet_v2_x0_5")]
    ],
)
def test_two_models_of_each_family_learn(name: str, tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    with model_of(tmp_path, name) as (model, opt):
        # of 32 pixels some leave one to their last batch norms, which then have four numbers to tell the mean of
        facts = facts_for(name, channels=1, side=max(64, FACTS[name]["least_size"]))
        torch.manual_seed(0)
        net = model.build_model(opt, facts).train()
        for layer in net.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        images = torch.rand(4, 1, facts["image_size"], facts["image_size"])
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
        losses = []
        for _ in range(6):
            loss = torch.nn.functional.cross_entropy(net(images)[0], torch.arange(4))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))

    assert all(one.grad is not None for one in net.parameters())
    assert losses[-1] < losses[0]


def test_a_size_that_a_model_does_not_take_is_said(tmp_path: Path) -> None:
    with model_of(tmp_path, "vit_b_32") as (model, opt):
        engine = importlib.import_module("p.engine")
        with pytest.raises(engine.RunError, match="take --image-size 64"):
            model.build_model(opt, {**facts_for("vit_b_32"), "image_size": 40})


def test_weights_of_torchvision_are_taken_but_for_the_last_layer(tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    get_model = importlib.import_module("torchvision.models").get_model
    plain = get_model("squeezenet1_1").eval()
    torch.save(plain.state_dict(), tmp_path / "w.pt")
    project = render_project(tmp_path / "p", model="squeezenet1_1", weights="file")
    with importable(project) as module:
        opt = module("options").Options(weights_file=str(tmp_path / "w.pt"))
        net = module("model").build_model(opt, facts_for("squeezenet1_1")).eval()
        pretrained = module("pretrained")
        report = pretrained.load_pretrained(net, pretrained.read_weights(tmp_path / "w.pt"))

    image = torch.rand(2, 3, 64, 64)
    plain.classifier[1] = torch.nn.Identity()
    with torch.no_grad():
        assert torch.equal(net(image)[1], plain(image))
    assert "into backbone" in report
    assert "random: head.weight, head.bias; not used: backbone.classifier.1" in report


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "tf_mobilenetv3_small_minimal_100"])
def test_a_model_of_timm_gives_features_and_scores(name: str, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    torch = importlib.import_module("torch")
    with model_of(tmp_path, f"timm:{name}", groups_from="freeze") as (model, opt):
        facts = {"classes": [*"abc"], "image_size": 32, "channels": 1}
        net = model.build_model(opt, facts)
        logits, embedding = net(torch.rand(2, 1, 32, 32))
        groups = importlib.import_module("p.engine").layer_groups(net, importlib.import_module("p.optim").LAYERS)

    assert (logits.shape, len(embedding), embedding.ndim) == ((2, 3), 2, 2)
    assert all(one.momentum >= 0.1 for one in net.modules() if isinstance(one, torch.nn.BatchNorm2d))
    assert [*groups["head"]] == ["head.weight", "head.bias"]


def test_a_name_that_timm_lacks_is_said_with_those_near_to_it(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    with model_of(tmp_path, "timm:test_resnett") as (model, opt):
        engine = importlib.import_module("p.engine")
        with pytest.raises(engine.RunError, match="has no model test_resnett; it has test_resnet"):
            model.build_model(opt, {"classes": ["a"], "image_size": 32})


OWN = '''"""A model of one's own, which returns what `RETURNS` makes of an image."""

import torch
from torch import nn

RETURNS = None


class Net(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.layer = nn.Linear(3, num_classes)

    def forward(self, x):
        features = x.mean((2, 3))
        return RETURNS(self.layer(features), features)
'''

RETURNED: dict[str, tuple[Any, str, str]] = {
    "pair": (lambda scores, features: (scores, features), "", ""),
    "list": (lambda scores, features: [scores, features], "", ""),
    "scores alone": (lambda scores, features: scores, "returned a Tensor; it must return two", "embedding, embedding"),
    "dict": (lambda scores, features: {"scores": scores}, "returned a dict; it must return two", "returned a dict"),
    "three": (lambda scores, features: (scores, features, features), "returned 3 values", "returned 3 values"),
    "too many classes": (lambda scores, features: (features.repeat(1, 2), features), "of shape (2, 6) for 2", ""),
    "whole numbers": (lambda scores, features: (scores.long(), features), "returned logits of torch.int64", ""),
    "whole embedding": (lambda scores, features: (scores, features.long()), "embedding of torch", "embedding of torch"),
    "mean embedding": (lambda scores, features: (scores, features.mean()), "embedding of shape ()", "of shape ()"),
    "no code": (
        lambda scores, features: scores @ scores,
        "inputs of shape (2, 3, 8, 8)",
        "inputs of shape (2, 3, 8, 8)",
    ),
}


@pytest.mark.parametrize("task", ["classification", "metric_learning"])
def test_what_a_model_of_ones_own_returns_is_checked_at_the_start(task: str, tmp_path: Path) -> None:
    project = render_project(tmp_path / "p", model="p.own_net:Net", task=task)
    (project / "p" / "own_net.py").write_text(OWN)
    with importable(project) as module:
        returned: Any = module("own_net")
        build, opt = module("model").build_model, module("options").Options()
        for kind, (returns, with_head, without) in RETURNED.items():
            returned.RETURNS, said = returns, with_head if task == "classification" else without
            try:
                build(opt, {"classes": ["a", "b", "c"], "image_size": 8, "channels": 3})
                told = ""
            except (module("engine").RunError, RuntimeError) as error:
                told = str(error)

            assert said in told, (kind, told)
            assert bool(said) == bool(told), (kind, told)
