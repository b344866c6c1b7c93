"""Locks on files and folders, which end with the process that holds them."""

import contextlib
import os
from pathlib import Path


class NoLocks(Exception):
    """Locks are not to be had: on Windows, and on some file systems."""


def lock_file(handle: int) -> bool:
    """Lock an open file or folder; False where another process has it."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        raise NoLocks from None
    return True


def lock_folder(folder: Path) -> int | None:
    """Lock a folder: a handle to close, or nothing where another process has it or has removed it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError:
        raise NoLocks from None
    with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        if lock_file(handle) and folder.stat().st_ino == os.fstat(handle).st_ino:
            stack.pop_all()
            return handle
    return None
