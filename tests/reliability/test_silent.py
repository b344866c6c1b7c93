"""What changed since a run was stopped (data, sources, machine) is refused or told, and nothing of a model is lost."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.io import encode_png, read_image

from tests.conftest import tree
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import (
    Change,
    Project,
    checkpoints,
    metrics,
    outcome,
    steps,
    write_images,
    write_png,
)
from tests.reliability.test_damage import resealed

CHANGED = pytest.mark.figure(
    "C3 what changed between stop and resume",
    "data, classes, sources, the processor, a folder that moved: refused or told, or the same",
)

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "2", "--agree-every", "1"]
STEP = 2  # of six, after which the run was stopped


def remove(data: Path) -> None:
    (data / "train" / "class1" / "3.png").unlink()


def add(data: Path) -> None:
    shutil.copy(data / "train" / "class1" / "3.png", data / "train" / "class2" / "more.png")


def replace_one(data: Path) -> None:
    write_png(data / "train" / "class1" / "3.png", [[[250, 0, 0]] * 8] * 8)


def swap_classes(data: Path) -> None:
    one, two = data / "train" / "class1", data / "train" / "class2"
    one.rename(data / "aside")
    two.rename(one)
    (data / "aside").rename(two)


def prune_val(data: Path) -> None:
    (data / "val" / "class3" / "0.png").unlink()


def instead(path: Path, old: str, new: str) -> None:
    """Puts something else where this stands in a text for the first time."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def move_a_box(data: Path) -> None:
    instead(data / "train" / "1.txt", " 0.2", " 0.3")


def exchange_a_class(data: Path) -> None:
    instead(data / "train" / "1.txt", "1 0.", "0 0.")


def remove_with_boxes(data: Path) -> None:
    for kind in ("png", "txt"):
        (data / "train" / f"1.{kind}").unlink()


def add_with_boxes(data: Path) -> None:
    for kind in ("png", "txt"):
        shutil.copy(data / "train" / f"1.{kind}", data / "train" / f"more.{kind}")


def prune_val_with_boxes(data: Path) -> None:
    for kind in ("png", "txt"):
        (data / "val" / f"1.{kind}").unlink()


def paint_over_a_mask(data: Path) -> None:
    """Exchanges the classes in a mask whose file stays as large."""
    for path in sorted((data / "train" / "masks").iterdir()):
        mask = read_image(str(path))
        painted = encode_png((3 - mask) % 3).numpy().tobytes()
        if mask.any() and len(painted) == path.stat().st_size:
            path.write_bytes(painted)
            return
    raise AssertionError("they would all be of another size")


def remove_with_a_mask(data: Path) -> None:
    for kind in ("images", "masks"):
        (data / "train" / kind / "1.png").unlink()


