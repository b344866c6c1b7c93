"""From answers to a whole project, or to nothing: Copier renders beside the target, then one rename."""

import contextlib
import os
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaffold import __version__
from scaffold.errors import CreateFailed, Refused
from scaffold.paths import template_root
from scaffold.system.git import asks, asks_if_there
from scaffold.system.locks import NoLocks, lock_folder
from scaffold.system.signals import signals_as_exceptions, signals_wait

# In a hidden folder of ours, so that nobody else's is ever taken for one.
_MARK = "made-by-torch-scaffold"


@dataclass(frozen=True)
class Created:
    """What `create` made: the files, and what to say where the first commit is missing."""

    files: list[str]
    uncommitted: str = ""


def render(
    answers: Mapping[str, Any],
    destination: Path,
    template: Path | None = None,
    origin: Mapping[str, str] | None = None,
) -> None:
    """Render the project of these answers into a folder. A template that is given must be a plain folder (as
    `plain_copy` makes it): of a repository Copier would take the newest tag."""
    if template is None:
        with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
            render(answers, destination, plain_copy(template_root(), Path(folder) / "template"), origin)
        return
    from scaffold.render.template_cache import run_copy

    try:
        run_copy(
            str(template), destination, {**answers, "scaffold_origin": dict(origin or {"_src_path": "torch-scaffold"})}
        )
    except OSError:
        raise
    except Exception as error:  # Copier lets ValueError, TypeError, Jinja's and git's errors through
        raise CreateFailed(
            f"the template cannot be rendered with these answers: {type(error).__name__}: {error}",
            help="this is a fault of the template; the answers are fine",
        ) from error


def plain_copy(root: Path, folder: Path) -> Path:
    """Copy a template to a folder, without git, caches and odd modes, which would all land in projects."""
    for path in _template_files(root):
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    return folder


def _template_files(root: Path) -> Iterator[Path]:
    yield root / "copier.yml"
    for path in sorted((root / "template").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


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
            around = _repository_around(target) if git is None else ""
            if around:
                uncommitted = f"it lies in the repository {around}, so it has none of its own (--git makes one)"
            else:
                uncommitted = "" if git is False else _first_commit(project)
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


def list_files(project: Path) -> list[str]:
    """The files of a project, by their paths inside it, without its repository."""
    paths = (path.relative_to(project) for path in sorted(project.rglob("*")) if path.is_file())
    return [path.as_posix() for path in paths if path.parts[0] != ".git"]


def check_target(target: Path) -> None:
    """Refuse a target where something is, before anything is asked or written."""
    target = Path(os.path.abspath(target))
    shown = _shown(target)
    other = target.with_name(f"{target.name}-2")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        kind = "a link" if target.is_symlink() else "a file"
        raise Refused(f"{shown} is {kind}", help=f"a new folder   scaffold new {shlex.quote(_shown(other))} --yes")
    try:
        found = sorted(path.name for path in target.iterdir()) if target.exists() else []
    except OSError as error:
        raise Refused(f"{shown} cannot be read: {error.strerror}") from error
    if found:
        count = f"{len(found)} file{'s' if len(found) > 1 else ''}"
        raise Refused(
            f"{shown} has {count} ({found[0]}{', …' if len(found) > 1 else ''})",
            help=f"a new folder   scaffold new {shlex.quote(_shown(other))} --yes",
        )
    with contextlib.suppress(OSError):  # a working folder that is gone is no reason
        if Path.cwd().is_relative_to(target):
            raise Refused(
                f"{shown} is the folder you are in, and a project appears whole, by one rename",
                help=f"from the folder above:   cd .. && scaffold new {shlex.quote(target.name)} --yes",
            )
    if not target.parent.is_dir():
        raise Refused(
            f"there is no folder {_shown(target.parent)}",
            help=f"make it first   mkdir -p {shlex.quote(str(target.parent))}",
        )


def _shown(path: Path) -> str:
    """A path as a person would write it: from here where it lies below."""
    try:
        inside = Path(os.path.abspath(path)).relative_to(Path.cwd()).as_posix()
        return inside if inside == "." else f"./{inside}"
    except (ValueError, OSError):
        return str(path)


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


def _repository_around(target: Path) -> str:
    """The repository that would take the target's files for its own; none where it ignores them."""
    around = asks_if_there(target.parent, "rev-parse", "--show-toplevel")
    if not around or asks_if_there(target.parent, "check-ignore", "--quiet", str(target)) is not None:
        return ""
    return around.strip()


def _first_commit(project: Path) -> str:
    """Make a repository and its first commit; the reason when there is no commit."""
    if shutil.which("git") is None:
        return "git was not found, so no repository was made; later:   git init"
    if asks(project, "init", "--quiet") is None:
        shutil.rmtree(project / ".git", ignore_errors=True)
        return "git could not make a repository; later:   git init"
    identity = [
        asks(project, "-c", "user.useConfigOnly=true", "var", f"GIT_{role}_IDENT") for role in ("AUTHOR", "COMMITTER")
    ]
    if None in identity:
        return 'git does not know your name, so nothing is committed; later:   git add -A && git commit -m "Start"'
    subject = f"Start from torch-scaffold {__version__}"
    if asks(project, "add", "--all") is None or asks(project, "commit", "--quiet", "--message", subject) is None:
        return 'git could not commit; later:   git add -A && git commit -m "Start"'
    return ""


def preview(
    answers: Mapping[str, Any], template: Path | None = None, origin: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """The files that the project of these answers would have, without writing it anywhere that stays."""
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        source = plain_copy(template or template_root(), Path(folder) / "template")
        project = Path(folder) / "project"
        render(answers, project, source, origin)
        return {name: (project / name).read_bytes() for name in list_files(project)}
