"""The event file for TensorBoard."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .files import RowFile, read

FILE = "events.out.tfevents.metrics"


class TensorBoard(RowFile):
    """Writes the metrics of a run for TensorBoard.

    torch's SummaryWriter writes in a thread, which beside a loop of short steps costs several times as much, and to a
    new file after each start, in which those before could only be marked as outdated.
    """

    def __init__(self, folder: Path, step: int, sizes: dict[str, int]) -> None:
        size = sizes.get(FILE, 0)
        super().__init__(folder / FILE, size)
        self.first: list[dict[str, Any]] = []
        if size and size == self.size:
            return
        self.file.truncate(0)
        self.size, self.first = 0, [{"file_version": "brain.Event:2"}]
        if any(folder.glob("events.out.tfevents.[0-9]*")):  # of an older version: what they have beyond `step` is void
            self.first += [{"step": step + 1, "session_log": {"status": "START"}}]
            return
        for line in read(folder / "metrics.jsonl").splitlines():  # it was lost, or is new to this run
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # a damaged line
                row = json.loads(line)
                self.log(row.pop("kind"), row.pop("step"), row.pop("epoch"), row)

    def log(self, kind: str, step: int, epoch: int, values: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # these take a while, and the first row comes late
        from tensorboard.summary.writer.record_writer import RecordWriter

        scalars = [{"tag": name, "simple_value": value} for name, value in values.items()]
        for event in (*self.first, {"step": step, "summary": {"value": scalars}}):
            RecordWriter(self).write(Event(wall_time=time.time(), **event).SerializeToString())
        self.first = []
