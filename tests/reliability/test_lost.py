"""What belongs to a run is lost or cannot be read: a sentence, and nothing is begun anew, overwritten or removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import tree
from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Fault, Project, checkpoints, metrics, outcome, steps

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "3", "--keep", "9"]
Damage = Callable[[Path], object]


def instead(name: str, make: Damage) -> Damage:
    """Something else stands where a file or folder of the run was."""

    def put(run: Path) -> object:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return make(path)

    return put


def nowhere(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def nothing(path: Path) -> None:
    """Leaves it out."""


OPTIONS: dict[str, Damage] = {
    "missing": nothing,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(100)),
    "cut": lambda path: path.write_text('{"options": {"data_dir": "da'),
    "garbage": lambda path: path.write_bytes(bytes(range(256))),
    "another JSON": lambda path: path.write_text("[1, 2]"),
    "no options in it": lambda path: path.write_text('{"options": {}}'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "a folder": Path.mkdir,
    "link to nowhere": nowhere,
    "link to itself": lambda path: path.symlink_to(path.name),
}
CHECKPOINTS: dict[str, Damage] = {
    "missing": nothing,
    "a file": lambda path: path.write_text("x"),
    "link to nowhere": nowhere,
}
LOST = {f"options.json {kind}": instead("options.json", make) for kind, make in OPTIONS.items()}
LOST |= {f"checkpoints {kind}": instead("checkpoints", make) for kind, make in CHECKPOINTS.items()}


def content(work: Path) -> dict[str, bytes]:
    """All files of the runs but locks and logs."""
    return {name: data for name, data in tree(work / "run").items() if Path(name).name not in ("lock", "train.log")}


@pytest.fixture(scope="module")
def trained(project: Rendered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    work = tmp_path_factory.mktemp("trained")
    assert project("single").run(work, *EPOCHS).code == 0
    return work


def refuses(single: Project, work: Path, fault: list[Fault]) -> None:
    """Nobody uses the run, or begins another in its place."""
    before = content(work)
    image = str(single.images / "val" / "class0" / "0.png")
    for module, words in {
        "train": [*EPOCHS],
        "train without a number": [*EPOCHS, "--run", "None"],
        "evaluate": [str(work / "run" / "1")],
        "predict": [str(work / "run" / "1"), image],
        "engine.__main__": [str(work / "run" / "1")],
    }.items():
        ended = single.run(work, *words, module=module.split()[0], faults=fault)
        assert ended.code == 4, f"{module}: {ended.code} {ended.said}"
        assert len(ended.said.splitlines()) == 1, ended.said
        assert ended.said.startswith("error: "), ended.said
        assert content(work) == before, module
    assert not (work / "run" / "2").exists()


@pytest.mark.parametrize("kind", LOST)
def test_a_run_that_lost_something_is_left_alone(project: Rendered, work: Path, trained: Path, kind: str) -> None:
    shutil.copytree(trained, work)
    LOST[kind](work / "run" / "1")

    refuses(project("single"), work, [])


@pytest.mark.parametrize("name", ["run/1/options.json", "run/1/checkpoints"])
def test_what_cannot_be_read_is_not_taken_for_missing(project: Rendered, work: Path, trained: Path, name: str) -> None:
    shutil.copytree(trained, work)

    refuses(project("single"), work, [("unreadable", {"path": str(work / name)})])


@pytest.mark.parametrize("rank", [0, 1])
def test_process_0_reads_the_record_for_all(project: Rendered, work: Path, rank: int) -> None:
    ranks = project("ddp_plain")
    assert ranks.run(work, *EPOCHS).code == 0
    hidden: Fault = ("unreadable", {"path": str(work / "run" / "1" / "options.json")})

    ended = ranks.run(work, *EPOCHS, faults=[("on_rank", {"rank": rank, "fault": hidden})])

    assert ended.codes == ([4, 4] if rank == 0 else [0, 0]), ended.said
    assert "Traceback" not in ended.said


def test_with_new_run_or_another_number_one_can_begin_anew(project: Rendered, work: Path, trained: Path) -> None:
    shutil.copytree(trained, work)
    (work / "run" / "1" / "options.json").unlink()
    before = content(work)

    for flags in (["--run", "None", "--new-run"], ["--run", "3"]):
        ended = project("single").run(work, *EPOCHS, *flags)
        assert ended.code == 0, ended.said

    assert before.items() <= content(work).items()
    assert steps(work, 2) == steps(work, 3) == [3, 6, 9]


@pytest.mark.parametrize("flags", [["--run", "None"], ["--run", "1"]])
@pytest.mark.parametrize("make", [nowhere, lambda path: path.write_text("x")], ids=["link to nowhere", "file"])
def test_no_folder_for_runs_is_a_sentence(project: Rendered, work: Path, flags: list[str], make: Damage) -> None:
    work.mkdir()
    make(work / "run")

    ended = project("single").run(work, *EPOCHS, *flags)

    assert ended.code == 5, ended.said
    dangling = make is nowhere and flags == ["--run", "None"]
    assert f"run is {'a link to what is not there' if dangling else 'neither a folder nor a link to one'}" in ended.said
    assert len(ended.said.splitlines()) == 1


def test_what_only_has_the_name_of_a_run_is_passed_over(project: Rendered, work: Path, trained: Path) -> None:
    shutil.copytree(trained, work)
    shutil.rmtree(checkpoints(work) / "9")
    (work / "run" / "7").write_text("x")
    single = project("single")

    asked = single.run(work, *EPOCHS, "--run", "7")
    ended = single.run(work, *EPOCHS, "--run", "None")
    other = single.run(work, *EPOCHS, "--run", "None", "--new-run")

    assert asked.code == 5
    assert "run/7 is neither a folder nor a link to one" in asked.said
    assert ended.code == 0, ended.said
    assert "going on after step 6" in ended.said
    assert other.code == 0, other.said
    assert (work / "run" / "7").read_text() == "x"
    assert steps(work, 8) == [3, 6, 9]


def test_a_new_run_says_why_an_unfinished_one_does_not_go_on(project: Rendered, work: Path) -> None:
    single, free = project("single"), ["--epochs", "2", "--run", "None"]
    stop: Fault = ("signal_in", {"package": single.package, "where": "forward", "time_": 4, "number": 15})
    assert single.run(work, *free, faults=[stop]).code == 143
    why = "run 1 is unfinished and does not go on (--lr was 0.002 and is 0.5); --run 1 goes on with it"

    other = single.run(work, *free, "--lr", "0.5")
    asked = single.run(work, *free, "--lr", "0.5", "--new-run")
    named = single.run(work, "--epochs", "2", "--run", "1")
    after = single.run(work, *free, "--lr", "0.25")

    assert why in other.said, other.said
    assert "unfinished" not in asked.said + after.said
    assert "going on after step 4" in named.said


REFUSED_LATER = {
    "images that are not there": (["--data-dir", "/nowhere/at/all"], 2),
    "no images to validate on": (["--data-dir", "HALF"], 4),
    "other batches": (["--lr", "0.5", "--batch-size", "8"], 2),
    "batches that cannot be filled": (["--lr", "0.5", "--seed", "2022", "--data-dir", "FEW"], 2),
    "weights that do not fit": (["--lr", "0.5", "--epochs", "4"], 4),
}


@pytest.mark.parametrize("kind", REFUSED_LATER)
def test_a_command_that_is_refused_leaves_the_record_as_it_was(
    project: Rendered, work: Path, trained: Path, kind: str
) -> None:
    shutil.copytree(trained, work)
    single = project("single")
    shutil.copytree(single.images / "train", work / "HALF" / "train")
    shutil.copytree(single.images, work / "FEW")
    for path in (work / "FEW" / "train").rglob("*"):
        if path.suffix and path.stem not in ("0", "1", "2"):
            path.unlink()
    code = single
    if kind == "weights that do not fit":
        wider = (
            "PACKAGE/model.py",
            "nn.Conv2d(channels, width, 3, padding=1",
            "nn.Conv2d(channels, width, 5, padding=2",
        )
        code = single.changed(work / "code", [wider])
    before = content(work)
    flags, status = REFUSED_LATER[kind]

    ended = code.run(work, *EPOCHS, *(str(work / word) if word.isupper() else word for word in flags))

    assert ended.code == status, ended.said
    assert "Traceback" not in ended.said
    assert content(work) == before


def test_a_run_that_never_got_a_checkpoint_with_new_settings_keeps_its_record(
    project: Rendered, work: Path, trained: Path
) -> None:
    shutil.copytree(trained, work)
    single = project("single")
    before = (work / "run" / "1" / "options.json").read_bytes()
    poison: Fault = ("poison", {"package": single.package, "where": "loss", "step": 2, "value": float("nan")})

    broken = single.run(work, "--epochs", "4", "--lr", "0.5", faults=[poison])
    after = (work / "run" / "1" / "options.json").read_bytes()
    changed = single.run(work, "--epochs", "4", "--lr", "0.001")

    assert broken.code == 6, broken.said
    assert after == before
    assert changed.code == 0
    saved = json.loads((work / "run" / "1" / "options.json").read_text())["options"]
    assert (saved["lr"], saved["epochs"]) == (0.001, 4)


def test_a_run_that_was_refused_before_it_began_frees_its_number(project: Rendered, work: Path) -> None:
    single = project("single")

    refused = single.run(work, *EPOCHS, "--run", "None", "--batch-size", "64")
    ended = single.run(work, *EPOCHS, "--run", "None")

    assert refused.code == 2
    assert ended.code == 0, ended.said
    assert [path.name for path in (work / "run").iterdir()] == ["1"]


def test_an_old_checkpoint_that_cannot_be_removed_is_told_as_that(project: Rendered, work: Path) -> None:
    single = project("single")
    assert single.run(work / "whole", "--epochs", "4").code == 0
    assert single.run(work, "--epochs", "2").code == 0
    (checkpoints(work) / "1").write_text("not ours")
    (checkpoints(work) / "2").mkdir()
    immovable: Fault = ("immovable", {"path": str(checkpoints(work) / "2")})

    ended = single.run(work, "--epochs", "4", faults=[immovable])

    assert ended.code == 0, ended.said
    assert "the old checkpoint 2 could not be removed" in ended.said
    assert "could not be saved" not in ended.said
    assert (checkpoints(work) / "1").read_text() == "not ours"
    assert [step for step in steps(work) if step > 2] == [step for step in steps(work / "whole") if step > 2]


@pytest.mark.parametrize("damage", ["cut", "missing", "garbage"])
def test_damaged_rows_of_numbers_are_told_and_the_run_goes_on(
    project: Rendered, work: Path, trained: Path, damage: str
) -> None:
    shutil.copytree(trained, work)
    file = work / "run" / "1" / "metrics.jsonl"
    data = file.read_bytes()
    file.write_bytes({"cut": data[:-20], "missing": b"", "garbage": b"\xff" * len(data)}[damage])

    ended = project("single").run(work, "--epochs", "4", "--keep", "9")

    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said
    assert ("has lost its last lines" in ended.said) == (damage != "garbage")
    if damage != "garbage":
        assert [row["step"] for row in metrics(work, "val")][-1] == 12
    assert steps(work)[-1] == 12


def test_rows_of_numbers_that_cannot_be_written_are_a_sentence(project: Rendered, work: Path, trained: Path) -> None:
    shutil.copytree(trained, work)
    instead("metrics.jsonl", Path.mkdir)(work / "run" / "1")

    ended = project("single").run(work, "--epochs", "4", "--keep", "9")

    assert ended.code == 5
    assert "Traceback" not in ended.said
    assert "metrics.jsonl" in ended.said


def test_infinities_from_the_start_are_no_accident_and_a_broken_tensor_is_named(project: Rendered, work: Path) -> None:
    single = project("single").changed(
        work / "code",
        [
            (
                "PACKAGE/model.py",
                "super().__init__()",
                'super().__init__()\n        self.register_buffer("mask", torch.full((2,), -torch.inf))',
            ),
            ("PACKAGE/model.py", "from torch import", "import torch\nfrom torch import"),
        ],
    )
    poison: Fault = ("poison", {"package": single.package, "where": "gradient", "step": 8, "value": float("nan")})

    ended = single.run(work / "whole", *EPOCHS)
    broken = single.run(work / "broken", *EPOCHS, faults=[poison])
    again = single.run(work / "broken", *EPOCHS)

    assert ended.code == 0, ended.said
    assert broken.code == 6
    assert "in steps 7 to 8 (conv1.weight" in broken.said
    assert "mask" not in broken.said
    assert again.code == 0
    assert outcome(work / "whole").differs(outcome(work / "broken")) == []


def test_a_model_that_draws_when_it_is_evaluated_goes_on_alike(project: Rendered, work: Path) -> None:
    noisy = project("single").changed(
        work / "code",
        [
            ("PACKAGE/evaluate.py", "from torch import nn", "import torch\nfrom torch import nn"),
            ("PACKAGE/evaluate.py", "net(images)", "net(images + 0 * torch.rand(1).to(process.device))"),
            ("PACKAGE/train.py", "import sys", "import sys\n\nimport torch"),
            ("PACKAGE/train.py", "model(images)", "model(images + 0.1 * torch.rand(1).to(process.device))"),
        ],
    )
    assert noisy.run(work / "whole", *EPOCHS).code == 0
    stop: Fault = ("signal_in", {"package": noisy.package, "where": "evaluation", "time_": 1, "number": 15})

    assert noisy.run(work / "stopped", *EPOCHS, faults=[stop]).code == 143
    assert noisy.run(work / "stopped", *EPOCHS).code == 0

    assert outcome(work / "whole").differs(outcome(work / "stopped")) == []


@pytest.mark.parametrize(("module", "unbuffered"), [("evaluate", ""), ("engine", ""), ("engine", "1"), ("train", "1")])
def test_a_pipe_that_nobody_reads_ends_a_command_without_a_traceback(
    project: Rendered, work: Path, trained: Path, module: str, unbuffered: str
) -> None:
    single = project("single")
    shutil.copytree(trained, work)
    words = ["--plan"] if module == "train" else [str(work / "run" / "1")]
    images = [] if module == "engine" else ["--data-dir", str(single.images)]
    reads, writes = os.pipe()
    os.close(reads)

    ended = subprocess.run(
        [sys.executable, "-m", f"{single.package}.{module}", *words, *images],
        cwd=single.folder,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )

    os.close(writes)
    assert ended.returncode == 128 + signal.SIGPIPE, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


@pytest.mark.parametrize("closed", ["1", "2"])
def test_it_trains_with_an_output_that_is_closed(project: Rendered, work: Path, closed: str) -> None:
    single = project("single")
    command = [sys.executable, "-m", f"{single.package}.train", "--data-dir", str(single.images), *EPOCHS]
    command += ["--run-dir", str(work / "run"), "--num-workers", "0"]

    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command], cwd=single.folder, capture_output=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "done: " in (work / "run" / "1" / "train.log").read_text()


def test_output_to_a_full_disk_is_a_sentence(project: Rendered, work: Path) -> None:
    single = project("single")
    command = [sys.executable, "-m", f"{single.package}.train", "--plan", "--data-dir", str(single.images)]

    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, cwd=single.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert ended.returncode == 5, ended.stderr
    assert ended.stderr.splitlines()[-1] == "error: no output: No space left on device"
    assert "Traceback" not in ended.stderr
