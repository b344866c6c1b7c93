"""Event files for TensorBoard."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from .files import RowFile


class TensorBoard(RowFile):
    """Writes the metrics of a run for TensorBoard; what an interrupted run wrote after `step` is no longer shown.

    torch's SummaryWriter writes in a thread, which beside a loop of short steps costs several times as much.
    """

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}")
        restart = {"step": step + 1, "session_log": {"status": "START"}}
        self.first: list[dict[str, Any]] = [{"file_version": "brain.Event:2"}, restart]

    def log(self, kind: str, step: int, epoch: int, values: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # these take a while, and the first row comes late
        from tensorboard.summary.writer.record_writer import RecordWriter

        scalars = [{"tag": name, "simple_value": value} for name, value in values.items()]
        for event in (*self.first, {"step": step, "summary": {"value": scalars}}):
            RecordWriter(self).write(Event(wall_time=time.time(), **event).SerializeToString())
        self.first = []
