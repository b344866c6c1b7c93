"""The user's repository: where the project is in it, and whether there is anything that is not committed."""

import re
from pathlib import Path

from scaffold.errors import Refused
from scaffold.system.git import asks, call, git, reason
from scaffold.updates.what_to_type import commit_all, give_up, only


def repository_of(project: Path) -> tuple[Path, Path, str]:
    """The top of the repository that a project is in, its folder of git, and the project's place in it."""
    found = call(project, "rev-parse", "--show-toplevel")
    if "safe.directory" in found.stderr:
        raise Refused(
            "git does not trust the repository, because it belongs to somebody else",
            help="if you do   " + found.stderr[found.stderr.find("git config") :].strip(),
        )
    if found.returncode and not re.search("not a git repository|must be run in a work tree", found.stderr):
        why = reason(found).removeprefix("fatal: ") or f"it ended with {found.returncode} and said nothing"
        raise Refused(
            f"git does not read the repository: {why}",
            help="git status   says it too",
        )
    prefix = asks(project, "rev-parse", "--show-prefix")
    git_dir = asks(project, "rev-parse", "--absolute-git-dir")
    if prefix is None or git_dir is None or asks(project, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise Refused(
            "the project has no commit yet, so there would be no way back",
            help='make one   git init && git add -A && git commit -m "Start"',
        )
    return Path(found.stdout.removesuffix("\n")), Path(git_dir), prefix


def check_clean(project: Path, prefix: str) -> None:
    """Refuse a project with changes that are not committed: an update would mix with them."""
    # what is edited inside a submodule is between the user and that
    flags = ("--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames")
    status = [line for line in git(project, "status", "--porcelain", "-z", *flags, "--", ".").split("\0") if line]
    if not status:
        return
    count = f"{len(status)} file{'s' if len(status) > 1 else ''}"
    unmerged = [line for line in status if "U" in line[:2] or line[:2] in ("AA", "DD")]
    if unmerged:
        raise Refused(
            f"an earlier update is not finished: {unmerged[0][3:]} has conflicts",
            help=f"when they are solved   {commit_all(prefix, 'Update the template')}\n"
            f"to give it up          {give_up(prefix)}",
        )
    raise Refused(
        f"{count} with changes that are not committed ({status[0][3:]}{', …' if len(status) > 1 else ''})",
        help=f"commit them          {commit_all(prefix, 'My changes')}\n"
        f"or put them aside    git stash --include-untracked{only(prefix)}",
    )
