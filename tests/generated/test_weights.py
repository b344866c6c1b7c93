"""Files of pretrained weights as people have them: loaded, with what was taken off, or named for what they are."""

import argparse
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from tests.generated.rendered import importable, render_project

WEIGHTS = pytest.mark.figure(
    "C10 weights as people have them",
    "keys, prefixes, shards, and files that are something else",
)

Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The modules of a project that begins with weights from a file, but for its classifier."""
    folder = tmp_path_factory.mktemp("of") / "weighted"
    flags = {"model": "own_net.net:Net", "weights": "file", "weights_skip": ["classifier"]}
    with importable(render_project(folder, **flags)) as modules:
        yield modules


@pytest.fixture
def net(module: Module) -> nn.Module:
    """The model of the project."""
    built: nn.Module = module("model").build_model(
        module("options").Options(), {"classes": ["a", "b"], "image_size": 8}
    )
    return built


@pytest.fixture
def state(module: Module, net: nn.Module) -> dict[str, Tensor]:
    """Weights that are not those of the net, of which the skipped head has another size."""
    torch.manual_seed(7)
    donor = module("model").build_model(module("options").Options(), {"classes": list("abcdefg"), "image_size": 8})
    return {name: value.clone() for name, value in donor.state_dict().items()}


def load(module: Module, net: nn.Module, path: Path) -> str:
    """The report of loading a file."""
    report: str = module("pretrained").load_pretrained(net, module("pretrained").read_weights(path))
    return report


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights with a prefix before each name."""
    return {prefix + name: value for name, value in state.items()}


def assert_loaded(net: nn.Module, state: dict[str, Tensor]) -> None:
    """That all is in the net but the skipped head."""
    for name, value in net.state_dict().items():
        if not name.startswith("classifier."):
            assert torch.equal(value, state[name]), name


KEYS = ["", "state_dict", "net", "model", "model_state_dict", "ema", "teacher.weights"]
PREFIXES = [
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "backbone.",
    "encoder_q.",
    "module._orig_mod.",
    "module.net.encoder.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", KEYS)
@WEIGHTS
def test_weights_under_a_key_and_with_a_prefix_are_loaded(
    module: Module, net: nn.Module, state: dict[str, Tensor], tmp_path: Path, key: str, prefix: str
) -> None:
    content: Any = prefixed(state, prefix)
    for part in reversed(key.split(".") if key else []):
        content = {"epoch": 3, part: content, "optimizer": {"state": {0: {"step": torch.ones(())}}, "lr": 0.1}}
    torch.save(content, tmp_path / "some.pt")

    report = load(module, net, tmp_path / "some.pt")

    assert_loaded(net, state)
    count = len(net.state_dict())
    assert f"{count - 2} of {count} tensors loaded" in report
    assert "random: classifier.weight, classifier.bias; not used: classifier.weight, classifier.bias" in report
    plain = prefix.replace("_orig_mod.", "")
    assert (f"without {plain}" in report) == bool(plain)
    assert (f"under {key}" in report) == bool(key)


@WEIGHTS
def test_weights_of_a_part_of_the_model_are_loaded_into_it(
    module: Module, net: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    """As those of a plain resnet50 into the backbone of a detector."""
    wrapped = nn.ModuleDict({"backbone": nn.ModuleDict({"body": net}), "rpn": nn.Linear(2, 2)})
    torch.save(prefixed(state, "module."), tmp_path / "some.pt")
    content = module("pretrained").read_weights(tmp_path / "some.pt")
    skip = ["rpn", "backbone.body.classifier"]

    report = module("pretrained").load_pretrained(wrapped, content, skip)

    assert_loaded(net, state)
    assert "tensors loaded (without module. into backbone.body); random: " in report
    with pytest.raises(module("engine").RunError, match=r"2 of .* tensors are missing"):
        module("pretrained").load_pretrained(wrapped, prefixed(state, "backbone.body."), skip[1:])


@WEIGHTS
def test_of_two_that_fit_the_first_is_taken_and_the_other_told(
    module: Module, net: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save({"model": state, "ema": {name: 2 * value for name, value in state.items()}}, tmp_path / "some.pt")

    report = load(module, net, tmp_path / "some.pt")

    assert_loaded(net, state)
    assert "loaded (under model); others that fit: (under ema)" in report


@pytest.mark.parametrize("name", ["a.safetensors", "a.SAFETENSORS", "a.bin", "a"])
@WEIGHTS
def test_safetensors_are_known_by_their_content(
    module: Module, net: nn.Module, state: dict[str, Tensor], tmp_path: Path, name: str
) -> None:
    save_file(prefixed(state, "model."), tmp_path / name)

    assert "without model." in load(module, net, tmp_path / name)
    assert_loaded(net, state)


@WEIGHTS
def test_shards_are_loaded_by_their_index(
    module: Module, net: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    names = [*state]
    shards = {"model-00001-of-00002.safetensors": names[:4], "model-00002-of-00002.safetensors": names[4:]}
    for file, some in shards.items():
        save_file({name: state[name] for name in some}, tmp_path / file)
    index = {"metadata": {}, "weight_map": {name: file for file, some in shards.items() for name in some}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))

    for given in ("model.safetensors.index.json", *shards):
        for parameter in net.parameters():
            nn.init.zeros_(parameter)
        load(module, net, tmp_path / given)
        assert_loaded(net, state)

    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(module("engine").RunError, match=r"there is no file .*00002-of-00002\.safetensors"):
        load(module, net, tmp_path / "model.safetensors.index.json")
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(module("engine").RunError, match="is not an index of safetensors"):
        load(module, net, tmp_path / "model.safetensors.index.json")


def whole(state: dict[str, Tensor], path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)


def namespace(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, path)


def scalars(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"state_dict": state, "best": np.float64(0.5)}, path)


def script(state: dict[str, Tensor], path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def page(state: dict[str, Tensor], path: Path) -> None:
    path.write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")


def pointer(state: dict[str, Tensor], path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46830571\n")


def empty(state: dict[str, Tensor], path: Path) -> None:
    path.touch()


def cut(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-100])


def cut_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-100])


