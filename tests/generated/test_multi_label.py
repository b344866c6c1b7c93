"""Several labels for each item: metrics are those of scikit-learn, tables are read as they say, runs go on to the same bits."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from sklearn import metrics as sklearn
from torch import Tensor
from torch.nn import functional as F

from tests.generated.alone import Alone
from tests.generated.rendered import importable, own_tests, render_project

# torchvision announces that its decoders will move to another package
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")
Module = Callable[[str], ModuleType]
NAMES = ["cat", "dog", "cow", "never"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for several processes that accumulates gradients."""
    return render_project(
        tmp_path_factory.mktemp("of") / "labelled", task="multi_label", distributed="ddp", accumulate=2, logger="none"
    )


@pytest.fixture(scope="module")
def module(project: Path) -> Iterator[Module]:
    with importable(project) as modules:
        yield modules


def some(count: int) -> tuple[Tensor, Tensor]:
    """Logits, many of them equal, and labels (n, 4), of which the last is nobody's."""
    noise = torch.Generator().manual_seed(count)
    labels = (torch.rand(count, 4, generator=noise) < torch.tensor([0.5, 0.2, 0.1, 0.0])).float()
    return (torch.randn(count, 4, generator=noise) + labels).mul(2).round() / 2, labels


def measured(module: Module, logits: Tensor, labels: Tensor, process: Any, numbers: Tensor) -> Any:
    """The metrics after batches of seven of these images."""
    metrics = module("metrics").Metrics(process, {"labels": NAMES})
    for part in numbers.split(7):
        metrics.update((logits[part], None), labels[part], part)
    return metrics


@pytest.mark.parametrize("count", [40, 300])
def test_the_numbers_are_those_of_scikit_learn(module: Module, tmp_path: Path, count: int) -> None:
    logits, labels = some(count)
    metrics = measured(module, logits, labels, Alone(), torch.arange(count))

    values = metrics.compute()
    text = metrics.report()
    metrics.pictures(tmp_path)

    told, there = (logits >= 0).int().numpy(), labels.int().numpy()
    assert values == {
        "mAP": pytest.approx(sklearn.average_precision_score(there[:, :3], logits[:, :3].numpy(), average="macro")),
        "f1_micro": pytest.approx(sklearn.f1_score(there, told, average="micro", zero_division=0)),
        "f1_macro": pytest.approx(sklearn.f1_score(there[:, :3], told[:, :3], average="macro", zero_division=0)),
        "loss": pytest.approx(float(F.binary_cross_entropy_with_logits(logits.double(), labels.double()))),
    }
    precision, recall, f1, images = sklearn.precision_recall_fscore_support(there, told, zero_division=0)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    for number, name in enumerate(NAMES[:3]):
        average = sklearn.average_precision_score(there[:, number], logits[:, number].numpy())
        expected = [images[number], precision[number], recall[number], f1[number], average]
        assert [float(word) for word in lines[name]] == pytest.approx(expected, abs=5.1e-5)
    assert lines["never"] == ["0", "0.0000", "-", "-", "-"]
    assert "no image has them: never" in text
    assert f"over {count} images, {int((there.sum(axis=1) == 0).sum())} of them without a label" in text
    assert (tmp_path / "precision_recall.png").stat().st_size > 0


def test_batches_and_processes_do_not_matter(module: Module) -> None:
    logits, labels = some(41)
    once = measured(module, logits, labels, Alone(), torch.arange(41)).compute()
    others = [measured(module, logits, labels, Alone(), torch.arange(rank, 41, 3)) for rank in (1, 2)]

    class First(Alone):
        """The first of three processes, each with every third image."""

        def gather_rows(self, rows: Tensor) -> Tensor:
            name = "numbers" if rows.ndim == 1 else "labels" if bool(((rows == 0) | (rows == 1)).all()) else "logits"
            return torch.cat([rows, *(row for other in others for row in getattr(other, name))])

    assert measured(module, logits, labels, First(), torch.arange(0, 41, 3)).compute() == once


def test_data_without_any_label_are_no_number(module: Module) -> None:
    metrics = measured(module, torch.zeros(9, 4), torch.zeros(9, 4), Alone(), torch.arange(9))

    with pytest.raises(module("engine").RunError, match="no image to evaluate has a label"):
        metrics.compute()


