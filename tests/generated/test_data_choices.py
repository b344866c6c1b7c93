"""The choice of data: what goes with what, what is refused how, and that a project of each learns and can be asked."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scaffold.errors import BadAnswer
from scaffold.questions.form import Form
from scaffold.trials.rendered import OWN_DATA, write_own
from tests.conftest import Run
from tests.generated.rendered import importable, own_tests, render_project


def fill(form: Form, **answers: Any) -> dict[str, Any]:
    """Every answer and fact of a project with these."""
    return form.fill(answers, "p")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A module of a project's package with these words."""
    command = [sys.executable, "-m", f"{folder.name}.{words[0]}", *words[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def test_the_default_is_what_projects_had_before(form: Form) -> None:
    assert fill(form)["data"] == fill(form, task="metric_learning")["data"] == "folders"
    assert fill(form, task="regression")["data"] == fill(form, task="multi_label")["data"] == "image_table"
    assert fill(form)["model"] == "cnn"
    assert fill(form, data="features")["model"] == "mlp"


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"task": "regression", "data": "folders"}, "folders give classes, and regression learns numbers"),
        ({"task": "multi_label", "data": "folders"}, "folders give classes, and multi_label learns labels"),
        ({"data": "features", "model": "cnn"}, "it takes images, and these data are features"),
        ({"data": "features", "model": "resnet50"}, "it takes images, and these data are features"),
        ({"data": "features", "model": "vit"}, "it takes images, and these data are features"),
        ({"data": "pictures"}, "has no 'pictures'"),
        ({"data": "own", "data_class": "Items"}, "does not name a class"),
        ({"data": "own", "data_class": "my.class:Items"}, "Python keyword"),
    ],
)
def test_what_does_not_go_together_is_refused(form: Form, answers: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadAnswer, match=sentence):
        fill(form, **answers)


def test_plain_copier_refuses_a_cnn_for_features_too(tmp_path: Path) -> None:
    from copier import run_copy

    from scaffold import paths

    answers = {"project_name": "p", "data": "features", "model": "cnn"}
    with pytest.raises(ValueError, match="it takes images, and these data are features"):
        run_copy(str(paths.template_root()), tmp_path / "p", data=answers, defaults=True, quiet=True, vcs_ref="HEAD")

    assert not (tmp_path / "p").exists()


def test_a_class_of_ones_own_is_said_by_the_flag(scaffold: Run, here: Path) -> None:
    result = scaffold("new", "p", "--data", "my.sets:Items", "--yes", "--no-git")

    assert result.code == 0, result.err
    assert "from my.sets import Items" in (here / "p" / "p" / "data.py").read_text()
    assert "--data my.sets:Items" in (here / "p" / "README.md").read_text()
    assert not (here / "p" / "p" / "digits.npz").exists()


# A project, with the least that its best metric has to come to, and what is predicted.
LEARNS = [
    ({"data": "image_table"}, 0.97, "images/0001.png"),
    ({"data": "arrays"}, 0.97, "val.npz"),
    ({"data": "features"}, 0.95, "val.npz"),
]


