"""Event files for TensorBoard."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from .files import RowFile


class TensorBoard:
    """Writes the metrics of a run for TensorBoard; what an interrupted run wrote after `step` is no longer shown.

    torch's SummaryWriter writes in a thread, which beside a loop of short steps costs several times as much.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.step = step
        self.path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"

    @cached_property
    def file(self) -> RowFile:
        file = RowFile(self.path)
        write(file, file_version="brain.Event:2")
        write(file, step=self.step + 1, session_log={"status": "START"})
        return file

    def log(self, kind: str, step: int, epoch: int, values: dict[str, float]) -> None:
        scalars = [{"tag": name, "simple_value": value} for name, value in values.items()]
        with suppress(OSError):  # metrics.jsonl has all the numbers
            write(self.file, step=step, summary={"value": scalars})

    def flush(self) -> None:
        """Nothing waits, unless the disk is full."""

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()


def write(file: RowFile, **event: Any) -> None:
    from tensorboard.compat.proto.event_pb2 import Event  # these take a while, and the first row comes late
    from tensorboard.summary.writer.record_writer import RecordWriter

    RecordWriter(file).write(Event(wall_time=time.time(), **event).SerializeToString())
