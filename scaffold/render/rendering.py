"""From answers to the files of a project: in a folder, or as a preview."""

import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scaffold.errors import CreateFailed
from scaffold.paths import template_root


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
    from scaffold.render.copier_run import run_copy

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
        target.write_bytes(path.read_bytes())  # with the mode that the umask leaves, which Copier hands on
        if path.stat().st_mode & stat.S_IXUSR:
            mode = stat.S_IMODE(target.stat().st_mode)
            target.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may execute it
    return folder


def _template_files(root: Path) -> Iterator[Path]:
    yield root / "copier.yml"
    for path in sorted((root / "template").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def preview(
    answers: Mapping[str, Any], template: Path | None = None, origin: Mapping[str, str] | None = None
) -> dict[str, bytes]:
    """The files that the project of these answers would have, without writing it anywhere that stays."""
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as folder:
        source = plain_copy(template or template_root(), Path(folder) / "template")
        project = Path(folder) / "project"
        render(answers, project, source, origin)
        return {name: (project / name).read_bytes() for name in list_files(project)}


def list_files(project: Path) -> list[str]:
    """The files of a project, by their paths inside it, without its repository."""
    paths = (path.relative_to(project) for path in sorted(project.rglob("*")) if path.is_file())
    return [path.as_posix() for path in paths if path.parts[0] != ".git"]
