"""Rows for TensorBoard: read by TensorBoard itself, as often as in metrics.jsonl, whole after a full disk or a loss."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generated.rendered import importable, render_project


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with importable(render_project(tmp_path_factory.mktemp("tensorboard") / "curves")) as module:
        yield module


class Run:
    """The writers of a run, as of the checkpoint after a step."""

    def __init__(self, modules: Any, folder: Path, step: int = 0, sizes: dict[str, int] | None = None) -> None:
        sizes = sizes or {}
        self.writers = modules("engine.log").open_writers(folder, step, sizes)
        self.events = self.writers[1]

    def log(self, *steps: int, kind: str = "train", values: dict[str, float] | None = None) -> None:
        for step in steps:
            for writer in self.writers:
                writer.log(kind, step, 0, values or {"loss": step / 2})

    def saved(self) -> dict[str, int]:
        for writer in self.writers:
            writer.flush()
        return {writer.path.name: writer.size for writer in self.writers}


def curve(folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [(one.step, one.value) for one in EventAccumulator(str(folder)).Reload().Scalars(name)]


def test_tensorboard_reads_each_value_under_its_name(modules: Any, tmp_path: Path) -> None:
    Run(modules, tmp_path).log(1, 2, values={"train/loss": 0.5, "lr/Köpfe": 0.25})

    assert curve(tmp_path, "train/loss") == [(1, 0.5), (2, 0.5)]
    assert curve(tmp_path, "lr/Köpfe") == [(1, 0.25), (2, 0.25)]


def test_what_an_interrupted_run_wrote_beyond_its_checkpoint_is_there_once(modules: Any, tmp_path: Path) -> None:
    interrupted = Run(modules, tmp_path)
    interrupted.log(1, 2)
    sizes = interrupted.saved()
    interrupted.log(2, kind="val", values={"accuracy": 0.5})  # evaluated after it was saved, and again when it goes on
    interrupted.log(3)
    resumed = Run(modules, tmp_path, 2, sizes)
    resumed.log(2, kind="val", values={"accuracy": 0.5})
    resumed.log(4)

    assert curve(tmp_path) == [(1, 0.5), (2, 1.0), (4, 2.0)]
    assert curve(tmp_path, "accuracy") == [(2, 0.5)]
    assert len([*tmp_path.glob("events.*")]) == 1


@pytest.mark.parametrize("left", [None, 0, 30])
def test_a_file_that_was_lost_is_made_of_the_rows_of_numbers(modules: Any, tmp_path: Path, left: int | None) -> None:
    interrupted = Run(modules, tmp_path)
    interrupted.log(1, 2)
    sizes = interrupted.saved()
    interrupted.log(3)
    if left is None:
        interrupted.events.path.unlink()
    else:
        interrupted.events.path.write_bytes(interrupted.events.path.read_bytes()[:left])
    with (tmp_path / "metrics.jsonl").open("rb+") as file:
        file.write(b"#")  # a damaged first line

    Run(modules, tmp_path, 2, sizes).log(4)

    assert curve(tmp_path) == [(2, 1.0), (4, 2.0)]


def test_what_an_older_version_has_written_stays_as_far_as_it_counts(modules: Any, tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    older = SummaryWriter(str(tmp_path))
    for step in (1, 2, 3):
        older.add_scalar("loss", step / 2, step)
    older.close()
    began = Run(modules, tmp_path, 2)
    began.log(4)
    sizes = began.saved()
    Run(modules, tmp_path, 4, sizes).log(5)

    assert curve(tmp_path) == [(1, 0.5), (2, 1.0), (4, 2.0), (5, 2.5)]


class Full:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return int(written)


@pytest.mark.parametrize("room", [0, 7, 40])
def test_rows_wait_while_the_disk_is_full(modules: Any, tmp_path: Path, room: int) -> None:
    run = Run(modules, tmp_path)
    disk = run.events.file
    run.events.file = Full(disk, room)
    run.log(1)
    run.events.flush()  # must not keep a checkpoint from being saved
    with pytest.raises(OSError, match="No space left"):
        run.events.close()
    run.events.file = disk
    run.log(2)

    assert curve(tmp_path) == [(1, 0.5), (2, 1.0)]