def add_with_a_mask(data: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(data / "train" / kind / "1.png", data / "train" / kind / "more.png")


def prune_val_with_masks(data: Path) -> None:
    for kind in ("images", "masks"):
        (data / "val" / kind / "1.png").unlink()


def change_a_line(data: Path) -> None:
    instead(data / "train.txt", "abcdefg", "gfedcba")


def write_more(data: Path) -> None:
    with (data / "train.txt").open("a") as file:
        file.write("abcdefg" * 30)


def prune_the_val_text(data: Path) -> None:
    (data / "val.txt").write_text((data / "val.txt").read_text()[:-200])


def exchange_a_label(data: Path) -> None:
    instead(data / "table.csv", "1.png,train,label0", "1.png,train,label1")


def remove_a_row(data: Path) -> None:
    instead(data / "table.csv", "1.png,train,label0\n", "")


def prune_val_in_the_table(data: Path) -> None:
    instead(data / "table.csv", "49.png,val,label0\n", "")


def exchange_a_negative(data: Path) -> None:
    instead(data / "train.csv", "0.png,4.png,3.png", "0.png,4.png,2.png")  # by then all images are known


def remove_a_triplet(data: Path) -> None:
    instead(data / "train.csv", "0.png,4.png,1.png\n", "")


def add_a_triplet(data: Path) -> None:
    with (data / "train.csv").open("a") as file:
        file.write("0.png,8.png,2.png\n")


def prune_val_of_triplets(data: Path) -> None:
    instead(data / "val.csv", "20.png,24.png,21.png\n", "")


def training(then: int, now: int) -> str:
    """What is said of items to train on."""
    return f"the training data of run 1 have changed since its last checkpoint ({then} items then, {now} now)"


def evaluated(then: int, now: int) -> str:
    """What is said of items to evaluate."""
    return f"the data to evaluate of run 1 have changed since its last checkpoint ({then} items then, {now} now)"


CHANGES: dict[str, dict[Callable[[Path], None], str]] = {
    "single": {
        remove: training(48, 47),
        add: training(48, 49),
        replace_one: training(48, 48),
        swap_classes: training(48, 48),
        prune_val: evaluated(20, 19),
    },
    "boxes": {
        move_a_box: training(48, 48),
        exchange_a_class: training(48, 48),
        remove_with_boxes: training(48, 47),
        add_with_boxes: training(48, 49),
        prune_val_with_boxes: evaluated(20, 19),
    },
    "masks": {
        paint_over_a_mask: training(48, 48),
        remove_with_a_mask: training(48, 47),
        add_with_a_mask: training(48, 49),
        prune_val_with_masks: evaluated(20, 19),
    },
    "words": {
        change_a_line: training(384, 384),
        write_more: training(384, 398),
        prune_the_val_text: evaluated(160, 148),
    },
    "labels": {
        exchange_a_label: training(48, 48),
        remove_a_row: training(48, 47),
        prune_val_in_the_table: evaluated(20, 19),
    },
    "triplets": {
        exchange_a_negative: training(48, 48),
        remove_a_triplet: training(48, 47),
        add_a_triplet: training(48, 49),
        prune_val_of_triplets: evaluated(20, 19),
    },
}
# Those of the newer tasks that are tried on every commit: in data of their own, whose files all stay as large.
SAMPLE = [move_a_box, paint_over_a_mask, change_a_line]


def content(work: Path) -> dict[str, bytes]:
    """All files of the run but its lock and its log."""
    return {name: data for name, data in tree(work / "run").items() if Path(name).name not in ("lock", "train.log")}


def stopped(project: Project, work: Path) -> list[str]:
    """Stops a run of data of its own; returns its flags."""
    flags = [*EPOCHS, "--data-dir", str(work / "data")]
    shutil.copytree(project.images, work / "data")
    where = {"package": project.package, "where": "step", "time_": STEP, "number": signal.SIGTERM}
    assert 128 + signal.SIGTERM in project.run(work, *flags, faults=[("signal_in", where)]).codes
    assert steps(work) == [STEP]
    return flags


def seal(work: Path, **noted: object) -> None:
    """Changes what the checkpoint says of where it was made; None takes it out."""
    manifest = checkpoints(work) / str(STEP) / "MANIFEST.json"
    said = json.loads(manifest.read_text())
    said["fingerprint"].update(noted)
    said["fingerprint"] = {name: value for name, value in said["fingerprint"].items() if value is not None}
    manifest.write_text(json.dumps(said))
    resealed(manifest.parent)


def refused_until_one_says_what_to_do(project: Project, work: Path, change: Callable[[Path], None], said: str) -> None:
    """Changes the data of a stopped run, types the same command, and then what that says."""
    flags = stopped(project, work)
    change(work / "data")
    before = content(work)

    ended = project.run(work, *flags)
    kept = content(work)
    goes_on = project.run(work, *flags, "--data-changed")
    again = project.run(work, *flags)

    start = f"{'python' if project.ranks == 1 else 'torchrun ...'} -m {project.package}.train"
    assert ended.code == 4, ended.said
    assert "Traceback" not in ended.said
    line = next(line for line in ended.said.splitlines() if "To go on with them: " in line)
    assert f"{said}. To go on with them: {start} --run 1 " in line
    go_on, _, begin = line.partition(f"{start} --run 1 ")[2].partition("   To begin anew: ")
    assert go_on.endswith(" --data-changed")
    assert begin == f"{start} {go_on.removesuffix(' --data-changed')} --new-run"
    assert kept == before
    assert goes_on.code == 0, goes_on.said
    assert f"{said}: the result will not be equal" in goes_on.said
    assert f"going on after step {STEP}" in goes_on.said
    assert again.code == 0, again.said  # the run is finished, and with these data
    assert "run 1 is finished" in again.said


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(
            name,
            change,
            id=f"{name}-{change.__name__}",
            marks=[pytest.mark.nightly] * (name != "single" and change not in SAMPLE),
        )
        for name, changes in CHANGES.items()
        for change in changes
    ],
)
@CHANGED
def test_data_that_changed_are_refused_until_one_says_what_to_do(
    project: Rendered, work: Path, name: str, change: Callable[[Path], None]
) -> None:
    refused_until_one_says_what_to_do(project(name), work, change, CHANGES[name][change])


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["rich", "sampler", "ddp_plain", "fsdp_plain"])
@CHANGED
def test_data_that_changed_are_refused_in_every_mode(
    project: Rendered, work: Path, name: str, figure: Callable[..., None]
) -> None:
    for change, said in CHANGES["single"].items():
        refused_until_one_says_what_to_do(project(name), work / change.__name__, change, said)

    tried = len(CHANGES["single"])
    figure("B12 changed settings", f"{name}: data that changed: refused, or taken when asked", tried, tried)