def test_the_loss_is_that_of_torch(module: Module) -> None:
    logits, labels = some(40)
    options = module("options").Options
    bce = module("losses.bce").bce

    assert torch.equal(bce(logits, labels, options()), F.binary_cross_entropy_with_logits(logits, labels))
    for given in ((3.0,), (1.0, 2.0, 3.0, 4.0)):
        expected = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=torch.tensor(given))
        assert torch.equal(bce(logits, labels, options(pos_weight=given)), expected)


def test_a_wrong_number_of_weights_is_told_at_the_start(module: Module, tmp_path: Path) -> None:
    from torchvision.io import write_png

    write_png(torch.zeros(3, 8, 8, dtype=torch.uint8), str(tmp_path / "0.png"))
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("image,cat,dog,cow\n" + "0.png,1,0,1\n" * 10)
    for given in ((), (2.0,), (1.0, 2.0, 3.0)):
        opt = module("options").Options(pos_weight=given)
        assert "(everything with the label cat, cow)" in module("data").MyDataset(tmp_path / "train", opt).describe()
    with pytest.raises(module("engine").RunError, match="--pos-weight has 2 numbers, but there are 3 labels"):
        module("data").MyDataset(tmp_path / "train", module("options").Options(pos_weight=(1.0, 2.0)))


def test_each_label_has_its_share_of_what_is_held_out(module: Module, tmp_path: Path) -> None:
    """A label of three images among two hundred is in train whatever the seed."""
    from torchvision.io import write_png

    for number in range(200):
        write_png(torch.zeros(3, 8, 8, dtype=torch.uint8), str(tmp_path / f"{number}.png"))
    rows = [f"{number}.png,{'often' if number % 2 else ''}{';rare' if number < 3 else ''}" for number in range(200)]
    (tmp_path / "table.csv").write_text("\n".join(["image,labels", *rows]))
    for seed in range(8):
        opt = module("options").Options(seed=seed, image_size=8)
        train_set = module("data").MyDataset(tmp_path / "train", opt)
        val_set = module("data").MyDataset(tmp_path / "val", opt, train_set.facts)
        assert train_set.facts["labels"] == ["often", "rare"]
        assert train_set.labels.sum(dim=0)[1] == 2
        assert val_set.labels.sum(dim=0)[1] == 1
        assert len(val_set) == pytest.approx(40, abs=2)
        assert "(held out of train)" in val_set.describe()
        assert re.search(r"\(without a label: \d+\)", val_set.describe())


@pytest.mark.parametrize("marks", [("0", "1"), ("False", "True"), ("0.0", "1.0"), ("false", "true")])
@pytest.mark.parametrize("columns", [["cat"], ["cat", "dog"]])
def test_labels_are_marked_as_programs_write_them(
    module: Module, tmp_path: Path, marks: tuple[str, str], columns: list[str]
) -> None:
    from torchvision.io import write_png

    lines = []
    for number in range(4):
        write_png(torch.zeros(3, 8, 8, dtype=torch.uint8), str(tmp_path / f"{number}.png"))
        values = [marks[number >> place & 1] for place, _ in enumerate(columns)]
        lines.append(",".join(["7", f"{number}.png", *values]))
    (tmp_path / "table.csv").write_text("\n".join([",".join(["Unnamed: 0", "image", *columns]), *lines]))

    data = module("data").MyDataset(tmp_path, module("options").Options())

    assert data.facts["labels"] == columns
    assert "everything" not in data.describe()
    assert data.labels.tolist() == [[number >> place & 1 for place, _ in enumerate(columns)] for number in range(4)]


def test_what_is_predicted_are_the_labels_above_the_threshold(project: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", f"labelled.{words[0]}", *words[1:]]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("train", "--epochs", "1", "--num-workers", "0", "--run", "1")
    image = "data/digits/images/0000.png"
    for threshold in (0.0, 0.2, 1.0):
        told = run("predict", "run/1", image, "--threshold", str(threshold)).strip()
        found = [float(word) for word in re.findall(r"([\d.]+)%", told)]
        assert found == sorted(found, reverse=True)
        assert len(found) == 10 if not threshold else "no label (at most" in told or min(found) >= 100 * threshold


def test_the_project_s_own_tests_pass_and_it_goes_on_to_the_same_bits(project: Path) -> None:
    own_tests(project, *(f"tests/test_{name}.py" for name in ("data", "train", "resume", "ranks")))
