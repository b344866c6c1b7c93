"""No damaged checkpoint is ever used: the newest good one is, and that is said; without one nothing begins from zero."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.crash.fixtures import Rendered
from tests.reliability.crash.projects import Ended, Project, checkpoints, outcome, steps

pytest_plugins = ["tests.reliability.crash.fixtures"]
EPOCHS = ["--epochs", "4", "--keep", "9"]
SHORT = ["--epochs", "3", "--keep", "9"]


def flip_a_bit(data: bytearray, dice: random.Random) -> bytes:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data)


def zero_a_page(data: bytearray, dice: random.Random) -> bytes:
    start = dice.randrange(len(data))
    data[start : start + 4096] = bytes(len(data[start : start + 4096]))
    return bytes(data)


def zero_the_tail(data: bytearray, dice: random.Random) -> bytes:
    start = dice.randrange(len(data))
    return bytes(data[:start]) + bytes(len(data) - start)


def cut_short(data: bytearray, dice: random.Random) -> bytes:
    return bytes(data[: dice.randrange(len(data))])


def empty(data: bytearray, dice: random.Random) -> bytes:
    return b""


DAMAGES = [flip_a_bit, zero_a_page, zero_the_tail, cut_short, empty]


def resealed(checkpoint: Path) -> None:
    """Makes the manifest of a tampered checkpoint true again, as somebody who means harm would."""
    path = checkpoint / "MANIFEST.json"
    manifest = json.loads(path.read_text())
    manifest.pop("sha256")
    for name in manifest["files"]:
        data = (checkpoint / name).read_bytes()
        manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**manifest, "sha256": digest}, indent=1))


def damage_and_resume(project: Project, work: Path, trials: int, seed: int) -> int:
    """Damages one file of the newest checkpoint in every way, resumes, compares; returns the number of trials."""
    assert project.run(work / "undisturbed", *EPOCHS).code == 0
    expected = outcome(work / "undisturbed")
    newest = steps(work / "undisturbed")[-1]
    files = sorted(path.name for path in (checkpoints(work / "undisturbed") / str(newest)).iterdir())
    dice = random.Random(seed)
    for trial in range(trials):
        here = work / f"trial {trial}"
        shutil.copytree(work / "undisturbed", here)
        name, damage = files[trial % len(files)], DAMAGES[trial // len(files) % len(DAMAGES)]
        path = checkpoints(here) / str(newest) / name
        before = path.read_bytes()
        while (after := damage(bytearray(before), dice)) == before:
            pass
        path.write_bytes(after)
        ended = project.run(here, *EPOCHS)
        assert ended.code == 0, ended.said
        assert f"checkpoint {newest} is not used" in ended.said, f"{damage.__name__} of {name}"
        assert expected.differs(outcome(here)) == [], f"{damage.__name__} of {name}"
        shutil.rmtree(here)
    return trials


def test_a_damaged_file_is_noticed_and_the_checkpoint_before_is_used(project: Rendered, work: Path) -> None:
    damage_and_resume(project("single"), work, 25, 1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["single", "ddp"])
def test_no_damage_is_silent(project: Rendered, work: Path, name: str, figure: Callable[..., None]) -> None:
    trials = damage_and_resume(project(name), work, {"single": 400, "ddp": 50}[name], 2)

    figure("B2 damage", f"{name}: one file of the newest checkpoint damaged, five ways", trials, trials)


def test_a_file_of_another_step_is_noticed(project: Rendered, work: Path) -> None:
    single = project("single")
    assert single.run(work, *SHORT).code == 0
    older, newer = (checkpoints(work) / str(step) for step in steps(work)[-2:])

    for name in ("model.pt", "optimizer.pt", "state.json", "MANIFEST.json"):
        here = work.parent / name
        shutil.copytree(work, here)
        assert (older / name).read_bytes() != (newer / name).read_bytes()
        shutil.copy(older / name, checkpoints(here) / newer.name / name)
        ended = single.run(here, *EPOCHS)
        assert f"checkpoint {newer.name} is not used" in ended.said

    shutil.rmtree(newer)
    shutil.copytree(older, newer)
    assert f"checkpoint {newer.name} is not used: it belongs to another step" in single.run(work, *EPOCHS).said


def test_the_checkpoint_of_another_model_is_refused(project: Rendered, work: Path) -> None:
    single = project("single")
    assert single.run(work, *SHORT).code == 0
    assert single.run(work.parent / "other", *SHORT, "--width", "8").code == 0
    newest = str(steps(work)[-1])
    shutil.rmtree(checkpoints(work) / newest)
    shutil.copytree(checkpoints(work.parent / "other") / newest, checkpoints(work) / newest)

    trained = single.run(work, *EPOCHS)
    measured = single.run(work, str(work / "run" / "1"), "--step", newest, module="evaluate")

    for ended in (trained, measured):
        assert ended.code == 4
        assert f"run/1/checkpoints/{newest} does not fit the model: size mismatch" in ended.said
        assert "Traceback" not in ended.said


@pytest.mark.parametrize("flags", [["--run", "None"], ["--run", "1"]])
def test_when_none_is_good_nothing_begins_from_zero(project: Rendered, work: Path, flags: list[str]) -> None:
    single = project("single")
    assert single.run(work, *SHORT).code == 0
    for step in steps(work):
        (checkpoints(work) / str(step) / "model.pt").write_bytes(b"")

    ended = single.run(work, *SHORT, *flags)

    assert ended.code == 4
    assert "no checkpoint in" in ended.said
    assert steps(work) == [3, 6, 9]
    assert not (work / "run" / "2").exists()


def test_damaged_options_of_a_run_are_no_reason_to_begin_another(project: Rendered, work: Path) -> None:
    single = project("single")
    assert single.run(work, *SHORT).code == 0
    (work / "run" / "1" / "options.json").write_bytes(bytes(100))

    ended = single.run(work, *SHORT, "--run", "None")

    assert ended.code == 4
    assert "options.json is damaged" in ended.said


def test_damaged_checkpoints_that_are_newer_push_out_no_good_one(project: Rendered, work: Path) -> None:
    single = project("single")
    assert single.run(work, "--epochs", "4", "--keep", "9").code == 0
    for step in steps(work)[2:]:
        (checkpoints(work) / str(step) / "model.pt").write_bytes(b"")

    # stopped before it has made the damaged ones again
    stop = ("signal_in", {"package": single.package, "where": "forward", "time_": 1, "number": 15})
    assert single.run(work, "--epochs", "4", "--keep", "2", faults=[stop]).code == 143

    listed = single.run(work, str(work / "run" / "1"), module="engine.__main__").said
    assert listed.count("verified") >= 2
    assert "step        7" in listed


class Gadget:
    """Runs a program when it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def zipped(name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(f"archive/{name}", data)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
    return buffer.getvalue()


def hostile_files(mark: str) -> dict[str, bytes]:
    """Files that are no tensors, each by a name that says what is wrong with it."""
    gadget = pickle.dumps(Gadget(mark))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(gadget)
            archive.addfile(entry, io.BytesIO(gadget))
    getattr_ = b"\x80\x02cbuiltins\ngetattr\nq\x00cos\nsystem\nq\x01X\x02\x00\x00\x00idq\x02\x86R."
    call = b"\x80\x02cposix\nsystem\nX%b%b\x85R." % (
        len(f"touch {mark}").to_bytes(4, "little"),
        f"touch {mark}".encode(),
    )
    huge = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x08"
        + (2**60).to_bytes(8, "little")
        + b"tQK\x00\x8a\x08"
        + (2**60).to_bytes(8, "little")
        + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."
    )
    return {
        "gadget": gadget,
        "gadget protocol 0": pickle.dumps(Gadget(mark), 0),
        "gadget protocol 5": pickle.dumps(Gadget(mark), 5),
        "gadget in a zip": zipped("data.pkl", gadget),
        "gadget in a dict": zipped("data.pkl", pickle.dumps({"weight": Gadget(mark)})),
        "legacy tar": tar.getvalue(),
        "getattr": zipped("data.pkl", getattr_),
        "posix.system": zipped("data.pkl", call),
        "builtins.eval": zipped("data.pkl", b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R."),
        "builtins.exec": zipped("data.pkl", b"\x80\x02cbuiltins\nexec\nX\x04\x00\x00\x00pass\x85R."),
        "importlib": zipped("data.pkl", b"\x80\x02cimportlib\nimport_module\nX\x04\x00\x00\x00this\x85R."),
        "subprocess": zipped("data.pkl", b"\x80\x02csubprocess\ncheck_output\nX\x02\x00\x00\x00id\x85R."),
        "runpy": zipped("data.pkl", b"\x80\x02crunpy\nrun_path\nX\x05\x00\x00\x00x.py.\x85R."),
        "torch.load again": zipped("data.pkl", b"\x80\x02ctorch\nload\nX\x03\x00\x00\x00a.pt\x85R."),
        "torch.hub": zipped("data.pkl", b"\x80\x02ctorch.hub\nload\nX\x03\x00\x00\x00a/bX\x01\x00\x00\x00m\x86R."),
        "object array": zipped("data.pkl", b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R."),
        "TorchScript": zipped("code/__torch__.py", b"def forward(self): pass") + b"",
        "TorchScript with constants": zipped("constants.pkl", gadget),
        "sizes of 2^60": zipped("data.pkl", huge),
        "storage that is missing": zipped(
            "data.pkl", huge.replace((2**60).to_bytes(8, "little"), (4).to_bytes(8, "little"))
        ),
        "zip bomb": zipped("data.pkl", bytes(100 << 20), zipfile.ZIP_DEFLATED),
        "deep lists": zipped("data.pkl", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),
        "stack without end": zipped("data.pkl", b"\x80\x02" + b"(" * 200_000),
        "nothing": b"",
        "text": b"hello",
        "pickle of an int": pickle.dumps(7),
        "zip of nothing": zipped("data.pkl", b""),
        "zip cut short": zipped("data.pkl", gadget)[:-30],
        "memo of what is not there": zipped("data.pkl", b"\x80\x02h\x07."),
        "opcode that is unknown": zipped("data.pkl", b"\x80\x02\xff."),
    }


def hostile_trees() -> dict[str, Callable[[Path], object]]:
    """What may stand in a folder of a checkpoint instead of files."""

    def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
        def put(checkpoint: Path) -> object:
            (checkpoint / name).unlink()
            return make(checkpoint / name)

        return put

    def manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
        def put(checkpoint: Path) -> object:
            path = checkpoint / "MANIFEST.json"
            content = json.loads(path.read_text())
            content.pop("sha256")
            change(content)
            digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            return path.write_text(json.dumps({**content, "sha256": digest}))

        return put

    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 30)

    facts = {"size": 9, "sha256": "0" * 64}
    return {
        "FIFO for the manifest": instead("MANIFEST.json", os.mkfifo),
        "FIFO for the weights": instead("model.pt", os.mkfifo),
        "link to a device": instead("model.pt", lambda path: path.symlink_to("/dev/zero")),
        "link to a file": instead("model.pt", lambda path: path.symlink_to("/etc/hostname")),
        "folder for the weights": instead("model.pt", os.mkdir),
        "manifest of a gigabyte": instead("MANIFEST.json", sparse),
        "deep JSON": instead("MANIFEST.json", lambda path: path.write_text("[" * 100_000)),
        "manifest that is a list": instead("MANIFEST.json", lambda path: path.write_text("[]")),
        "way out": manifest(lambda content: content["files"].update({"../../options.json": facts})),
        "absolute path": manifest(lambda content: content["files"].update({"/etc/hostname": facts})),
        "no files": manifest(lambda content: content["files"].clear()),
        "no weights": manifest(lambda content: content["files"].pop("model.pt")),
        "another format": manifest(lambda content: content.update(format=99)),
        "sizes that are words": manifest(lambda content: content["files"].update({"model.pt": "large"})),
    }


def refused(project: Project, here: Path, mark: Path, name: str) -> Ended:
    log = here / "code"
    began = time.monotonic()
    ended = project.run(here, *EPOCHS, faults=[("watch_for_code", {"log": str(log)})])
    assert time.monotonic() - began < 5, name
    assert not mark.exists(), name
    assert log.read_text() == "", name
    assert "Traceback" not in ended.said, f"{name}: {ended.said}"
    return ended


def hostile(project: Project, work: Path, names: list[str] | None = None) -> int:
    """Puts each hostile file into a checkpoint whose manifest vouches for it; returns how many there are."""
    assert project.run(work / "short", "--epochs", "1").code == 0
    mark = work / "ran"
    files, trees = hostile_files(str(mark)), hostile_trees()
    for name, data in files.items():
        if names is None or name in names:
            here = work / name
            shutil.copytree(work / "short", here)
            checkpoint = checkpoints(here) / "3"
            (checkpoint / "model.pt").write_bytes(data)
            resealed(checkpoint)
            assert refused(project, here, mark, name).code == 4, name
    for name, put in trees.items():
        if names is None or name in names:
            here = work / name
            shutil.copytree(work / "short", here)
            put(checkpoints(here) / "3")
            assert refused(project, here, mark, name).code == 4, name
    return len(files) + len(trees)


def test_a_hostile_checkpoint_runs_no_code(project: Rendered, work: Path) -> None:
    few = ["gadget in a zip", "posix.system", "FIFO for the weights", "no weights", "zip bomb", "sizes of 2^60"]
    hostile(project("single"), work, few)


@pytest.mark.nightly
def test_no_hostile_checkpoint_runs_code(project: Rendered, work: Path, figure: Callable[..., None]) -> None:
    tried = hostile(project("single"), work)

    figure("B9 hostile checkpoint", "refused within 5 s, nothing run", tried, tried)