def old_and_cut(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-100])


def garbage(state: dict[str, Tensor], path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def folder(state: dict[str, Tensor], path: Path) -> None:
    path.mkdir()


def lists(state: dict[str, Tensor], path: Path) -> None:
    torch.save([*state.values()], path)


def nothing(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"epoch": 1, "model": None}, path)


def nan(state: dict[str, Tensor], path: Path) -> None:
    torch.save({**state, "interaction.weight": torch.full_like(state["interaction.weight"], math.nan)}, path)


REFUSED = {
    whole: r"holds a Python object \(torch\.nn\.modules\.\S+\) beside tensors; if you trust .*python -c",
    namespace: r"holds a Python object \(argparse\.Namespace\) beside tensors; if you trust .*python -c",
    scalars: r"holds a Python object \(numpy\S*\) beside tensors; if you trust .*python -c",
    script: r"is TorchScript; if you trust .*torch\.jit\.load",
    page: "is a web page, not weights",
    pointer: "is a Git LFS pointer, not the weights; type: git lfs pull",
    empty: "is empty; download it again",
    cut: "is damaged, cut short or no file of weights",
    cut_safetensors: "is damaged, cut short or no file of weights",
    old_and_cut: "is damaged, cut short or no file of weights",
    garbage: "is damaged, cut short or no file of weights",
    folder: "cannot be read",
    lists: "holds no dictionary of tensors",
    nothing: "the weights hold no tensors with names",
    nan: "the weights hold NaN, in interaction.weight",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
@WEIGHTS
def test_what_is_not_loaded_is_named_for_what_it_is(
    module: Module, net: nn.Module, state: dict[str, Tensor], tmp_path: Path, make: Callable[..., None]
) -> None:
    path = tmp_path / "some.pt"
    make(state, path)
    before = {name: value.clone() for name, value in net.state_dict().items()}

    with pytest.raises(module("engine").RunError, match=REFUSED[make]) as found:
        load(module, net, path)

    assert "\n" not in str(found.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def as_torch(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path)


def as_index(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path)
    index = path.with_name("some.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(state, path.name)}))


@pytest.mark.parametrize(("make", "times"), [(as_torch, 3), (as_index, 2)], ids=["torch", "index"])
@WEIGHTS
def test_a_disk_that_fails_at_any_time_is_not_a_damaged_file(
    module: Module, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, times: int
) -> None:
    path = tmp_path / ("some.pt" if make is as_torch else "some-1-of-1.safetensors")
    make(state, path)
    left = 0
    real = io.open

    def failing(file: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        if str(tmp_path) in str(file):
            left -= 1
            if left == 0:
                raise OSError(5, "Input/output error", str(file))
        return real(file, *arguments, **options)

    for place in ("io.open", "builtins.open"):
        monkeypatch.setattr(place, failing)
    said = []
    for number in range(1, 9):  # which time it is opened
        left = number
        try:
            module("pretrained").read_weights(path)
        except module("engine").RunError as problem:
            said.append(str(problem))

    assert len(said) >= times
    assert [text for text in said if not re.search(r"some\S+ cannot be read \(Input/output error\)", text)] == []


def as_a_script_saves_it(net: nn.Module, path: Path) -> None:
    """As torchvision's own training of detectors and segmentation does."""
    torch.save({"model": net.state_dict(), "args": argparse.Namespace(lr=0.1), "epoch": 3}, path)


def as_an_object(net: nn.Module, path: Path) -> None:
    torch.save(net, path)


def as_an_object_under_a_key(net: nn.Module, path: Path) -> None:
    torch.save({"epoch": 3, "ema": None, "model": net}, path)


@pytest.mark.parametrize(
    "save", [as_a_script_saves_it, as_an_object, as_an_object_under_a_key], ids=lambda save: save.__name__
)
@WEIGHTS
def test_what_is_typed_for_a_pickle_makes_a_file_that_is_loaded(
    module: Module, net: nn.Module, tmp_path: Path, save: Callable[[nn.Module, Path], None]
) -> None:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    save(net, tmp_path / "some.pt")
    with pytest.raises(module("engine").RunError) as found:
        load(module, net, tmp_path / "some.pt")
    for parameter in net.parameters():
        nn.init.zeros_(parameter)

    code = str(found.value).split('python -c "')[1].split('"   and give')[0]
    project = Path(str(module("model").__file__)).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)

    load(module, net, tmp_path / "w.pt")
    assert_loaded(net, state)


def under_keys(donor: nn.Module, folder: Path) -> str:
    torch.save({"epoch": 3, "ema": prefixed(donor.state_dict(), "module._orig_mod.")}, folder / "some.pt")
    return "some.pt"


def averaged(donor: nn.Module, folder: Path) -> str:
    torch.save(torch.optim.swa_utils.AveragedModel(donor).state_dict(), folder / "some.pt")
    return "some.pt"


def in_capitals(donor: nn.Module, folder: Path) -> str:
    save_model(donor, str(folder / "some.SAFETENSORS"))  # tied weights by one of their names only
    return "some.SAFETENSORS"


def in_shards(donor: nn.Module, folder: Path) -> str:
    net = nn.ModuleDict({"model": donor})
    save_model(net, str(folder / "whole.safetensors"))
    with safe_open(folder / "whole.safetensors", "pt") as whole:
        names = {name: f"some-{number % 2 + 1}-of-2.safetensors" for number, name in enumerate(whole.keys())}
        for file in {*names.values()}:
            save_file({name: whole.get_tensor(name) for name in names if names[name] == file}, folder / file)
    (folder / "some.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return "some-2-of-2.safetensors"


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("detection", "yolo_small"),
        pytest.param("detection", "ssdlite", marks=pytest.mark.nightly),
        pytest.param("segmentation", "unet", marks=pytest.mark.nightly),
        ("segmentation", "lraspp_mobilenet_v3_large"),
        ("language_model", "transformer"),
    ],
)
@WEIGHTS
def test_weights_of_other_tasks_are_loaded_as_people_have_them(tmp_path: Path, task: str, model: str) -> None:
    flags = {"task": task, "weights": "file", "logger": "none", **({"model": model} if model != "transformer" else {})}
    with importable(render_project(tmp_path / "odd", **flags)) as modules:
        opt, error, pretrained = modules("options").Options(), modules("engine").RunError, modules("pretrained")
        text = {"tokenizer": "bytes", "vocabulary": 256, "block": 16}
        nets = [
            modules("model").build_model(opt, {"classes": ["a", "b", "c"][:count], "image_size": 64, **text})
            for count in (2, 3)
        ]
        net, wanted = nets[0], nets[1].state_dict()
        for make in (under_keys, averaged, in_capitals, in_shards):
            for parameter in net.parameters():
                nn.init.zeros_(parameter)
            pretrained.load_pretrained(net, pretrained.read_weights(tmp_path / make(nets[1], tmp_path)))
            given = {
                name: value for name, value in net.state_dict().items() if not name.startswith((*pretrained.SKIP,))
            }
            assert given
            assert [name for name, value in given.items() if not torch.equal(value, wanted[name])] == [], make.__name__

        first = next(iter(wanted))
        torch.save({**wanted, first: torch.full_like(wanted[first], math.nan)}, tmp_path / "nan.pt")
        with pytest.raises(error, match=f"the weights hold NaN, in {re.escape(first)};"):
            pretrained.load_pretrained(net, pretrained.read_weights(tmp_path / "nan.pt"))
        assert bool(net.state_dict()[first].isfinite().all())


def refused(*_: Any, **__: Any) -> Any:
    """What a download does without a network."""
    raise URLError("Name or service not known")


@pytest.mark.parametrize(
    ("task", "model", "theirs", "settings"),
    [
        ("detection", "fasterrcnn", "fasterrcnn_resnet50_fpn", {"num_classes": 91}),
        ("detection", "retinanet", "retinanet_resnet50_fpn", {"num_classes": 91}),
        ("detection", "fcos", "fcos_resnet50_fpn", {"num_classes": 91}),
        ("detection", "ssdlite", "ssdlite320_mobilenet_v3_large", {"num_classes": 91}),
        ("segmentation", "deeplabv3_resnet50", "deeplabv3_resnet50", {"num_classes": 21, "aux_loss": True}),
        ("segmentation", "deeplabv3_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", {"aux_loss": True}),
        ("segmentation", "lraspp_mobilenet_v3_large", "lraspp_mobilenet_v3_large", {"num_classes": 21}),
    ],
)
def test_weights_of_coco_are_found_where_torchvision_keeps_them_and_fit_but_for_the_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, model: str, theirs: str, settings: dict[str, Any]
) -> None:
    from torchvision.models import get_model, get_model_weights
    from torchvision.ops import FrozenBatchNorm2d

    with torch.device("meta"):  # names and shapes are enough
        trained = get_model(theirs, weights=None, weights_backbone=None, **settings).state_dict()
    given = {name: torch.full_like(value, 3, device="cpu") for name, value in trained.items()}
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / Path(get_model_weights(theirs).DEFAULT.url).name
    file.parent.mkdir(parents=True)
    torch.save(given, file)
    project = render_project(tmp_path / "on_coco", task=task, model=model, weights="coco", logger="none")
    with importable(project) as modules:
        opt = modules("options").Options()
        with torch.device("meta"):
            net = modules("model").build_model(opt, {"classes": ["a", "b", "c"], "image_size": 64})
        net.to_empty(device="cpu")
        with modules("engine").Process.start(opt) as process:
            report = modules("pretrained").load_weights(net, opt, process)
            monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
            monkeypatch.setattr("torch.hub.urlopen", refused)
            with pytest.raises(
                modules("engine").RunError,
                match=r"COCO's weights cannot be downloaded .*put https://.*\.pth into .*empty/hub/",
            ):
                modules("pretrained").load_weights(net, opt, process)
        skipped = modules("pretrained").SKIP

    random = [name for name in net.state_dict() if any(name.startswith(f"{layer}.") for layer in skipped)]
    own = net.state_dict()
    assert report.startswith(f"weights: {len(own) - len(random)} of {len(own)} tensors loaded; random: {random[0]}")
    assert all(bool((value == 3).all()) for name, value in own.items() if name not in random)
    # torchvision's own function sets it so where these weights were trained with an older norm
    eps = {0.0} if model in ("fasterrcnn", "retinanet") else {1e-5} if model == "fcos" else set()
    assert {layer.eps for layer in net.modules() if isinstance(layer, FrozenBatchNorm2d)} == eps


@pytest.mark.parametrize(("model", "weights"), [("resnet18", "imagenet"), ("timm:test_vit", "pretrained")])
def test_without_a_network_what_to_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, weights: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with importable(render_project(tmp_path / "offline", model=model, weights=weights)) as module:
        pretrained, failure = module("pretrained"), module("engine").RunError
        if weights == "imagenet":
            monkeypatch.setattr("torch.hub.urlopen", refused)
            where = rf"put https://\S+/resnet18-\w+\.pth into {tmp_path}/torch/hub/checkpoints yourself"
            with pytest.raises(failure, match=rf"Name or service not known.*{where}.*scaffold change --weights none"):
                pretrained.download(pretrained.get_model_weights("resnet18").DEFAULT)
        else:
            monkeypatch.setattr("timm.create_model", refused)
            with pytest.raises(failure, match=r"Name or service not known.*HF_HOME.*scaffold change --weights none"):
                pretrained.read_timm(SimpleNamespace(arguments={}))


def test_two_tensors_for_what_is_one_in_the_model_are_refused(tmp_path: Path) -> None:
    with importable(render_project(tmp_path / "tied", task="language_model", weights="file")) as modules:
        opt, pretrained = modules("options").Options(), modules("pretrained")
        net = modules("model").build_model(opt, {"tokenizer": "bytes", "vocabulary": 256, "block": 16})
        before = {name: value.clone() for name, value in net.state_dict().items()}
        other = {name: value + 1 for name, value in before.items()}

        with pytest.raises(modules("engine").RunError, match=r"token\.weight is tied .* untie them in model\.py"):
            pretrained.load_pretrained(net, {**other, "token.weight": before["token.weight"]})

        assert_loaded(net, before)
        pretrained.load_pretrained(net, {**other, "token.weight": before["token.weight"]}, skip=["head"])
        assert torch.equal(net.token.weight, before["token.weight"])
