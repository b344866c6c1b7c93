"""`scaffold inspect`: what a model is made of, wherever it comes from, and what layer groups make of it."""

import json
import os
import shlex
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaffold.layers.model import of_tensors
from scaffold.layers.report import as_text
from scaffold.questions.layer_groups import read_groups
from tests.conftest import Run
from tests.generated.rendered import render_project

NETS = '''"""Networks to look at."""

import os
import socket
import subprocess
import time

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2))
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(self.backbone(x).mean((2, 3)))


class Tied(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Embedding(100, dim)
        self.blocks = nn.ModuleList(nn.Linear(dim, dim) for _ in range(2))
        self.head = nn.Linear(dim, 100, bias=False)
        self.head.weight = self.embed.weight


class Downloads(nn.Module):
    def __init__(self):
        super().__init__()
        socket.create_connection(("weights.example.org", 443))


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(int(torch.arange(5).sum()), 2)


class Slow(nn.Module):
    def __init__(self):
        time.sleep(600)


class Empty(nn.Module):
    pass


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(2)


class Raises(nn.Module):
    def __init__(self):
        super().__init__()
        assert not self.training


class FromTheHub(nn.Module):
    def __init__(self):
        super().__init__()
        raise OSError("cannot connect") from type("LocalEntryNotFoundError", (Exception,), {})()


class Starts(nn.Module):
    def __init__(self, ends=True):
        super().__init__()
        child = subprocess.Popen(["sleep", "600"])
        open("child", "w").write(str(child.pid))
        self.layer = nn.Linear(2, 2)
        time.sleep(0 if ends else 600)


made = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


class Prints(nn.Module):
    def __init__(self):
        super().__init__()
        os.system("echo 'scaffold-inspect {}'")
        self.layer = nn.Linear(2, 2)


number = 7


def no_model():
    return 7
'''


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with networks of one's own, in which one stands."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_of_the_catalogue_needs_no_torch(scaffold: Run) -> None:
    result = scaffold(
        "inspect", "resnet50", "--group", "stem=0.01", "--group", "backbone=0.1", "--group", "head=1", "--json"
    )

    found = json.loads(result.out)
    assert result.code == 0
    assert (found["parameters"], found["head"]) == (23_528_522, ["fc"])
    assert [*found["stages"]] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert [(group["name"], group["parameters"]) for group in found["groups"]] == [
        ("stem", 9536),
        ("backbone", 23_498_496),
        ("head", 20_490),
    ]


def test_a_class_is_made_without_its_numbers_and_groups_are_tried(scaffold: Run, nets: Path) -> None:
    result = scaffold("inspect", "nets.py:Net", "--group", "backbone.0=0.1", "--group", "head=1", "--lr", "0.01")

    assert result.code == 0, result.err
    words = [line.split() for line in result.out.splitlines()]
    assert words[0] == ["nets.py:Net:", "1,562", "parameters"]
    assert ["stem", "224", "14.3", "%", "backbone.0"] in words
    assert ["backbone.0", "0.1", "0.001", "224", "14.3", "%", "backbone.0"] in words
    assert ["rest", "1", "0.01", "1,168", "74.8", "%", "backbone.2"] in words
    assert words[-1] == ["to", "have", "them:", "--group", "backbone.0=0.1", "--group", "head=1"]


def test_tied_weights_are_named_and_arguments_given(scaffold: Run, nets: Path) -> None:
    unsaid = scaffold("inspect", "nets:Tied")
    found = json.loads(scaffold("inspect", "nets:Tied", "--kw", "dim=16", "--json").out)

    assert (unsaid.code, "needs dim; say what they are, such as --kw dim=64" in unsaid.err) == (2, True)
    assert found["tied"] == [["embed.weight", "head.weight"]]
    assert found["parameters"] == 1600 + 2 * 272


