"""Files that are written whole or not at all, or row by row. Nothing but a file is waited for: a FIFO never ends."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from filelock import FileLock


def regular(path: str, flags: int) -> int:
    """Opens files and links to files only; for `open(..., opener=regular)`."""
    if os.path.lexists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is neither a file nor a link to one", path)
    return os.open(path, flags, 0o666)


def read(path: Path) -> bytes:
    """What is in a file."""
    with open(path, "rb", opener=regular) as file:
        return file.read()


def write(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes a file, whole or piece by piece, and returns when it would survive a power cut."""
    with open(path, "wb", opener=regular) as file:
        file.writelines([data] if isinstance(data, bytes) else data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Writes a file in the place of what was there; a crash leaves the one or the other."""
    beside = path.with_name(f"{path.name}.tmp")
    remove(beside)
    write(beside, data)
    beside.replace(path)
    sync_folder(path.parent)


class RowFile:
    """A file that grows row by row; if the disk is full, rows wait in memory.

    `size` is that of the file when the newest checkpoint was saved: later rows are cut off, since the run writes them
    again.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.waiting = path, b""
        self.file = os.fdopen(regular(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+b", buffering=0)
        self.size = min(size, os.fstat(self.file.fileno()).st_size)
        self.file.truncate(self.size)

    def write(self, row: bytes) -> None:
        self.size += len(row)
        self.waiting += row
        with suppress(OSError):
            self._write()

    def flush(self) -> None:
        self.write(b"")

    def close(self) -> None:
        self._write()
        self.file.close()

    def _write(self) -> None:
        while self.waiting:
            self.waiting = self.waiting[self.file.write(self.waiting) :]


def remove(path: Path) -> None:
    """Removes whatever is there, as far as it can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Makes sure that names in a folder survive a power cut as well: new ones, and those that a rename has given."""
    if os.name == "nt":  # Windows cannot open folders, and writes their entries through
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, files: Iterable[tuple[str, bytes | Iterable[bytes]]]) -> None:
    """Makes a folder of files, each with its name and content; the first of several processes does it for all.

    A large content may come in pieces, and is written as they are made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.tmp")
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        for left in folder.parent.glob(f".{folder.name}.*"):  # by a process that was killed
            if left.is_dir():
                remove(left)
        if folder.exists():
            return
        try:
            with ThreadPoolExecutor(16) as helpers:  # each waits for the disk
                written = []
                for name, content in files:
                    (beside / name).parent.mkdir(parents=True, exist_ok=True)
                    if isinstance(content, bytes):
                        written.append(helpers.submit(write, beside / name, content))
                    else:  # to make it may take long, and not in a helper, which Ctrl-C would wait for
                        write(beside / name, content)
                for one in written:
                    one.result()
            for path in [beside, *beside.rglob("*")]:
                if path.is_dir():
                    sync_folder(path)
            beside.rename(folder)
        except OSError as problem:
            problem.filename = problem.filename or str(folder)  # that of a write is not told
            remove(beside)
            raise
        sync_folder(folder.parent)