@pytest.mark.parametrize(("flags", "least", "example"), LEARNS, ids=lambda value: str(value))
def test_the_data_that_ship_are_learned(tmp_path: Path, flags: dict[str, str], least: float, example: str) -> None:
    project = render_project(tmp_path / "digits", **flags)

    trained = run(project, "train", "--num-workers", "0")
    measured = run(project, "evaluate", "run/1")
    told = run(project, "predict", "run/1", f"data/digits/{example}")

    assert trained.returncode == 0, trained.stderr
    accuracy = next(line.split()[1] for line in measured.stdout.splitlines() if line.startswith("accuracy"))
    assert float(accuracy) >= least
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == (1 if example.endswith(".png") else 355)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("model", ["cnn", "vit", "resnet18", "mlp"])
def test_every_model_takes_any_number_of_channels(tmp_path: Path, model: str, channels: int) -> None:
    import torch

    project = render_project(tmp_path / "taken", data="arrays", model=model)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 8, 8, channels), dtype=np.uint8)
    np.savez(tmp_path / "train", inputs=pixels, targets=np.arange(24) % 2)

    with importable(project) as module:
        data, opt = module("data"), module("options").Options(data_dir=str(tmp_path))
        train_set = data.MyDataset(tmp_path / "train", opt)
        net = module("model").build_model(opt, train_set.facts)
        images = torch.stack([train_set[number][0] for number in range(len(train_set))])
        logits, embedding = net(data.normalise(images, train_set.facts))

    assert train_set.facts["channels"] == channels
    assert logits.shape == (len(train_set), 2)
    assert len(embedding) == len(train_set)
    ours = np.array(train_set.facts["mean"]) != np.array([123.675, 116.28, 103.53][:channels] + [0] * (channels - 3))
    assert channels == 3 or ours.all()


def test_a_table_that_is_wrong_leaves_no_run_behind(tmp_path: Path) -> None:
    project = render_project(tmp_path / "table", data="image_table")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.csv").write_text("image,label\na.png,cat\nb.png,dog\nc.png,dog\nd.png,cat\n")

    ended = run(project, "train", "--data-dir", str(tmp_path / "data"))

    assert ended.returncode == 2
    assert "names 4 files not there, or no image" in ended.stderr
    assert all(f"{name}.png" in ended.stderr for name in "abc")
    assert "d.png" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (project / "run").exists()


ROWS = [("image", "kind"), *((f"in/{number}.png", "dog" if number % 2 else "hot dog") for number in range(8))]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(",".join(row) for row in ROWS),
        "\ufeff" + "\r\n".join(";".join(row) for row in ROWS),
        "\n".join("\t".join(row) for row in ROWS) + "\n\n",
        "\n".join(", ".join(f'"{value}"' for value in row) for row in ROWS),
        "\n".join(f"{number or ''},{','.join(row)}," for number, row in enumerate(ROWS)),
        "\n".join(",".join(row).replace("/", "\\") for row in ROWS),
    ],
    ids=["commas", "semicolons", "tabs", "quotes and spaces", "columns without a name", "backslashes"],
)
def test_tables_are_read_as_programs_write_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "all" / "in").mkdir(parents=True)
    for name, _ in ROWS[1:]:
        Image.new("RGB", (8, 8), (len(name), 0, 9)).save(tmp_path / "all" / name)
    (tmp_path / "all" / "table.csv").write_bytes(text.encode())

    with importable(render_project(tmp_path / "table", data="image_table")) as module:
        found = module("data").MyDataset(tmp_path / "all", module("options").Options())

    assert found.facts["classes"] == ["dog", "hot dog"]
    assert found.labels.tolist() == [1, 0] * 4
    assert [os.path.relpath(path, tmp_path / "all") for path in found.paths] == [name for name, _ in ROWS[1:]]


@pytest.mark.parametrize("task", ["classification", "regression", "multi_label"])
def test_an_image_that_is_named_twice_is_never_on_both_sides(tmp_path: Path, task: str) -> None:
    project = render_project(tmp_path / "table", task=task, data="image_table")
    lines = ["image,a", *(f"{number}.png,{number % 2}" for number in range(20)), "./0.png,0"]
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 9)).save(tmp_path / f"{number}.png")
    (tmp_path / "table.csv").write_text("\n".join(lines))

    with importable(project) as module:
        with pytest.raises(
            module("engine").RunError, match=r"names .*0\.png again: one would be trained on and the oth"
        ):
            module("data").MyDataset(tmp_path / "train", module("options").Options())
        for split in ("train", "val"):  # copies may weigh more
            (tmp_path / f"{split}.csv").write_text("\n".join(lines))
        assert len(module("data").MyDataset(tmp_path / "train", module("options").Options())) == 21