def test_what_looks_at_numbers_is_built_with_them(scaffold: Run, nets: Path) -> None:
    found = json.loads(scaffold("inspect", "nets:Reads", "--json").out)

    assert (found["parameters"], len(found["notes"])) == (22, 1)


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("nets:Downloads", 1, "wants to download from weights.example.org"),
        ("nets:Nett", 2, "nets has no Nett; it has"),
        ("nets:no_model", 2, "makes a int, which is no torch.nn.Module"),
        ("no_nets:Net", 2, "no_nets cannot be imported"),
        ("no_nets.py:Net", 2, "there is no file no_nets.py"),
        ("resnet51", 2, "did you mean 'resnet50'"),
        ("w.safetensors", 2, "there is no file w.safetensors"),
        ("w.pt", 2, "there is no file w.pt"),
        ("nets.py", 2, "which class of nets.py?"),
        (".", 2, "is no run"),
        ("nets:Empty", 2, "nets:Empty has no parameters"),
        ("nets:Lazy", 2, "layers whose size only an input tells, such as layer.weight"),
        ("nets:Raises", 1, "cannot be made: AssertionError (nets.py, line"),
        ("nets:FromTheHub", 1, "wants to download from huggingface.co"),
    ],
)
def test_what_cannot_be_looked_at_is_said_in_a_sentence(
    scaffold: Run, nets: Path, target: str, code: int, said: str
) -> None:
    result = scaffold("inspect", target)

    assert (result.code, said in result.err) == (code, True), result.err
    assert "Nothing was written" not in result.err  # who only looks has not feared it


def test_a_model_that_is_made_already_is_shown(scaffold: Run, nets: Path) -> None:
    assert json.loads(scaffold("inspect", "nets:made", "--json").out)["parameters"] == 8 + 3


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no groups of processes")
@pytest.mark.parametrize("ends", [True, False])
def test_what_a_constructor_starts_ends_with_it(scaffold: Run, nets: Path, ends: bool) -> None:
    result = scaffold(
        "inspect", "nets:Starts", "--kw", f"ends={str(ends).lower()}", "--seconds", "60" if ends else "20"
    )

    assert result.code == (0 if ends else 1), result.err
    for _ in range(100):
        try:
            os.kill(int((nets / "child").read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("it is still there")


def test_a_vision_transformer_of_timm_has_its_blocks_as_stages(scaffold: Run, nets: Path) -> None:
    pytest.importorskip("timm")
    deep, group = "backbone.blocks.0.attn", "backbone.blocks.0.attn=0.1"
    result = scaffold("inspect", "timm:test_vit", "--group", group, "--group", "backbone=0.5", "--json")

    found = json.loads(result.out)
    assert [*found["stages"]] == ["stem", "block1", "block2", "block3", "block4", "block5", "block6"]
    held = {one["name"]: one["parameters"] for one in found["groups"]}
    assert list(held) == [deep, "backbone", "rest"]
    assert sum(held.values()) == found["parameters"]


def test_what_a_model_prints_is_not_taken_for_the_answer(scaffold: Run, nets: Path) -> None:
    assert json.loads(scaffold("inspect", "nets:Prints", "--json").out)["parameters"] == 6


def test_many_tensors_are_shown_at_once(nets: Path) -> None:
    shapes = {f"layers.{block}.w{number}": [2, 2] for block in range(2000) for number in range(10)}
    begin = time.process_time()

    shown = as_text(of_tensors("w.safetensors", shapes), [], 0.0, depth=2)

    assert "80,000 parameters" in shown
    assert time.process_time() - begin < 5  # half a second; 100 when each layer looked at every tensor


@pytest.mark.parametrize(
    "typed",
    [
        ["body.0=0.1", "body=0.5", "head=1"],
        ["body.0=0.1", "head=1"],
        ["body=0.5", "rest=0.2"],
        ["body.1.b=freeze", "body.1=0.5", "backbone=0.3"],
    ],
)
def test_what_is_said_to_be_typed_gives_these_groups_in_a_project(typed: list[str]) -> None:
    names = [*(f"body.{block}.{part}.weight" for block in (0, 1) for part in "ab"), "head.weight", "other.weight"]
    model = of_tensors("w.safetensors", {name: [2, 2] for name in names})
    tried = read_groups(typed, "w", model.facts(), has_head=True)

    words = shlex.split(as_text(model, tried, 0.0, depth=1).splitlines()[-1].partition(": ")[2])[1::2]

    # of a model that a project knows no layers of, each path belongs to one group, and the others are the rest
    made = read_groups(words, "w", None, has_head=True)
    assert made[-1]["layers"] == ["rest"]
    assert {one["name"]: (one["lr"], one["layers"]) for one in made[:-1]} == {
        one["name"]: (one["lr"], one["layers"]) for one in tried if one["name"] != "rest"
    }
    assert made[-1]["lr"] == next((one["lr"] for one in tried if one["name"] == "rest"), 1.0)


@pytest.mark.parametrize("header", ["[]", "[" * 100_000, '{"a": {"shape": [-3]}}', '{"a": 1}'])
def test_a_header_that_is_none_is_damage(header: str, scaffold: Run, nets: Path) -> None:
    (nets / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())

    result = scaffold("inspect", "w.safetensors")

    assert (result.code, "is damaged" in result.err) == (2, True), result.err


def test_a_constructor_that_takes_too_long_is_stopped(scaffold: Run, nets: Path) -> None:
    result = scaffold("inspect", "nets:Slow", "--seconds", "1")

    assert (result.code, "was not made within 1 seconds" in result.err) == (1, True)


def test_a_pickle_is_never_opened(scaffold: Run, nets: Path) -> None:
    code = b"cposix\nsystem\n(S'touch opened'\ntR."
    (nets / "w.pt").write_bytes(code)

    result = scaffold("inspect", "w.pt")

    assert (result.code, "is a pickle" in result.err) == (2, True)
    assert not (nets / "opened").exists()


def test_the_header_of_safetensors_is_enough(scaffold: Run, nets: Path) -> None:
    shapes = {"stem.weight": [8, 3, 3, 3], "fc.weight": [10, 8], "fc.bias": [10]}
    header = json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    )
    (nets / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    (nets / "cut.safetensors").write_bytes(struct.pack("<Q", 10_000) + header.encode())

    found = json.loads(scaffold("inspect", "w.safetensors", "--json").out)
    cut = scaffold("inspect", "cut.safetensors")

    assert (found["parameters"], found["head"]) == (216 + 80 + 10, ["fc"])
    assert (cut.code, "damaged, cut short" in cut.err) == (2, True)


def test_layers_within_layers_of_a_file_can_be_groups(scaffold: Run, nets: Path) -> None:
    names = ["head.weight", *(f"layers.{block}.{part}.weight" for block in (0, 1, 10, 2) for part in ("attn", "mlp"))]
    header = json.dumps({name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 0]} for name in names})
    (nets / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())

    result = scaffold("inspect", "w.safetensors", "--group", "layers.1=0.1", "--group", "layers=0.5")

    assert result.code == 0, result.err
    words = [line.split() for line in result.out.splitlines()]
    assert ["layers.1", "0.1", "8", "22.2", "%", "layers.1"] in words
    assert ["layers", "0.5", "24", "66.7", "%", "layers.0", "layers.2", "layers.10"] in words
    assert ["head", "4", "11.1", "%", "head"] in words
    assert words[-1][3:] == ["--group", "layers.1=0.1", "--group", "layers:layers.0+layers.2+layers.10=0.5"]


