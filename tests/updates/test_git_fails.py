"""Every call of git fails once, in turn: the project is as it was, or what is said is true."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import Run, tree
from tests.updates.small_template import Small, small
from tests.updates.updating import git

__all__ = ["small"]  # a fixture

UPDATE, CHANGE = ("update", "--yes"), ("change", "--yes", "--scheduler", "step")
# each with a conflict and without, and git ending with 1 (often its "no") and 128
ALL = [(words, conflict, code) for words in (UPDATE, CHANGE) for conflict in (False, True) for code in (1, 128)]
# with every commit half of them, at every second call: the first, third ... where git ends with 1, the others with 128
SOME = [(words, conflict, code) for words, conflict, code in ALL if (code == 128) == (conflict == (words == UPDATE))]


def title(words: tuple[str, ...], conflict: bool, code: int) -> str:
    return f"{words[0]}-{'conflict' if conflict else 'commit'}-{code}"


TRIED = [
    *(pytest.param(*one, 2, id=f"{title(*one)}-some") for one in SOME),
    *(pytest.param(*one, 1, id=title(*one), marks=pytest.mark.nightly) for one in ALL),
]


def state(project: Path) -> tuple[dict[str, bytes], str, str, str]:
    """All that an update changes."""
    said = [git(project, *words) for words in (("ls-files", "-s"), ("status", "--porcelain"), ("log", "--format=%s"))]
    return tree(project), said[0], said[1], said[2]


@pytest.mark.figure("A4 a call of git fails", "every call of git of an update and a change, once each")
@pytest.mark.parametrize(("words", "conflict", "code", "stride"), TRIED)
def test_whichever_call_of_git_fails(
    scaffold: Run,
    small: Small,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    conflict: bool,
    code: int,
    stride: int,
    record_property: Callable[[str, object], None],
) -> None:
    count, real, at = tmp_path / "count", subprocess.run, 0

    def failing(command: Any, **how: Any) -> Any:
        """Count the calls of git, also those of the process that takes the last step."""
        number = len(count.read_bytes()) + 1
        count.write_bytes(b"x" * number)
        return real(["sh", "-c", f"exit {code}"], **how) if number == at else real(command, **how)

    project = small.project(here / "p", conflict=conflict)
    monkeypatch.chdir(project)
    ours = SimpleNamespace(run=failing, CompletedProcess=subprocess.CompletedProcess)
    monkeypatch.setattr("scaffold.system.git.subprocess", ours)
    before, copy = state(project), tmp_path / "copy"
    real(["cp", "-a", str(project), str(copy)], check=True)
    count.write_bytes(b"")
    whole = scaffold(*words)
    calls, after = len(count.read_bytes()), state(project)
    assert whole.code == (3 if conflict else 0), whole.err
    assert calls > 40

    wrong = []
    moments = range(1 if code == 1 else stride, calls + 1, stride)
    for at in moments:
        shutil.rmtree(project)
        real(["cp", "-a", str(copy), str(project)], check=True)
        monkeypatch.chdir(project)
        count.write_bytes(b"")
        result = scaffold(*words)
        now = state(project)
        left = list((project / ".git" / "torch-scaffold").glob("work-*")) + list(project.glob(".git/index.lock"))
        says_nothing = bool(
            re.search("Nothing was (written|changed)|The project is as it was|nothing newer", result.err)
        )
        same = now == before
        told = same if result.code not in (0, 3) or says_nothing else now == after
        if not told or left or "Traceback" in result.err:
            wrong.append((at, result.code, result.err.splitlines()[-3:], same, now == after, left))
            print(wrong[-1], flush=True)
    record_property("tries", len(moments))
    assert wrong == []
