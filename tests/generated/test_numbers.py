"""The numbers of an evaluation: those of scikit-learn and pytorch-metric-learning, and what they leave out."""

import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn import metrics as sklearn
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from tests.generated.rendered import importable, render_project, write_images

Module = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def retrieval(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    project = render_project(tmp_path_factory.mktemp("numbers") / "retrieving", task="metric_learning", logger="none")
    with importable(project) as module:
        yield module


@pytest.fixture(scope="module")
def classifying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    project = render_project(tmp_path_factory.mktemp("numbers") / "classifying", logger="none")
    with importable(project) as module:
        yield module


def alone(module: Module) -> Any:
    """A process that is the only one."""
    return module("engine").Process(0, 1, torch.device("cpu"))


def test_recall_leaves_out_images_that_have_no_other_of_their_class(retrieval: Module) -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 2, 2, 3])
    metrics = retrieval("metrics").Metrics(alone(retrieval), {})

    metrics.update((None, embeddings), labels, torch.arange(6))

    assert metrics.compute() == {"recall@1": 2 / 4}  # of 0, 0, 2, 2; 1 and 3 are alone
    metrics = retrieval("metrics").Metrics(alone(retrieval), {})
    metrics.update((None, embeddings[:3]), torch.arange(3), torch.arange(3))
    with pytest.raises(retrieval("engine").RunError, match="no image to evaluate has another of its class"):
        metrics.compute()