def test_a_file_without_a_head_can_have_groups(scaffold: Run, nets: Path) -> None:
    names = ["a.weight", "b.weight", "c.num_batches_tracked"]
    header = json.dumps({name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 0]} for name in names})
    (nets / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())

    result = scaffold("inspect", "w.safetensors", "--group", "a=0.1")

    assert result.code == 0, result.err
    assert ["a", "0.1", "4", "33.3", "%", "a"] in [line.split() for line in result.out.splitlines()]


def test_a_run_is_shown_with_its_groups_and_one_of_before_the_engine_is_told(
    scaffold: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = render_project(here / "p", groups_from="fine-tune")
    with (project / ".copier-answers.yml").open("a") as file:
        file.write("_commit: v0.5.0\n")
    train = [sys.executable, "-m", "p.train", "--epochs", "1", "--batch-size", "1024"]
    subprocess.run(train, cwd=project, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    monkeypatch.chdir(project)

    shown = json.loads(scaffold("inspect", "run/1", "--json").out)
    (project / "p" / "engine").rename(project / "p" / "machinery")
    before = scaffold("inspect", "run/1")

    assert [(group["name"], group["lr"]) for group in shown["groups"]] == [("backbone", 0.1), ("head", 1.0)]
    assert shown["parameters"] == 94_762
    assert before.code == 2
    assert "from before 0.4 cannot be looked at; bring it up to date (scaffold update)" in before.err
