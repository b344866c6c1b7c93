"""Models of libraries are named by their names: on the command line, in files of answers, and to Copier alone."""

from pathlib import Path
from typing import Any

import pytest

from scaffold import paths
from scaffold.errors import BadAnswer
from scaffold.questions.answers import Given, complete, gather
from scaffold.questions.form import Form
from tests.conftest import Run


def answers_to(form: Form, **flags: Any) -> dict[str, Any]:
    """All answers, for those given by flags."""
    return complete(form, gather(form, flags, preset=None, answers_file=None), "p")


@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        ("efficientnet_b0", {"model": "torchvision", "torchvision_model": "efficientnet_b0"}),
        (
            "timm:vit_tiny_patch16_224.augreg_in21k",
            {"model": "timm", "timm_model": "vit_tiny_patch16_224.augreg_in21k"},
        ),
        ("resnet18", {"model": "resnet18"}),
        ("my.net:Net", {"model": "own", "model_class": "my.net:Net"}),
    ],
)
def test_a_model_is_recorded_as_what_it_is_and_typed_back(form: Form, typed: str, answers: dict[str, str]) -> None:
    found = answers_to(form, model=typed)

    assert {name: value for name, value in found.items() if name.endswith("model") or name == "model_class"} == answers
    command = form.command(found, "p")
    assert command[command.index("--model") + 1] == typed
    assert answers_to(form, model=command[command.index("--model") + 1]) == found


def test_a_file_of_answers_may_name_a_model_of_torchvision(form: Form, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("model: convnext_tiny\n")

    found = complete(form, gather(form, {}, preset=None, answers_file=str(tmp_path / "a.yml")), "p")

    assert (found["model"], found["torchvision_model"]) == ("torchvision", "convnext_tiny")


def test_the_name_of_the_library_may_stand_before_a_name_of_torchvision(form: Form) -> None:
    assert answers_to(form, model="torchvision:swin_t") == answers_to(form, model="swin_t")
    with pytest.raises(BadAnswer, match='torchvision has no other network "swin_x"'):
        answers_to(form, model="torchvision:swin_x")


def test_another_model_leaves_nothing_of_the_one_before(form: Form) -> None:
    given = Given()
    for name in ("convnext_tiny", "timm:test_vit", "my.net:Net", "cnn"):
        given.take("model", name, "--model")

    assert given.values == {"model": "cnn"}


def test_a_misspelt_name_is_refused_with_one_near_to_it(form: Form) -> None:
    with pytest.raises(BadAnswer, match="did you mean 'efficientnet_b0'"):
        answers_to(form, model="efficientnet_bo")
    with pytest.raises(BadAnswer, match="is no name of a model of timm"):
        answers_to(form, model="timm:No such")
    # what Copier alone says, which has no list of near names
    with pytest.raises(BadAnswer, match="it has swin_b, swin_s, swin_t, swin_v2_b"):
        complete(form, Given({"model": "torchvision", "torchvision_model": "swin_x"}), "p")


def test_they_take_images(form: Form) -> None:
    for name in ("efficientnet_b0", "timm:test_vit"):
        with pytest.raises(BadAnswer, match=f"--model {name} cannot .* it takes images, and these data are features"):
            answers_to(form, model=name, data="features")


def test_weights_are_those_of_the_library(form: Form) -> None:
    assert answers_to(form, model="swin_t", weights="imagenet")["groups_from"] == "fine-tune"
    assert answers_to(form, model="timm:test_vit", weights="pretrained")["groups_from"] == "fine-tune"
    with pytest.raises(BadAnswer, match="it goes with the models of timm"):
        answers_to(form, model="swin_t", weights="pretrained")
    with pytest.raises(BadAnswer, match="there are no ImageNet weights for timm"):
        answers_to(form, model="timm:test_vit", weights="imagenet")


def test_groups_of_a_model_of_torchvision_are_its_stages(form: Form) -> None:
    gradual = answers_to(form, model="vit_b_16", groups_from="gradual")["layer_groups"]
    own = answers_to(form, model="efficientnet_b0", layer_groups=["stem=0.01", "backbone=0.1", "head=1"])[
        "layer_groups"
    ]

    assert [group["name"] for group in gradual] == ["stem", *(f"block{number}" for number in range(1, 13)), "head"]
    assert [group["lr"] for group in gradual][-3:] == [0.49, 0.7, 1.0]
    assert all(group["lr"] > 0 for group in answers_to(form, model="vit_h_14", groups_from="gradual")["layer_groups"])
    assert own[0] == {"name": "stem", "layers": ["backbone.features.0", "backbone.features.1"], "lr": 0.01}


def test_groups_of_a_model_of_timm_are_its_backbone_and_the_head(form: Form) -> None:
    frozen = answers_to(form, model="timm:test_vit", groups_from="freeze")["layer_groups"]

    assert frozen == [
        {"name": "backbone", "layers": ["backbone"], "lr": 0.0},
        {"name": "head", "layers": ["head"], "lr": 1.0},
    ]
    with pytest.raises(BadAnswer, match="the layers of this model are not known here"):
        answers_to(form, model="timm:test_vit", groups_from="gradual")
    with pytest.raises(BadAnswer, match="no layer 'blocks'; it has backbone, head"):
        answers_to(form, model="timm:test_vit", groups_from="own", layer_groups="blocks=0.1")
    with pytest.raises(BadAnswer, match="no layer 'head'; it has backbone"):
        answers_to(form, task="metric_learning", model="timm:test_vit", groups_from="own", layer_groups="head=1")


def test_the_list_of_models_has_every_name(scaffold: Run) -> None:
    result = scaffold("list", "models")

    assert result.code == 0
    assert {*Form(paths.template_root()).questions["torchvision_models"].default} <= {
        line.split()[0] for line in result.out.splitlines()
    }


@pytest.mark.parametrize(
    ("answers", "rate"),
    [
        ({"model": "squeezenet1_1", "optimizer": "sgd"}, 0.01),  # at 0.05 it learns next to nothing
        ({"model": "squeezenet1_1"}, 0.002),
        ({"model": "vgg11_bn", "optimizer": "sgd"}, 0.05),
        ({"model": "resnet18", "optimizer": "sgd"}, 0.05),
    ],
)
def test_models_without_normalisation_learn_slowly_with_sgd(form: Form, answers: dict[str, str], rate: float) -> None:
    assert answers_to(form, **answers)["lr"] == rate