@pytest.mark.parametrize(
    ("data", "other"),
    [
        ("folders", "valid/dog/a.png"),
        ("folders", "validation/dog/a.png"),
        ("image_table", "valid.csv"),
        ("arrays", "valid.npz"),
        ("features", "valid.npz"),
    ],
)
def test_data_for_validation_by_another_name_are_not_passed_over(tmp_path: Path, data: str, other: str) -> None:
    for number in range(8):
        (tmp_path / "train" / "abc"[number % 3]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 9)).save(tmp_path / "train" / "abc"[number % 3] / f"{number}.png")
    rows = [f"train/{'abc'[number % 3]}/{number}.png,{number % 2}" for number in range(8)]
    (tmp_path / "train.csv").write_text("\n".join(["image,a", *rows]))
    inputs = np.ones((8, 8, 8) if data == "arrays" else (8, 3))
    np.savez(tmp_path / "train.npz", inputs=inputs, targets=np.arange(8) % 2)
    (tmp_path / "valid_names.txt").write_text("no data\n")

    with importable(render_project(tmp_path / "p", data=data)) as module:
        read, opt = module("data").MyDataset, module("options").Options(data_dir=str(tmp_path))
        if data in ("arrays", "features"):
            (tmp_path / "train").rename(tmp_path / "pictures")
        assert len(read(tmp_path / "val", opt, read(tmp_path / "train", opt).facts)) > 0
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).touch()
        with pytest.raises(
            module("engine").RunError, match="would not be looked at: what is for validation is called val"
        ):
            read(tmp_path / "train", opt)


def test_an_image_of_two_classes_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "train.csv").write_text("image,kind\na.png,cat\nb.png,dog\na.png,dog\n")

    said = r"line 4 of .* names .*a\.png again, as dog; it is cat above"
    with (
        importable(render_project(tmp_path / "table", data="image_table")) as module,
        pytest.raises(module("engine").RunError, match=said),
    ):
        module("data").MyDataset(tmp_path / "train", module("options").Options())


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    project = render_project(tmp_path / "objects", data="features")
    (tmp_path / "data").mkdir()
    inputs = np.array([[1, "a"], [2, None]], dtype=object)
    np.savez(tmp_path / "data" / "train.npz", inputs=inputs, targets=[0, 1])

    ended = run(project, "train", "--data-dir", str(tmp_path / "data"))

    assert ended.returncode == 2
    assert "cannot be read as arrays of numbers or texts" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (project / "run").exists()


def test_arrays_that_could_only_become_nonsense_are_refused_or_read(tmp_path: Path) -> None:
    project = render_project(tmp_path / "odd", data="features")
    inputs = np.random.default_rng(0).normal(size=(40, 4))
    classes = np.array([b"cat", b"caf\xe9"] * 20)
    with importable(project) as module:

        def read(**arrays: Any) -> Any:
            np.savez(tmp_path / "train.npz", **{"inputs": inputs, "targets": classes, **arrays})
            return module("data").MyDataset(tmp_path / "train", module("options").Options())

        def said(**arrays: Any) -> str:
            with pytest.raises(module("engine").RunError) as problem:
                read(**arrays)
            return str(problem.value)

        assert read().facts["classes"] == ["caf\\xe9", "cat"]
        assert "too large or not finite" in said(inputs=inputs * 1e300)
        (tmp_path / "train").mkdir()
        np.save(tmp_path / "train" / "targets.npy", classes)
        (tmp_path / "train" / "inputs.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000
        )
        assert "inputs.npy cannot be read as arrays" in said()
        (tmp_path / "train" / "inputs.npy").unlink()
        os.mkfifo(tmp_path / "train" / "inputs.npy")
        assert "inputs.npy is not a file" in said()