@CHANGED
def test_data_that_have_moved_are_the_same(project: Rendered, work: Path) -> None:
    single = project("single")
    flags = stopped(single, work)
    (work / "data").rename(work / "elsewhere")

    ended = single.run(work, *flags[:-1], str(work / "elsewhere"))

    assert ended.code == 0, ended.said
    assert "have changed" not in ended.said


@CHANGED
def test_classes_that_were_added_need_a_new_run(project: Rendered, work: Path) -> None:
    single = project("single")
    flags = stopped(single, work)
    shutil.copytree(work / "data" / "train" / "class0", work / "data" / "train" / "class9")

    ended = single.run(work, *flags, "--data-changed")

    assert ended.code == 4, ended.said
    assert "run 1 has the data's classes ['class0', 'class1', 'class2', 'class3'] and cannot go on with" in ended.said
    assert "To begin anew: python -m" in ended.said


@CHANGED
def test_a_run_of_an_older_version_takes_the_data_that_it_finds(project: Rendered, work: Path) -> None:
    single = project("single")
    flags = stopped(single, work)
    seal(work, data=None, source=None, cpu=None)
    remove(work / "data")

    ended = single.run(work, *flags)
    prune_val(work / "data")
    more = single.run(work, *flags, "--epochs", "3")

    assert ended.code == 0, ended.said
    assert "have changed" not in ended.said
    assert more.code == 4, more.said


@CHANGED
def test_sources_and_a_cpu_that_changed_are_told(project: Rendered, work: Path) -> None:
    single = project("single")
    flags = stopped(single, work)
    seal(work, cpu="x86_64 AVX9")
    comment: Change = (
        "PACKAGE/model.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n# x\n",
    )
    edited = single.changed(work / "edited", [comment])

    ended = edited.run(work, *flags)

    assert ended.code == 0, ended.said
    assert f"changed since the last checkpoint: {single.package}/model.py; the result may differ" in ended.said
    assert "cpu was x86_64 AVX9 and is " in ended.said


@CHANGED
def test_a_relative_data_folder_is_that_of_the_run(project: Rendered, work: Path) -> None:
    single = project("single")
    write_images(single.folder / "near")
    assert single.run(work, "--epochs", "1", "--data-dir", "near").code == 0
    elsewhere = single.changed(work / "elsewhere", [])  # which the evaluation is started in
    shutil.rmtree(elsewhere.folder / "near" / "val" / "class3")

    ended = elsewhere.run(work, str(work / "run" / "1"), module="evaluate")

    assert ended.code == 0, ended.said
    assert f"images in {single.folder / 'near' / 'val'}" in ended.said
    assert "class3                     5" in ended.said


# A model that counts in a buffer that state_dict leaves out, and in what it says of itself.
COUNTS: list[Change] = [
    ("PACKAGE/model.py", "from torch import Tensor, nn\n", "import torch\nfrom torch import Tensor, nn\n"),
    (
        "PACKAGE/model.py",
        "        super().__init__()\n",
        """        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.calls = 0
""",
    ),
    (
        "PACKAGE/train.py",
        "                    with process.autocast(opt):\n",
        """                    net.seen += images.mean()
                    net.calls += 1
                    images = images + net.seen * 0.01 + net.calls * 0.01
                    with process.autocast(opt):
""",
    ),
]
SAYS = """
    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]

    def forward("""


def test_what_a_model_keeps_beside_its_state_is_kept(project: Rendered, work: Path) -> None:
    single = project("single")
    says: Change = ("PACKAGE/model.py", "\n    def forward(", SAYS)
    cannot = (says[0], says[1], SAYS.replace('{"calls": self.calls}', "self"))
    counting = single.changed(work / "counting", [*COUNTS, says])
    flags = [*EPOCHS, "--ema-decay", "0.9"]
    assert counting.run(work / "undisturbed", *flags).code == 0
    where = {"package": single.package, "where": "forward", "time_": 5, "number": signal.SIGTERM}

    assert counting.run(work / "run", *flags, faults=[("signal_in", where)]).code == 128 + signal.SIGTERM
    assert counting.run(work / "run", *flags).code == 0
    refused = single.changed(work / "cannot", [*COUNTS, cannot]).run(work / "refused", *flags)

    assert outcome(work / "undisturbed").differs(outcome(work / "run")) == []
    assert refused.code == 2, refused.said
    assert (
        "a run cannot keep _extra_state of model, a Net" in refused.said
        or "a run cannot keep _extra_state" in refused.said
    )


