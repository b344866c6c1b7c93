"""TensorBoard, the writer of event files."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any


class TensorBoard:
    """Event files for TensorBoard, opened at the first number, since that takes a while.

    A run that continues after `step` drops from view what an interrupted one had written beyond it. On a full disk the
    curves stop until the run is started again; metrics.jsonl has all the numbers.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.step = folder, step
        self.writer: Any = None  # torch's annotations are silent about its file_writer

    def log(self, kind: str, step: int, epoch: int, values: dict[str, float]) -> None:
        """Writes each value under its name."""
        with suppress(OSError):
            if self.writer is None:
                from torch.utils.tensorboard import SummaryWriter

                threading.excepthook = _quiet
                self.writer = SummaryWriter(str(self.folder), purge_step=self.step + 1)
            self.writer.file_writer.add_summary(_summary(values), step)

    def flush(self) -> None:
        """Makes what was written safe."""
        with suppress(OSError):
            if self.writer is not None:
                self.writer.flush()

    def close(self) -> None:
        """Closes the file."""
        with suppress(OSError):
            if self.writer is not None:
                self.writer.close()


def _quiet(failed: threading.ExceptHookArgs) -> None:
    """Spares the traceback of TensorBoard's own thread on a full disk: the checkpoints say what is the matter."""
    if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard.")):
        threading.__excepthook__(failed)


def _summary(values: dict[str, float]) -> Any:
    """All values in one event, which is much faster than `add_scalar` for each."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
