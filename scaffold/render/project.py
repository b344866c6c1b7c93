"""A whole project, or nothing: it is rendered beside its target, and appears there by one rename."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaffold.errors import CreateFailed
from scaffold.paths import template_root
from scaffold.render.first_commit import first_commit, repository_around
from scaffold.render.rendering import list_files, plain_copy, render
from scaffold.render.target import check_target
from scaffold.system.locks import NoLocks, lock_folder
from scaffold.system.signals import signals_as_exceptions, signals_wait

# In a hidden folder of ours, so that nobody else's is ever taken for one.
_MARK = "made-by-torch-scaffold"


@dataclass(frozen=True)
class Created:
    """What `create` made: the files, and what to say where the first commit is missing."""

    files: list[str]
    uncommitted: str = ""


def create(
    answers: Mapping[str, Any],
    target: Path,
    *,
    template: Path | None = None,
    origin: Mapping[str, str] | None = None,
    git: bool | None = None,
) -> Created:
    """Make the project at the target: whole, with its first commit, by one rename; or not at all.

    Without `git` being said it gets a repository of its own unless it lies in one.
    """
    check_target(target)
    target = Path(os.path.abspath(target))
    created: Created | None = None
    try:
        remove_left_overs(target)
        with signals_as_exceptions(), _hidden_sibling(target) as hidden:
            source = plain_copy(template or template_root(), hidden / "template")
            project = hidden / "project"
            render(answers, project, source, origin)
            files = list_files(project)
            around = repository_around(target) if git is None else ""
            if around:
                uncommitted = f"it lies in the repository {around}, so it has none of its own (--git makes one)"
            else:
                uncommitted = "" if git is False else first_commit(project)
            with signals_wait():
                _appear(project, target)
                created = Created(files, uncommitted)
    except (KeyboardInterrupt, SystemExit):
        if created is None:
            raise
    except OSError as error:
        raise CreateFailed(
            f"{target.name} could not be written: {error.strerror or error}", at=str(error.filename or target.parent)
        ) from error
    if created is None:
        raise CreateFailed(f"{target.name} could not be written")
    return created


@contextlib.contextmanager
def _hidden_sibling(target: Path) -> Iterator[Path]:
    """A folder of ours beside the target, locked while we live and gone afterwards, whatever happens."""
    while True:
        hidden = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        try:
            try:
                lock = lock_folder(hidden)
            except NoLocks:
                lock = None
            else:
                if lock is None:  # somebody else took it for a left-over in between: take another
                    continue
            try:
                (hidden / _MARK).touch()
                yield hidden
                return
            finally:
                with signals_wait():
                    shutil.rmtree(hidden, ignore_errors=True)
                if lock is not None:
                    os.close(lock)
        except BaseException:
            with contextlib.suppress(OSError):
                hidden.rmdir()
            raise


def remove_left_overs(target: Path) -> None:
    """Remove what a run that was killed has left beside the target: hidden folders with our mark and no owner."""
    pattern = re.compile(re.escape(f".{target.name}.partial-") + r"[a-z0-9_]{8}")
    for path in target.parent.iterdir():
        if not pattern.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        try:
            lock = lock_folder(path)
        except NoLocks:
            continue  # whose it is cannot be known
        if lock is None:
            continue
        if (path / _MARK).is_file():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # killed before it was marked: then it is empty
                path.rmdir()
        os.close(lock)


def _appear(project: Path, target: Path) -> None:
    """The one step in which the project comes to be."""
    try:
        if os.name == "nt" and target.is_dir():
            target.rmdir()
        os.rename(project, target)
    except OSError:
        check_target(target)  # somebody else was faster: say so
        raise