def test_test_is_a_folder_to_evaluate_and_val_is_held_out_again(tmp_path: Path) -> None:
    project = render_project(tmp_path / "held", data="arrays")
    inputs = np.random.default_rng(0).integers(0, 255, (100, 8, 8), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "train", inputs=inputs, targets=np.arange(100) % 2)
    np.savez(tmp_path / "data" / "test", inputs=inputs[:30], targets=np.arange(30) % 2)
    flags = ["--data-dir", str(tmp_path / "data"), "--epochs", "1", "--batch-size", "16", "--num-workers", "0"]

    ended = run(project, "train", *flags)

    assert ended.returncode == 0, ended.stderr
    assert "80 images in" in ended.stderr
    assert "train (without those held out)" in ended.stderr
    assert "20 images in" in ended.stderr
    assert "val (held out of train)" in ended.stderr
    measured = run(project, "evaluate", "run/1").stdout
    assert "drawn      run/1/confusion.png" in measured
    assert (project / "run" / "1" / "confusion.png").stat().st_size > 0
    assert f"accuracy {float(measured.split('accuracy')[1].split()[0]):.4f}" in " ".join(ended.stderr.split())
    assert run(project, "evaluate", "run/1", "--folder", "test").returncode == 0
    other = run(project, "train", "--run", "1", "--held-out", "0.5", "--epochs", "2", *flags[:2])
    assert other.returncode != 0
    assert "--held-out" in other.stderr


def test_data_of_ones_own_are_trained_on(tmp_path: Path) -> None:
    project = render_project(tmp_path / "owned", data="my_data.items:Items")
    write_own(project, ("my_data.items", "Items"), OWN_DATA, unit="")

    assert "skipped" not in own_tests(project, "tests/test_data.py", "tests/test_train.py")


UNEQUAL = """
import torch


class Items:
    def __init__(self, folder, opt, facts):
        self.folder = folder
        self.facts = {"classes": ["a", "b"]}
        self.paths = [str(path) for path in sorted(folder.iterdir())]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, number):
        return torch.ones(3, 8, 8 + number // 4), number % 2
"""
COLLATE = """
    def collate(self, items):
        return torch.stack([inputs[:, :, :8] for inputs, _ in items]), torch.tensor([target for _, target in items])
"""


@pytest.mark.parametrize("collate", [False, True])
def test_items_of_several_shapes_need_a_collate_of_ones_own(tmp_path: Path, collate: bool) -> None:
    project = render_project(tmp_path / "owned", data="my_data.items:Items")
    (project / "my_data").mkdir()
    (project / "my_data" / "items.py").write_text(UNEQUAL + COLLATE * collate)
    for split, count in (("train", 8), ("val", 6)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "data" / split / str(number)).touch()
    flags = ["--data-dir", str(tmp_path / "data"), "--epochs", "1", "--batch-size", "4", "--num-workers", "0"]

    ended = run(project, "train", *flags)

    assert "Traceback" not in ended.stderr
    if not collate:
        assert ended.returncode == 2, ended.stderr
        assert "gives inputs of shape [3, 8, 9] in item 4 of" in ended.stderr
        assert "make them alike, or put items together in its collate(items)" in ended.stderr
        return
    assert ended.returncode == 0, ended.stderr
    assert run(project, "predict", "run/1", str(tmp_path / "data" / "val")).stdout.count("\n") == 6
    missing = run(project, "predict", "run/1", "nowhere")
    assert missing.returncode == 2
    assert missing.stderr.strip() == "error: nowhere cannot be read (No such file or directory)"


def test_images_may_be_normalised_more_than_once(tmp_path: Path) -> None:
    import torch

    project = render_project(tmp_path / "twice", data="arrays")
    images = torch.rand(2, 1, 4, 4)
    before = images.clone()

    with importable(project) as module:
        facts = {"channels": 1, "mean": [0.5], "std": [0.5]}
        one, two = (module("data").normalise(images, facts) for _ in range(2))

    assert torch.equal(images, before)
    assert torch.equal(one, two)
