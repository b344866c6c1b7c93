"""Rows for TensorBoard: read by TensorBoard itself, without what an interrupted run wrote, whole after a full disk."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generated.rendered import importable, render_project


@pytest.fixture(scope="module")
def tensorboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with importable(render_project(tmp_path_factory.mktemp("tensorboard") / "curves")) as module:
        yield module("engine.tensorboard")


def curve(folder: Path, name: str) -> dict[int, float]:
    """What TensorBoard shows, by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder)).Reload().Scalars(name)
    steps = [one.step for one in shown]
    assert len(steps) == len({*steps})
    return {one.step: one.value for one in shown}


def test_tensorboard_reads_each_value_under_its_name(tensorboard: Any, tmp_path: Path) -> None:
    writer = tensorboard.TensorBoard(tmp_path, 0)
    for step in (1, 2):
        writer.log("train", step, 0, {"train/loss": 0.5 * step, "lr/Köpfe": 0.25})
    writer.close()

    assert curve(tmp_path, "train/loss") == {1: 0.5, 2: 1.0}
    assert curve(tmp_path, "lr/Köpfe") == {1: 0.25, 2: 0.25}


def test_what_an_interrupted_run_wrote_beyond_its_checkpoint_is_not_shown(tensorboard: Any, tmp_path: Path) -> None:
    interrupted = tensorboard.TensorBoard(tmp_path, 0)
    for step in (1, 2, 3):
        interrupted.log("train", step, 0, {"loss": 1.0})
    resumed = tensorboard.TensorBoard(tmp_path, 2)
    resumed.log("train", 4, 0, {"loss": 2.0})

    assert curve(tmp_path, "loss") == {1: 1.0, 2: 1.0, 4: 2.0}


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


@pytest.mark.parametrize("room", [0, 7, 100])
def test_rows_wait_while_the_disk_is_full(tensorboard: Any, tmp_path: Path, room: int) -> None:
    writer = tensorboard.TensorBoard(tmp_path, 0)
    disk = writer.file
    writer.file = Full(disk, room)
    writer.log("train", 1, 0, {"loss": 1.0})
    writer.flush()  # must not keep a checkpoint from being saved
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    writer.file = disk
    writer.log("train", 2, 0, {"loss": 2.0})
    writer.close()

    assert curve(tmp_path, "loss") == {1: 1.0, 2: 2.0}
