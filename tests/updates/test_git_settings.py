"""However git is set, an update, a change and a check do the same, or refuse with what to type and change nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run, tree
from tests.updates.small_template import LINES, Small, small
from tests.updates.updating import append, commit, git

__all__ = ["small"]  # a fixture

SETTINGS = [
    "color.ui=always",
    "column.ui=always",
    "commit.gpgsign=true",
    "commit.cleanup=scissors",
    "core.abbrev=4",
    "core.autocrlf=input",
    "core.autocrlf=true",
    "core.bigFileThreshold=1",
    "core.eol=crlf",
    "core.fileMode=false",
    "core.ignoreCase=true",
    "core.pager=false",
    "core.precomposeUnicode=true",
    "core.quotePath=true",
    "core.safecrlf=true",
    "core.sharedRepository=group",
    "core.untrackedCache=true",
    "core.whitespace=cr-at-eol",
    "diff.external=false",
    "diff.ignoreSubmodules=all",
    "diff.mnemonicPrefix=true",
    "diff.noprefix=true",
    "diff.orderFile=/dev/null",
    "diff.renames=copies",
    "feature.manyFiles=true",
    "fetch.fsckObjects=true",
    "gpg.program=false",
    "grep.column=true",
    "grep.fullName=true",
    "grep.lineNumber=true",
    "grep.patternType=perl",
    "i18n.logOutputEncoding=latin1",
    "index.version=4",
    "init.defaultBranch=trunk",
    "log.showSignature=true",
    "merge.conflictStyle=zdiff3",
    "merge.ff=only",
    "merge.renames=false",
    "merge.renormalize=true",
    "merge.verifySignatures=true",
    "pack.threads=1",
    "protocol.allow=never",
    "push.gpgSign=true",
    "rerere.enabled=true",
    "status.relativePaths=false",
    "status.showUntrackedFiles=no",
    "submodule.recurse=true",
    "tag.sort=-taggerdate",
    "transfer.fsckObjects=true",
    "user.useConfigOnly=true",
    "versionsort.suffix=-rc",
]


@pytest.mark.figure("A9 however git is set", "settings with update, change and check each")
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_nothing_of_what_is_done(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr("scaffold.health.check.ask_python", lambda *_: {"python": "3.13.0"})
    project = small.project(here / "p")
    monkeypatch.chdir(project)
    git(project, "config", "--global", *setting.split("=", 1))

    assert "0 problems" in scaffold("check").out
    changed = scaffold("change", "--yes", "--scheduler", "step")
    assert changed.code == 0, changed.err
    assert (project / "colour.txt").read_text() == "step\n"
    assert "+line 3, theirs" in scaffold("update", "--diff").out
    updated = scaffold("update", "--yes")
    assert updated.code == 0, updated.err
    if setting != "core.autocrlf=true" and setting != "core.eol=crlf":
        theirs_and_mine = LINES.replace("line 3\n", "line 3, theirs\n").replace("line 15\n", "line 15, mine\n")
        assert (project / "changed.txt").read_bytes().decode() == theirs_and_mine
    assert (project / "way" / "in" / "it.txt").is_file()
    assert not (project / "gone.txt").exists()
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "-1", "--format=%s").strip() == "Update the template from v1.0.0 to v2.0.0"
    assert "0 problems" in scaffold("check").out
    assert ("the commit is not signed" in updated.err) == (setting == "commit.gpgsign=true")


def crlf(project: Path) -> None:
    for path in project.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.figure("A9 however git is set", "lines committed with CR LF")
@pytest.mark.parametrize("setting", ["core.autocrlf=false", "core.autocrlf=input", "core.safecrlf=true"])
@pytest.mark.parametrize("conflict", [False, True])
def test_lines_that_were_committed_with_cr_lf_are_merged_and_end_so(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, setting: str, conflict: bool
) -> None:
    project = small.project(here / "p", edit=crlf, conflict=conflict)
    monkeypatch.chdir(project)
    git(project, "config", *setting.split("=", 1))

    result = scaffold("update", "--yes")

    assert result.code == (3 if conflict else 0), result.err
    text = (project / "changed.txt").read_bytes()
    assert text.count(b"\r\n") >= text.count(b"\n") - 3 * conflict
    assert text.count(b"<<<<<<< yours") == conflict
    assert b"line 3, theirs\r\n" in text
    assert text.count(b"mine\r\n") == 1
    assert not (project / "gone.txt").exists()
    assert not list(project.glob("*.kept"))
    assert (project / "new" / "a.txt").read_bytes() == b"a\n"


def sparse(project: Path) -> None:
    git(project, "sparse-checkout", "set", "--no-cone", "/*", "!/changed.txt")


def assume_unchanged(project: Path) -> None:
    git(project, "update-index", "--assume-unchanged", "changed.txt")
    append("changed.txt", "not committed\n")(project)


def skip_worktree(project: Path) -> None:
    git(project, "update-index", "--skip-worktree", "changed.txt")
    append("changed.txt", "not committed\n")(project)


@pytest.mark.figure("A9 however git is set", "files that git passes over")
@pytest.mark.parametrize("hide", [sparse, assume_unchanged, skip_worktree])
def test_a_file_that_git_passes_over_is_a_reason_to_wait_and_not_to_lose_it(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, hide: Callable[[Path], None]
) -> None:
    project = small.project(here / "p")
    monkeypatch.chdir(project)
    hide(project)
    before, head = tree(project), git(project, "rev-parse", "HEAD")

    result = scaffold("update", "--yes")

    assert result.code == 3, result.err
    assert "changed.txt is not as in your last commit" in result.err
    assert (tree(project), git(project, "rev-parse", "HEAD")) == (before, head)
    git(project, "update-index", "--no-assume-unchanged", "--no-skip-worktree", "changed.txt")
    git(project, "sparse-checkout", "disable")
    if hide is not sparse:
        commit(project)
    assert scaffold("update", "--yes").code == 0
