"""Calls of git: no hooks, no signing, no pagers, no questions, and no caller's repository."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from scaffold.errors import CreateFailed, ProgramMissing

# Variables by which a caller's git (a hook, say) would make ours work on another repository.
_CALLERS = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE"),
    *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
)
_SETTINGS = (
    f"core.hooksPath={os.devnull}",
    "core.fsmonitor=false",
    "core.safecrlf=false",
    "core.splitIndex=false",
    "core.bigFileThreshold=512m",
    "safe.bareRepository=all",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "init.templateDir=",
    "init.defaultBranch=main",
    "gc.auto=0",
    "advice.detachedHead=false",
    "merge.directoryRenames=false",
    "color.ui=false",
)


class GitFailed(CreateFailed):
    """A call of git that should have worked did not."""


def git(
    folder: Path,
    *words: str | Path,
    variables: Mapping[str, str] | None = None,
    text: str = "",
    alone: bool = False,
    allowed: tuple[int, ...] = (0,),
) -> str:
    """What git answers in a folder, without the last line break. `alone` lets it end even when we are interrupted."""
    done = call(folder, *words, variables=variables, text=text, alone=alone)
    if done.returncode not in allowed:
        what = next((word for word in words if not str(word).startswith("-")), words[0])
        raise GitFailed(f"git {what} failed: {reason(done) or done.returncode}")
    return done.stdout.removesuffix("\n")


def reason(done: "subprocess.CompletedProcess[str]") -> str:
    """What git says went wrong, without the advice that follows; nothing where it says nothing."""
    said = (done.stderr or done.stdout).strip().splitlines()
    return next((line for line in said if line.startswith("fatal: ")), said[-1] if said else "")


def asks(folder: Path, *words: str | Path) -> str | None:
    """What git answers in a folder, or nothing where it says no."""
    done = call(folder, *words)
    return done.stdout.removesuffix("\n") if done.returncode == 0 else None


def asks_if_there(folder: Path, *words: str | Path) -> str | None:
    """What git answers in a folder, or nothing where it says no or is missing."""
    try:
        return asks(folder, *words)
    except ProgramMissing:
        return None


def call(
    folder: Path,
    *words: str | Path,
    variables: Mapping[str, str] | None = None,
    text: str = "",
    alone: bool = False,
    program: str = "git",
) -> "subprocess.CompletedProcess[str]":
    """Run git in a folder, whatever comes of it. It takes no lock that it can do without, so that looking writes
    nothing; names are taken as they are, every byte of them."""
    environment = {name: value for name, value in os.environ.items() if name not in _CALLERS}
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    own = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [program, *settings, *map(str, words)],
            cwd=folder,
            env={**environment, **own, **(variables or {})},
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            start_new_session=alone,
        )
    except (FileNotFoundError, PermissionError):
        raise ProgramMissing("git was not found", help="install git   https://git-scm.com/downloads") from None
    # not as text, which would change line breaks, also those in names
    said = [stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *said)
