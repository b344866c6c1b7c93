"""The grammar of layer groups: what is typed, what is recorded, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaffold import paths
from scaffold.errors import BadAnswer
from scaffold.questions import layer_groups as layers
from scaffold.questions.answers import complete, gather
from scaffold.questions.form import Form

CATALOGUE = {name: facts for name, facts in Form(paths.template_root()).facts_of("model").items() if facts["layers"]}


def groups(line: str, model: str = "resnet18", has_head: bool = True) -> dict[str, tuple[list[str], float]]:
    read_groups = layers.read_groups([line], model, CATALOGUE.get(model), has_head)
    return {group["name"]: (group["layers"], group["lr"]) for group in read_groups}


def refusal(line: str, model: str = "resnet18", has_head: bool = True) -> str:
    with pytest.raises(BadAnswer) as error:
        groups(line, model, has_head)
    return str(error.value)


def test_backbone_and_head_are_resolved_to_layers() -> None:
    assert groups("backbone=0.1 head=1") == {
        "backbone": (["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], 0.1),
        "head": (["fc"], 1.0),
    }


def test_backbone_and_head_are_there_for_every_model() -> None:
    for model in CATALOGUE:
        assert list(groups("backbone=0.1 head=1", model)) == ["backbone", "head"]


def test_numbers_are_floats() -> None:
    assert all(isinstance(lr, float) for _, lr in groups("backbone=0 head=1").values())


def test_the_most_specific_name_wins_whatever_the_order() -> None:
    for line in ("stem=0.01 layer4=0.3 backbone=0.1 head=1", "head=1 backbone=0.1 layer4=0.3 stem=0.01"):
        found = groups(line)
        assert found["stem"] == (["conv1", "bn1"], 0.01)
        assert found["layer4"] == (["layer4"], 0.3)
        assert found["backbone"] == (["layer1", "layer2", "layer3"], 0.1)
        assert list(found) == [word.split("=")[0] for word in line.split()]


def test_a_block_leaves_its_layer_whose_other_blocks_are_listed() -> None:
    found = groups("layer4.1=0.5 layer4=0.3 rest=freeze")

    assert found["layer4.1"] == (["layer4.1"], 0.5)
    assert found["layer4"] == (["layer4.0"], 0.3)
    assert found["rest"] == (["conv1", "bn1", "layer1", "layer2", "layer3", "fc"], 0.0)


def test_what_nobody_names_goes_to_rest_at_1_and_last() -> None:
    assert list(groups("head=2").items())[-1] == ("rest", (CATALOGUE["resnet18"]["groups"]["backbone"], 1.0))
    assert list(groups("rest=0.5 head=2"))[-1] == "rest"


def test_a_path_ends_at_a_dot() -> None:
    model = {
        "layers": {"layer1": 1, "layer10": 2, "out": 3},
        "blocks": {"layer10.1": 1, "layer10.10": 1},
        "groups": {"backbone": ["layer1", "layer10"], "head": ["out"]},
    }

    found = layers.read_groups(["layer1=0.5 layer10.1=0.1"], "m", model, True)

    assert [(group["name"], group["layers"]) for group in found] == [
        ("layer1", ["layer1"]),
        ("layer10.1", ["layer10.1"]),
        ("rest", ["layer10.10", "out"]),
    ]


def test_a_group_of_ones_own_takes_paths_and_names() -> None:
    assert groups("early:conv1+bn1+layer1=0.01")["early"] == (["conv1", "bn1", "layer1"], 0.01)
    assert groups("early:stem+layer1=0.01")["early"] == (["conv1", "bn1", "layer1"], 0.01)


def test_classifier_is_another_name_for_head() -> None:
    assert groups("classifier=2") == groups("head=2")


def test_a_layer_that_is_called_classifier_is_no_other_name_for_head() -> None:
    found = groups("backbone=0.1 classifier=1 rest=1", "yolo_v1")

    assert found["classifier"] == (["classifier"], 1.0)
    assert found["rest"] == (["interaction", "large_conv1_1", "large_conv1_2"], 1.0)


def test_in_a_model_of_ones_own_classifier_is_the_layer_of_that_name() -> None:
    assert groups("classifier=1 rest=0.1", "own") == {"classifier": (["classifier"], 1.0), "rest": (["rest"], 0.1)}


def test_the_layers_of_ones_own_model_are_taken_as_they_are() -> None:
    assert groups("enc=0.1 dec:up1+up2=2", "own") == {
        "enc": (["enc"], 0.1),
        "dec": (["up1", "up2"], 2.0),
        "rest": (["rest"], 1.0),
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("head=1 head=0.5", "group 'head' is given twice: head=1 and head=0.5"),
        ("head=1 classifier=0.5", "group 'head' is given twice"),
        ("a:layer4=0.3 b:layer3+layer4=1", "'layer4' is in two groups: a:layer4=0.3 and b:layer3+layer4=1"),
        ("a:layer4=0.3 b:layer3+layer4=1", "--group b:layer3=1"),
        ("backbone=-0.1", "the multiplier in 'backbone=-0.1' is negative"),
        ("backbone=-0.1", "--group backbone=freeze"),
        ("backbone=inf", "the multiplier in 'backbone=inf' is not a number"),
        ("backbone=nan", "is not a number"),
        ("backbone=", "is not a number"),
        ("backbone=1e9", "is not below 1000000"),
        ("backbone", "'backbone' is not a group; write NAME=MULT"),
        ("=1", "is not a group"),
        ("a:=1", "is not a group"),
        ("stm=0.01", "no layer of resnet18 starts with 'stm'; did you mean 'stem'?"),
        ("stm=0.01", "scaffold list groups resnet18"),
        ("layer10=1", "no layer of resnet18 starts with 'layer10'; did you mean 'layer1"),
        ("a:conv1+conv1=1", "'conv1' is twice in group"),
        ("a:rest=1 rest=1", "'rest' is in two groups"),
        ("a:conv1+rest=1", "'rest' stands alone"),
        ("stem=1 layer1=1 layer2=1 layer3=1 layer4=1 backbone=0.1", "group 'backbone' would train nothing"),
        ("backbone=0.1 head=1 rest=1", "group 'rest' would train nothing"),
        ("backbone=freeze head=0", "every group is frozen; nothing would learn"),
        ("a-b:conv1=1", "the group name 'a-b'"),
    ],
)
def test_a_group_that_cannot_be_is_one_sentence(line: str, words: str) -> None:
    assert words in refusal(line)


def test_a_project_without_a_head_says_so() -> None:
    assert "this project has no head" in refusal("head=1", has_head=False)
    assert "fc" not in [layer for paths, _ in groups("stem=0.1", has_head=False).values() for layer in paths]


def test_layers_inside_each_other_are_refused_for_ones_own_model() -> None:
    assert "'enc.first' lies inside 'enc'" in refusal("enc=0.1 enc.first=1", "own")


def test_skipped_layers_may_be_named_by_groups() -> None:
    assert layers.read_skip(["head"], "resnet18", CATALOGUE["resnet18"], True) == ["fc"]
    assert layers.read_skip("layer4 head", "resnet18", CATALOGUE["resnet18"], True) == ["layer4", "fc"]
    assert layers.read_skip(["none"], "resnet18", CATALOGUE["resnet18"], True) == []
    assert layers.read_skip(["enc.out"], "own", None, True) == ["enc.out"]


@st.composite
def typed(draw: st.DrawFn) -> tuple[str, bool, list[str]]:
    """A model, whether it has a head, and groups for it as somebody might type them."""
    model = draw(st.sampled_from([*CATALOGUE, "own"]))
    has_head = draw(st.booleans())
    names = layers.names_of(CATALOGUE.get(model), has_head) if model != "own" else ["enc", "enc2", "dec.up", "rest"]
    multipliers = st.sampled_from(["freeze", "0", "1", "0.1", "2.5", "1e-3", "0.3333333333333333"])
    words = []
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True)):
        own = draw(st.booleans())
        more = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if own else []
        words.append(f"{f'own_{name}:' if own else ''}{'+'.join([name, *more])}={draw(multipliers)}")
    return model, has_head, words


@given(typed())
def test_groups_are_written_as_what_is_read_back_as_the_same(case: tuple[str, bool, list[str]]) -> None:
    model, has_head, words = case
    entry = CATALOGUE.get(model)
    try:
        recorded = layers.read_groups(words, model, entry, has_head)
    except BadAnswer:
        return

    short = layers.write_groups(recorded, model, entry, has_head)
    long = [f"{group['name']}:{'+'.join(group['layers'])}={group['lr']}" for group in recorded]
    assert layers.read_groups(short, model, entry, has_head) == recorded
    assert layers.read_groups(long, model, entry, has_head) == recorded
    if entry:
        taken = [path for group in recorded for path in group["layers"]]
        whole = [layer for layer in entry["layers"] if has_head or layer not in entry["groups"]["head"]]
        size = sum(entry["layers"][layer] for layer in whole)
        assert len(taken) == len(set(taken))
        assert layers.parameters_of(taken, entry) == size


@pytest.mark.parametrize(
    ("flags", "rate"),
    [
        ({}, 0.002),
        ({"weights": "file", "weights_file": "w.pt"}, 0.002),  # gradual, which is the default: docs/accuracy.md
        ({"weights": "file", "weights_file": "w.pt", "groups_from": "scratch"}, 0.002),
        ({"weights": "file", "weights_file": "w.pt", "groups_from": "fine-tune"}, 0.006),  # of the head
        ({"weights": "imagenet", "model": "resnet18"}, 0.001),
        ({"weights": "imagenet", "model": "resnet18", "groups_from": "scratch"}, 0.0003),
        ({"weights": "imagenet", "model": "resnet18", "optimizer": "sgd"}, 0.01),
    ],
)
def test_the_rate_follows_from_where_the_weights_come_from(flags: dict[str, str], rate: float) -> None:
    form = Form(paths.template_root())

    assert complete(form, gather(form, flags, preset=None, answers_file=None), "digits")["lr"] == rate


@pytest.mark.parametrize(
    ("flags", "strategy"),
    [
        ({"weights": "file"}, "gradual"),
        ({"weights": "file", "model": "timm:test_vit"}, "fine-tune"),  # its layers are not known here
        ({"weights": "file", "model": "my.net:Net"}, "scratch"),
        ({"weights": "file", "task": "metric_learning"}, "scratch"),  # without a head
        ({"weights": "imagenet", "model": "resnet18"}, "fine-tune"),
        ({}, "scratch"),
    ],
)
def test_the_strategy_follows_from_where_the_weights_come_from(flags: dict[str, str], strategy: str) -> None:
    form = Form(paths.template_root())

    found = complete(form, gather(form, flags, preset=None, answers_file=None), "digits")

    assert found["groups_from"] == strategy
