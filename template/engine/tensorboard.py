"""Event files for TensorBoard."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Writes the metrics of a run for TensorBoard; what an interrupted run wrote after `step` is no longer shown.

    On a full disk its curves stop until the run is started again; metrics.jsonl has all the numbers.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.step = folder, step

    @cached_property
    def writer(self) -> SummaryWriter:
        threading.excepthook = _ignore_full_disk
        return SummaryWriter(str(self.folder), purge_step=self.step + 1)

    def log(self, kind: str, step: int, epoch: int, values: dict[str, float]) -> None:
        with suppress(OSError):
            self._check_files()
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        with suppress(OSError):
            self._check_files()
            self.writer.flush()

    def close(self) -> None:
        with suppress(OSError):
            self._check_files()
            self.writer.close()

    def _check_files(self) -> None:
        """TensorBoard opens its file for every row; for a FIFO in its place it would wait without end."""
        for path in self.folder.glob("events.*"):
            if not path.is_file():
                raise OSError(f"{path} is not a file")


def _ignore_full_disk(failed: threading.ExceptHookArgs) -> None:
    """No traceback for an OSError of TensorBoard's own thread."""
    if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard.")):
        threading.__excepthook__(failed)