def test_how_many_images_recall_leaves_out_is_told_when_a_run_starts(retrieval: Module, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    for number in range(1, 5):
        (images / "val" / "class3" / f"{number}.png").unlink()
    opt = retrieval("options").Options(data_dir=str(images))

    train_set, val_set = retrieval("data").load_data(opt, alone(retrieval))

    assert "without another" not in train_set.describe()
    assert "(without another of their class: 1)" in val_set.describe()


def numbers(text: str) -> dict[str, float]:
    """The lines of a name and a number."""
    return {name: float(value) for name, value in re.findall(r"^(\S+) +(\d\.\d{4})$", text, re.MULTILINE)}


@pytest.mark.parametrize("classes", [3, 10, 30])
def test_a_classifier_s_numbers_are_those_of_scikit_learn(classifying: Module, tmp_path: Path, classes: int) -> None:
    noise = torch.Generator().manual_seed(classes)
    labels = torch.randint(0, classes - 1, (200,), generator=noise)  # the last class has no image
    logits = torch.randn(200, classes, generator=noise) + 2 * F.one_hot(labels, classes)
    metrics = classifying("metrics").Metrics(alone(classifying), {"classes": [f"class{n}" for n in range(classes)]})
    for part in torch.arange(200).split(64):
        metrics.update((logits[part], None), labels[part], part)

    values, predicted = metrics.compute(), logits.argmax(dim=1)
    text = metrics.report()
    metrics.pictures(tmp_path)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an image may be taken for the class that has none
        assert values == {
            "accuracy": pytest.approx(sklearn.accuracy_score(labels, predicted)),
            "balanced_accuracy": pytest.approx(sklearn.balanced_accuracy_score(labels, predicted)),
            "loss": pytest.approx(sklearn.log_loss(labels, logits.softmax(1), labels=range(classes)), rel=1e-6),
        }
    precision, recall, f1, images = sklearn.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    first = text[text.index("class  ") :].splitlines()[1 : classes + 1]
    for number, line in enumerate(first):
        name, *told = line.split()
        assert name == f"class{number}"
        expected = [images[number], precision[number], recall[number], f1[number]]
        assert [float(word) for word in told] == pytest.approx(expected, abs=5.1e-5)
    told = numbers(text)
    error = multiclass_calibration_error(logits.double().softmax(1), labels, classes, n_bins=15, norm="l1")
    assert told["calibration_error"] == pytest.approx(float(error), abs=5.1e-5)
    if classes > 10:
        top5 = sklearn.top_k_accuracy_score(labels, logits, k=5, labels=range(classes))
        assert told["top5_accuracy"] == pytest.approx(top5, abs=5.1e-5)
        assert "predicted:" not in text
    else:
        assert "top5_accuracy" not in told
        table = text[text.index("true, predicted:") :].splitlines()[1:]
        matrix = [[int(word) for word in row.split()[1:]] for row in table]
        assert matrix == sklearn.confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    assert (tmp_path / "confusion.png").stat().st_size > 0


def test_confidences_at_the_edge_of_a_bin_are_in_the_one_below(classifying: Module) -> None:
    """As Guo et al. have it: above one edge, up to the next; full confidence is in the last one."""
    report = classifying("report")
    bins = report.calibration_bins(torch.tensor([[900.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))

    assert bins[:, -1].tolist() == [1, 1, 1]
    assert bins[:, 7].tolist() == [1, 0, 0.5]  # from 7/15 to 8/15
    assert report.calibration_error(bins) == pytest.approx(0.25)


@pytest.mark.parametrize("gallery", [False, True])
def test_a_search_s_numbers_are_those_of_pytorch_metric_learning(retrieval: Module, gallery: bool) -> None:
    noise = torch.Generator().manual_seed(7)
    labels, known_labels = (torch.randint(0, 80, (count,), generator=noise) for count in (600, 300))
    embeddings, known = (
        torch.randn(80, 6, generator=torch.Generator().manual_seed(1))[each]
        + torch.randn(len(each), 6, generator=noise)
        for each in (labels, known_labels)
    )
    labels[:3] = torch.tensor([90, 91, 92])  # nothing has their class
    order = torch.randperm(600, generator=noise)  # as processes may have them
    Metrics = retrieval("metrics").Metrics
    metrics = Metrics(alone(retrieval), {})
    for part in order.split(100):
        metrics.update((None, embeddings[part]), labels[part], part)
    if gallery:
        metrics.gallery = Metrics(alone(retrieval), {})
        metrics.gallery.update((None, known), known_labels, torch.arange(300))

    values = metrics.compute() | numbers(metrics.report())

    theirs = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision", "mean_average_precision_at_r"),
        k=None,
        knn_func=CustomKNN(CosineSimilarity()),
    ).get_accuracy(embeddings, labels, *((known, known_labels) if gallery else ()))
    assert values["recall@1"] == pytest.approx(theirs["precision_at_1"])
    assert values["mAP"] == pytest.approx(theirs["mean_average_precision"], abs=5.1e-5)
    assert values["MAP@R"] == pytest.approx(theirs["mean_average_precision_at_r"], abs=5.1e-5)
    recalls, averages = by_hand(embeddings, labels, (known, known_labels) if gallery else None)
    assert values["recall@5"] == pytest.approx(recalls[5], abs=5.1e-5)
    assert values["recall@10"] == pytest.approx(recalls[10], abs=5.1e-5)
    assert values["mAP"] == pytest.approx(averages, abs=5.1e-5)
    assert re.search(r"^left out: (\d+) images", metrics.report(), re.MULTILINE)


def by_hand(
    embeddings: Tensor, labels: Tensor, gallery: tuple[Tensor, Tensor] | None
) -> tuple[dict[int, float], float]:
    """Recall at 5 and 10, and the mean of scikit-learn's average precision, image by image."""
    known, classes = gallery or (embeddings, labels)
    found: dict[int, list[bool]] = {5: [], 10: []}
    averages = []
    for number in range(len(labels)):
        keep = torch.ones(len(known), dtype=torch.bool)
        if gallery is None:
            keep[number] = False
        similarity = F.cosine_similarity(known[keep], embeddings[number][None])
        right = classes[keep] == labels[number]
        if not right.any():
            continue
        for rank, each in found.items():
            each.append(bool(right[similarity.topk(rank).indices].any()))
        averages.append(sklearn.average_precision_score(right, similarity))
    return {rank: sum(each) / len(each) for rank, each in found.items()}, sum(averages) / len(averages)


def test_queries_are_looked_up_in_a_gallery(
    retrieval: Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes are known by their names, also those that train lacks; a class of one query is no reason to leave it out."""
    images = write_images(tmp_path / "images")
    for split, names in {"query": ("class1", "new b"), "gallery": ("new a", "new b", "class1", "class0")}.items():
        for name in names:
            place = images / "train" / {"new a": "class2", "new b": "class3"}.get(name, name)
            shutil.copytree(place, images / split / name)
    for number in range(1, 12):
        (images / "query" / "class1" / f"{number}.png").unlink()
    opt = retrieval("options").Options(
        data_dir=str(images), run_dir=str(tmp_path / "run"), run=1, epochs=1, batch_size=16, num_workers=0
    )
    Arguments = retrieval("evaluate").Arguments
    with retrieval("engine").Process.start(opt) as process:
        retrieval("train").train(opt, process)
        capsys.readouterr()
        retrieval("evaluate").evaluate_run(
            Arguments(tmp_path / "run" / "1", folder="query", gallery="gallery"), process
        )
        found = capsys.readouterr().out
        retrieval("evaluate").evaluate_run(Arguments(tmp_path / "run" / "1", folder="query"), process)
        alike = capsys.readouterr().out

    # each query is in the gallery too, and the nearest to itself
    assert numbers(found)["recall@1"] == 1
    assert "over 13 images, each looked up among 48" in found
    assert "left out" not in found
    assert "over 12 images, each looked up among 12" in alike
    assert "left out: 1 image " in alike


opened: list[str] | None = None


def note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if opened is not None and event in ("open", "os.listdir", "os.scandir"):
        opened.append(str(arguments[0]))


def test_training_never_looks_at_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = render_project(tmp_path / "untested", logger="none")
    images = write_images(tmp_path / "images")
    (images / "test" / "another class").mkdir(parents=True)
    (images / "test" / "another class" / "broken.png").write_text("no image")
    sys.addaudithook(note_opened)  # for good
    with importable(project) as module:
        opt = module("options").Options(
            data_dir=str(images), run_dir=str(tmp_path / "run"), epochs=2, batch_size=16, num_workers=0
        )
        seen: list[str] = []
        monkeypatch.setitem(globals(), "opened", seen)
        with module("engine").Process.start(opt) as process:
            module("train").train(opt, process)
        monkeypatch.setitem(globals(), "opened", None)

    assert any(str(images / "val") in path for path in seen)
    assert [path for path in seen if str(images / "test") in path] == []
