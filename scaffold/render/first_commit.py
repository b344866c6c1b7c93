"""The repository of a new project, with its first commit."""

import shutil
from pathlib import Path

from scaffold import __version__
from scaffold.system.git import asks, asks_if_there


def repository_around(target: Path) -> str:
    """The repository that would take the target's files for its own; none where it ignores them."""
    around = asks_if_there(target.parent, "rev-parse", "--show-toplevel")
    if not around or asks_if_there(target.parent, "check-ignore", "--quiet", str(target)) is not None:
        return ""
    return around.strip()


def first_commit(project: Path) -> str:
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