# An optimizer that counts: per parameter, and in its groups, as schedule-free ones do.
COUNTING = """

class Counting(Optimizer):
    def __init__(self, groups, lr):
        super().__init__(groups, {"lr": lr, "turns": 0, "largest": -1.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["turns"] += 1
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                memory = self.state[parameter]
                memory["steps"] = memory.get("steps", 0) + 1
                memory["last"] = [parameter.grad.mean(), "a note"]
                mean = memory.setdefault("mean", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 / memory["steps"])
                group["largest"] = max(group["largest"], group["lr"])
                parameter.sub_(mean.sign() * (group["largest"] / group["turns"]))


def build_optimizer("""
COUNTS_ITS_STEPS: list[Change] = [
    ("PACKAGE/optim.py", "\n\ndef build_optimizer(", COUNTING),
    (
        "PACKAGE/optim.py",
        "    return torch.optim.AdamW(",
        "    return Counting(groups, lr=opt.lr)\n    return torch.optim.AdamW(",
    ),
]


@pytest.mark.parametrize("name", ["single", "fsdp_plain"])
def test_what_an_optimizer_remembers_beside_tensors_is_kept(project: Rendered, work: Path, name: str) -> None:
    made = project(name)
    plain = [
        (file, old, new.replace('[parameter.grad.mean(), "a note"]', "1.5")) for file, old, new in COUNTS_ITS_STEPS
    ]
    counting = made.changed(work / "counting", COUNTS_ITS_STEPS if name == "single" else plain)
    assert counting.run(work / "undisturbed", *EPOCHS).code == 0
    where = {"package": made.package, "where": "step", "time_": STEP, "number": signal.SIGTERM}

    assert 128 + signal.SIGTERM in counting.run(work / "run", *EPOCHS, faults=[("signal_in", where)]).codes
    assert counting.run(work / "run", *EPOCHS).code == 0

    assert outcome(work / "undisturbed").differs(outcome(work / "run")) == []


def test_what_an_optimizer_cannot_get_back_is_refused(project: Rendered, work: Path) -> None:
    changes = [(file, old, new.replace('"a note"', "print")) for file, old, new in COUNTS_ITS_STEPS]

    ended = project("single").changed(work / "counting", changes).run(work, *EPOCHS)

    assert ended.code == 2, ended.said
    assert "a run cannot keep what optimizer remembers: it takes tensors, numbers and texts" in ended.said
    assert "Traceback" not in ended.said


BY_LOSS: list[Change] = [
    ("PACKAGE/metrics.py", 'BEST = "accuracy"', 'BEST = "loss"'),
    ("PACKAGE/metrics.py", "MORE_IS_BETTER = True", "MORE_IS_BETTER = False"),
]


def test_the_best_of_another_metric_is_no_measure_for_a_new_one(project: Rendered, work: Path) -> None:
    single = project("single")
    where = {"package": single.package, "where": "step", "time_": 4, "number": signal.SIGTERM}
    flags = ["--epochs", "5", "--patience", "4"]
    assert single.run(work, *flags, faults=[("signal_in", where)]).code == 128 + signal.SIGTERM

    ended = single.changed(work / "by loss", BY_LOSS).run(work, *flags)

    assert ended.code == 0, ended.said
    losses = {row["step"]: row["val/loss"] for row in metrics(work, "val") if row["step"] > 4}
    state = json.loads((checkpoints(work) / "15" / "state.json").read_text())
    assert state["best"] == min(losses.values())
    assert losses[state["best_step"]] == state["best"]


def test_metrics_may_be_tensors_and_the_best_has_to_be_one_of_them(project: Rendered, work: Path) -> None:
    single, epoch = project("single"), ["--epochs", "1"]
    tensors: Change = ("PACKAGE/metrics.py", "int(correct.sum()) / count", "correct.sum() / count")
    unknown: Change = ("PACKAGE/metrics.py", 'BEST = "accuracy"', 'BEST = "acuracy"')
    assert single.run(work / "numbers", *epoch).code == 0

    ended = single.changed(work / "tensors", [tensors]).run(work / "tensors", *epoch)
    refused = single.changed(work / "unknown", [unknown]).run(work / "unknown", *epoch)

    assert ended.code == 0, ended.said
    told = [metrics(work / name, "val")[0]["val/accuracy"] for name in ("tensors", "numbers")]
    assert told[0] == pytest.approx(told[1])
    assert refused.code == 2
    assert "cannot be chosen by acuracy: measured are accuracy, balanced_accuracy, loss" in refused.said


@CHANGED
def test_one_class_alone_is_refused(project: Rendered, work: Path) -> None:
    write_images(work / "data")
    for split in ("train", "val"):
        for label in (1, 2, 3):
            shutil.rmtree(work / "data" / split / f"class{label}")

    ended = project("single").run(work, "--data-dir", str(work / "data"))

    assert ended.code == 2, ended.said
    assert "has the class 'class0' alone; there is nothing to tell apart" in ended.said
