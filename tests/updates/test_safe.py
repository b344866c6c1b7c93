"""What is the owner's stays: in the way of the template or not, known to git or not; and who only looks writes nothing."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run, tree
from tests.updates.updating import (
    SEED,
    TRAIN,
    History,
    append,
    commit,
    git,
    history,
    move,
    own_answers,
    remove,
    replace,
)

__all__ = ["history"]  # a fixture

EXTRAS = "template/project/{{ package_name }}/extras"
Edit = Callable[[Path], object]


def new_version(history: History) -> None:
    """A version that brings a package, a folder in folders, and changes a file."""
    history.release(
        append(f"{EXTRAS}/__init__.py", "EXTRAS = 1\n"),
        append("template/project/tools/deep/down/run.sh", "run\n"),
        append(SEED, "\n\nVALUE = 1\n"),
    )


@pytest.fixture
def project(history: History, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the first version, to work in, in a folder of a larger repository."""
    made = history.make(here / "all" / "a folder" / "p", "v1.0.0")
    shutil.rmtree(made / ".git")
    append("README.md", "Everything\n")(here / "all")
    append("extras", "of another project\n")(here / "all")
    git(here / "all", "init", "--quiet", "--initial-branch=main")
    commit(here / "all")
    monkeypatch.chdir(made)
    return made


def link(name: str, to: str) -> Edit:
    """An edit: a link."""

    def edit(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(to)

    return edit


def content(path: Path) -> str:
    """What a file holds, or where a link leads."""
    return os.readlink(path) if path.is_symlink() else path.read_text()


# IN THE WAY


@pytest.mark.figure(
    "A1 nothing of the owner's in the way is lost", "files, links and folders where a folder or a file comes"
)
@pytest.mark.parametrize(
    ("edits", "moved"),
    [
        (
            [append("p/extras", "mine\n"), link("tools", "tests")],
            {"p/extras": ("p/extras.kept", "mine\n"), "tools": ("tools.kept", "tests")},
        ),
        (
            [link("p/extras", "../tests"), append("tools/deep", "mine\n"), append("tools/mine", "mine\n")],
            {"p/extras": ("p/extras.kept", "../tests"), "tools/deep": ("tools/deep.kept", "mine\n")},
        ),
        (
            [link("p/extras", "/nowhere"), append("tools/deep/down/run.sh/mine", "mine\n")],
            {
                "p/extras": ("p/extras.kept", "/nowhere"),
                "tools/deep/down/run.sh/mine": ("tools/deep/down/run.sh.kept/mine", "mine\n"),
            },
        ),
        (
            [
                link("p/extras/__init__.py", "../engine/seed.py"),
                append("tools", "mine\n"),
                append("tools.kept", "older\n"),
            ],
            {
                "p/extras/__init__.py": ("p/extras/__init__.py.kept", "../engine/seed.py"),
                "tools": ("tools.kept_", "mine\n"),
            },
        ),
    ],
    ids=["file and link", "link to a folder and deep", "dead link and folder", "link for a file and name taken"],
)
def test_what_git_keeps_is_moved_out_of_the_way_and_named(
    scaffold: Run, history: History, project: Path, edits: list[Edit], moved: dict[str, tuple[str, str]]
) -> None:
    for edit in edits:
        edit(project)
    commit(project)
    new_version(history)
    before = tree(project)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    for name, (kept, text) in moved.items():
        assert content(project / kept) == text
        top = kept if kept.count("/") == name.count("/") and ".kept/" not in kept else kept[: kept.index(".kept/") + 5]
        assert f"yours is kept as a folder/p/{top}\n" in result.err
    assert (project / "p" / "extras" / "__init__.py").read_text() == "EXTRAS = 1\n"
    assert (project / "tools" / "deep" / "down" / "run.sh").read_text() == "run\n"
    assert (project / "p" / "engine" / "seed.py").read_text().endswith("VALUE = 1\n")
    assert (
        not {*before.values()} - {*tree(project).values()} - {before["p/engine/seed.py"], before[".copier-answers.yml"]}
    )
    assert git(project, "status", "--porcelain") == ""
    assert "an update kept " in scaffold("check").out
    git(project, "revert", "--no-edit", "HEAD")
    assert tree(project) == before


@pytest.mark.figure(
    "A1 nothing of the owner's in the way is lost", "files, links and folders where a folder or a file comes"
)
@pytest.mark.parametrize(
    ("edit", "kept"),
    [
        (append("p/Extras", "mine\n"), "p/Extras.kept"),
        (append("TOOLS", "mine\n"), "TOOLS.kept"),
        (append("Tools/Deep", "mine\n"), "Tools/Deep.kept"),
        (append("tools/DEEP/down/Run.sh", "mine\n"), "tools/DEEP/down/Run.sh.kept"),
        (append("tools/DEEP/down/run.SH/a/b", "mine\n"), "tools/deep/down/run.sh.kept/a/b"),
        (link("Tools", "/nowhere"), "Tools.kept"),
    ],
    ids=["file", "file above", "file deep down", "file for a file", "folder for a file", "link"],
)
def test_names_that_differ_in_case_alone_are_one_place_where_git_is_told_so(
    scaffold: Run, history: History, project: Path, edit: Edit, kept: str
) -> None:
    edit(project)
    commit(project)
    git(project, "config", "core.ignoreCase", "true")
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert content(project / kept) in ("mine\n", "/nowhere")
    assert "yours is kept as" in result.err
    names = git(project, "ls-files").splitlines()
    assert len({name.casefold() for name in names}) == len(names)
    assert (project / "tools" / "deep" / "down" / "run.sh").read_text() == "run\n"


def test_a_file_whose_name_changes_in_case_alone_is_merged(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.release(append("template/project/thing.txt", "one\n" * 20))
    project = history.make(here / "p", "v2.0.0")
    monkeypatch.chdir(project)
    git(project, "config", "core.ignoreCase", "true")
    append("thing.txt", "mine\n")(project)
    commit(project)
    history.release(move("template/project/thing.txt", "template/project/Thing.txt"))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (project / "Thing.txt").read_text().endswith("one\nmine\n")
    assert git(project, "ls-files", "*hing.txt*").split() == ["Thing.txt"]


def test_what_git_ignores_is_not_touched_and_the_update_refused(scaffold: Run, history: History, project: Path) -> None:
    new_version(history)
    append(".gitignore", "extras\ntools\n*.mine\n")(project)
    commit(project)
    before, head, wrong = tree(project), git(project, "rev-parse", "HEAD"), []
    for edit, said in (
        (append("p/extras", "secret\n"), "a file a folder/p/p/extras that git ignores"),
        (link("p/extras", "../tests"), "a link a folder/p/p/extras that git ignores"),
        (link("p/extras", "/nowhere"), "a link a folder/p/p/extras that git ignores"),
        (append("tools", "secret\n"), "a file a folder/p/tools that git ignores"),
        (append("tools/deep", "secret\n"), "a file a folder/p/tools/deep that git ignores"),
        (append("tools/deep/down/run.sh", "secret\n"), "a file of that name that git ignores"),
        (link("tools/deep/down/run.sh", "/nowhere"), "a link of that name that git ignores"),
        (append("tools/deep/down/run.sh/a/b", "secret\n"), "a folder of that name with a folder/p/tools/deep/down/run"),
    ):
        edit(project)
        mine = tree(project)

        result = scaffold("update", "--yes")

        if (
            result.code != 3
            or f"comes with the template, and you have {said}" not in result.err
            or tree(project) != mine
            or git(project, "rev-parse", "HEAD") != head
            or git(project, "status", "--porcelain")
        ):
            wrong.append((said, result.code, result.err))
        subprocess.run(result.err.split("move it away   ")[1].splitlines()[0], shell=True, check=True)
        assert {*tree(project).values()} == {*mine.values()}
        git(project, "clean", "--quiet", "--force", "-d", "-x")

    assert wrong == []
    assert tree(project) == before
    assert scaffold("update", "--yes").code == 0


def test_a_file_that_nobody_added_is_seen_however_git_is_set(scaffold: Run, history: History, project: Path) -> None:
    git(project, "config", "status.showUntrackedFiles", "no")
    append("p/extras", "mine\n")(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "1 file with changes that are not committed" in result.err
    assert (project / "p" / "extras").read_text() == "mine\n"


def test_an_answer_that_brings_a_folder_loses_nothing_either(scaffold: Run, history: History, project: Path) -> None:
    append("launch", "#!/bin/sh\n")(project)
    commit(project)

    result = scaffold("change", "--yes", "--distributed", "ddp")

    assert result.code == 0, result.err
    assert (project / "launch.kept").read_text() == "#!/bin/sh\n"
    assert (project / "launch" / "slurm.sh").is_file()


def test_a_folder_of_that_name_is_the_template_s_and_the_owner_s(
    scaffold: Run, history: History, project: Path
) -> None:
    append("p/extras/mine.py", "MINE = 1\n")(project)
    append("p/extras.py", "MINE = 2\n")(project)
    commit(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (project / "p" / "extras" / "mine.py").read_text() == "MINE = 1\n"
    assert (project / "p" / "extras.py").read_text() == "MINE = 2\n"
    assert "p/extras.py is yours, and Python imports the folder " in result.err


def test_a_submodule_in_the_way_is_the_owner_s_to_move(scaffold: Run, history: History, project: Path) -> None:
    other = project.parent / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    commit(other)
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "tools")
    commit(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "your submodule " in result.err
    assert "help: move it away   git mv " in result.err
    assert git(project, "status", "--porcelain") == ""


def test_a_submodule_with_edits_of_its_own_is_no_reason_to_wait(scaffold: Run, history: History, project: Path) -> None:
    other = project.parent / "other"
    append("a", "a\n")(other)
    git(other, "init", "--quiet")
    commit(other)
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "lib")
    commit(project)
    append("lib/a", "mine\n")(project)
    git(project, "config", "submodule.recurse", "true")
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (project / "lib" / "a").read_text() == "a\nmine\n"


@pytest.mark.figure(
    "A1 nothing of the owner's in the way is lost", "files, links and folders where a folder or a file comes"
)
@pytest.mark.parametrize(
    ("place", "to"),
    [
        ("p", "code"),
        ("p/engine", "parts/engine"),
        ("p/engine/seed.py", "elsewhere.py"),
        ("p/engine/seed.py", "a b/ü.py"),
    ],
)
def test_a_file_or_folder_that_was_moved_behind_a_link_is_merged_where_it_is(
    scaffold: Run, history: History, project: Path, place: str, to: str
) -> None:
    (project / to).parent.mkdir(exist_ok=True)
    (project / place).rename(project / to)
    (project / place).symlink_to(os.path.relpath(project / to, (project / place).parent))
    (project / "p" / "engine" / "seed.py").write_text("import mine\n" + (project / "p/engine/seed.py").read_text())
    commit(project)
    links = {name: text for name, text in tree(project).items() if text.startswith(b"-> ")}
    history.release(append(SEED, "\n\nVALUE = 1\n"))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert {name: text for name, text in tree(project).items() if text.startswith(b"-> ")} == links
    text = (project / "p" / "engine" / "seed.py").read_text()
    assert text.startswith("import mine\n")
    assert text.endswith("VALUE = 1\n")
    assert to in result.err
    assert git(project, "status", "--porcelain") == ""
    assert not list(project.rglob("*.kept"))


@pytest.mark.figure(
    "A1 nothing of the owner's in the way is lost", "files, links and folders where a folder or a file comes"
)
@pytest.mark.parametrize("leads", ["../../../shared/seed.py", "/nowhere/seed.py", "loader.py", "seed.py"])
def test_a_link_that_leads_to_no_file_of_ones_own_stays_and_it_is_told_how_to_see_what_has_changed(
    scaffold: Run, history: History, project: Path, leads: str
) -> None:
    seed = project / "p" / "engine" / "seed.py"
    seed.unlink()
    seed.symlink_to(leads)
    commit(project)
    history.release(append(SEED, "\n\nVALUE = 1\n"))

    result = scaffold("update", "--yes")

    assert result.code == 3, result.err
    assert "p/engine/seed.py has changed in the template; you have a link there, and it stays so" in result.err
    other = result.err.partition("the other")[2].splitlines()[0].strip()
    assert subprocess.run(other, shell=True, cwd=project, check=False).returncode == 0
    assert (project / "seed.py.template").read_text().endswith("VALUE = 1\n")
    (project / "seed.py.template").unlink()
    finish = result.err.partition("edit, then")[2].splitlines()[0].strip()
    assert subprocess.run(finish, shell=True, cwd=project, check=False, capture_output=True).returncode == 0
    assert os.readlink(seed) == leads
    assert git(project, "status", "--porcelain") == ""


def test_a_file_that_becomes_a_folder_in_the_template_keeps_the_owners_edits_beside(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.release(append("template/project/thing", "one\n"), append("template/project/other", "one\n"))
    project = history.make(here / "p", "v2.0.0")
    monkeypatch.chdir(project)
    append("thing", "mine\n")(project)
    commit(project)
    history.release(
        remove("template/project/thing"),
        remove("template/project/other"),
        append("template/project/thing/in.txt", "two\n"),
        append("template/project/other/in.txt", "two\n"),
    )

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (project / "thing.kept").read_text() == "one\nmine\n"
    assert (project / "thing" / "in.txt").read_text() == "two\n"
    assert (project / "other" / "in.txt").read_text() == "two\n"
    assert not (project / "other.kept").exists()


# NAMES AND HASHES OF ALL KINDS

ODD = 'se\ted "ü\n -.py'


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_a_conflict_in_a_file_of_an_odd_name_is_whole(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    project = history.make(here / "p", "v1.0.0")
    monkeypatch.chdir(project)
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet", f"--object-format={kind}")
    commit(project)
    move("p/engine/seed.py", f"p/engine/{ODD}")(project)
    append(f"p/engine/{ODD}", "\nVALUE = 'mine'\n")(project)
    append("-dash/ and space", "mine\n")(project)
    append("p/train.py", "MINE = 1\n")(project)
    commit(project)
    before = tree(project)
    history.release(
        append(SEED, "\nVALUE = 1\n"), append(TRAIN, "THEIRS = 1\n"), append("template/project/docs/new.md", "New\n")
    )

    result = scaffold("update", "--yes")

    assert result.code == 3
    unmerged = git(project, "diff", "--name-only", "--diff-filter=U", "-z").split("\0")
    assert unmerged[:-1] == [f"p/engine/{ODD}", "p/train.py"]
    for name in unmerged[:-1]:
        assert "<<<<<<< yours" in (project / name).read_text()
        assert git(project, "ls-files", "--unmerged", "-z", "--", name).count("\0") == 3
        for stage in (1, 2, 3):
            git(project, "cat-file", "-e", f":{stage}:{name}")
    assert "2 conflicts, between" in result.err
    assert "an update is not finished: " in scaffold("check").out
    git(project, "reset", "--quiet", "--hard")
    assert tree(project) == before
    assert git(project, "status", "--porcelain") == ""


def test_conflicts_that_were_committed_as_they_were_are_seen(scaffold: Run, history: History, project: Path) -> None:
    append("README.md", "\nMine.\n")(project)
    commit(project)
    history.release(append("template/project/README.md.jinja", "\nTheirs.\n"))
    assert scaffold("update", "--yes").code == 3
    commit(project, "As it was")

    result = scaffold("check")

    assert result.code == 1
    assert "README.md has conflicts of an update in the text" in result.out


@pytest.mark.figure("A10 what is advised is quoted", "answers that would be commands")
def test_what_to_type_is_quoted_for_a_shell(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = history.make(here / "p", "v1.0.0", {"weights": "file"})
    monkeypatch.chdir(project)
    (project / "p" / "options.py").write_text("mine\n")
    commit(project)
    name = 'my "best" `touch canary` $(touch canary).pt'

    result = scaffold("change", "--yes", "--weights-file", name)

    assert result.code == 3
    subprocess.run(result.err.split("edit, then ")[1].splitlines()[0], shell=True, check=True)
    assert git(project, "log", "-1", "--format=%s") == f"Change weights_file to {name}\n"
    assert not list(project.rglob("canary*"))


@pytest.mark.parametrize(
    "settings", [("column.ui=always", "color.diff=always"), ("column.tag=always", "diff.external=false")], ids=str
)
def test_however_git_is_set_the_versions_and_files_are_found(
    scaffold: Run, history: History, project: Path, settings: tuple[str, ...]
) -> None:
    new_version(history)
    for setting in settings:
        git(project, "config", "--global", *setting.split("="))

    shown = scaffold("update", "--diff")
    result = scaffold("update", "--yes", "--to", "2.0.0")

    assert result.code == 0, result.err
    assert "\n+VALUE = 1" in shown.out
    assert git(project, "status", "--porcelain") == ""


# WHO ONLY LOOKS


def bytes_of(folder: Path) -> dict[str, str]:
    """Every file below a folder, by the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.figure("A2 looking writes nothing", "check, --check and --diff with settings by which git would write")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"core.fileMode": "false", "submodule.recurse": "true"},
        {"core.untrackedCache": "true", "core.splitIndex": "true"},
        {"core.fsmonitor": "{hook}", "core.hooksPath": "{hooks}"},
        {"diff.autoRefreshIndex": "true", "safe.bareRepository": "explicit"},
    ],
    ids=str,
)
def test_a_look_changes_no_byte_of_the_repository(
    scaffold: Run,
    history: History,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    if "core.fileMode" in settings:  # where Copier finds the files in the index, it writes their modes
        project = history.make(project.parents[2] / "alone" / "p", "v1.0.0")
        monkeypatch.chdir(project)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "reference-transaction", "post-checkout", "pre-commit", "monitor"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
        (hooks / name).chmod(0o755)
    top = Path(git(project, "rev-parse", "--show-toplevel").strip())
    (project / "p" / "metrics.py").chmod(0o755)
    commit(project)
    new_version(history)
    for path in hooks.iterdir():
        shutil.copy(path, top / ".git" / "hooks" / path.name)
    for name, value in settings.items():
        scope = "--global" if name.startswith("safe.") else "--local"  # git takes it from there alone
        git(project, "config", scope, name, value.format(hook=hooks / "monitor", hooks=hooks))
    (tmp_path / "hooked").unlink(missing_ok=True)
    for path in project.rglob("*.py"):  # so that git has reason to look at it anew
        os.utime(path, (1, 1))
    append("README.md", "not committed\n")(project)
    before, files = bytes_of(top / ".git"), tree(project)

    for words in (
        ("check",),
        ("update", "--check"),
        ("update", "--diff"),
        ("change", "--scheduler", "step", "--diff"),
        ("change", "--distributed", "ddp", "--diff"),
    ):
        result = scaffold(*words)
        assert "Traceback" not in result.err
        changed = {*before.items()} ^ {*bytes_of(top / ".git").items()}
        assert (words, changed) == (words, set())

    assert tree(project) == files
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize("recurse", ["false", "true"])
def test_an_update_leaves_modes_that_git_passes_over(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, recurse: str
) -> None:
    project = history.make(here / "p", "v1.0.0")
    monkeypatch.chdir(project)
    (project / "p" / "metrics.py").chmod(0o755)
    (project / "p" / "engine" / "seed.py").chmod(0o755)
    commit(project)
    git(project, "config", "core.fileMode", "false")
    git(project, "config", "submodule.recurse", recurse)
    (project / "p" / "engine" / "seed.py").chmod(0o600)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert git(project, "status", "--porcelain") == ""
    for name in ("p/metrics.py", "p/engine/seed.py"):
        assert git(project, "ls-files", "--stage", name).startswith("100755 ")
        assert git(project, "ls-tree", "HEAD", name).startswith("100755 ")
    assert (project / "p" / "engine" / "seed.py").stat().st_mode & 0o777 == 0o600


# KILLED

KILLED = """
import os, signal, sys
real = os.replace
def replace(source, target):
    if str(target).endswith(os.environ["LAST"]):
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
os.replace = replace
from scaffold.cli import main
main(["update", "-y"])
"""


@pytest.mark.figure("A5 killed with git, put right by the next command", "killed with everything in the last step")
@pytest.mark.parametrize(
    ("last", "next_"),
    [
        ("p/engine/seed.py", "check"),
        (".git/index", "update --yes"),
        ("done.json", "update --check"),
        (".git/index", "update --diff"),
        ("p/engine/seed.py", "change --scheduler step --yes"),
    ],
)
def test_the_next_command_puts_right_what_a_kill_left_and_says_so(
    scaffold: Run, history: History, project: Path, tmp_path: Path, last: str, next_: str
) -> None:
    append("tools", "mine\n")(project)
    commit(project)
    new_version(history)
    before, head = tree(project), git(project, "rev-parse", "HEAD")
    done = subprocess.run([sys.executable, "-c", KILLED], env={**os.environ, "LAST": last}, check=False)
    assert done.returncode < 0
    whole = last == "done.json"
    assert (git(project, "rev-parse", "HEAD") != head) == whole
    assert tree(project) != before

    result = scaffold(*next_.split())

    said = result.out if next_ == "check" else result.err
    assert "'Update the template from v1.0.0 to v2.0.0' was killed " in said
    assert ("at its end, and it is done" if whole else "it is undone, and the project is as it was") in said
    assert git(project, "status", "--porcelain") == ""
    if next_ == "update --yes":
        assert result.code == 0, result.err
        assert git(project, "log", "--format=%s").splitlines()[:1] == ["Update the template from v1.0.0 to v2.0.0"]
        assert (project / "tools.kept").read_text() == "mine\n"
    elif "change" not in next_:
        assert (tree(project) == before) != whole
    assert "was killed" not in scaffold("update", "--check").err
    assert not list(project.rglob(".git/index.lock"))
    assert own_answers(project)["package_name"] == "p"


def test_a_slow_filter_that_is_killed_with_everything_has_changed_nothing(
    scaffold: Run, history: History, project: Path, tmp_path: Path
) -> None:
    import signal
    import time

    append(".gitattributes", "*.py filter=slow\n")(project)
    commit(project)
    new_version(history)
    git(project, "config", "filter.slow.clean", "cat")
    git(project, "config", "filter.slow.smudge", f"touch {tmp_path}/begun; sleep 60; cat")
    git(project, "config", "filter.slow.required", "true")
    before = tree(project)
    process = subprocess.Popen(
        [sys.executable, "-m", "scaffold", "update", "-y"], stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    assert tree(project) == before
    assert git(project, "status", "--porcelain") == ""
    git(project, "config", "filter.slow.smudge", "cat")
    assert scaffold("update", "--yes").code == 0


def test_a_repository_apart_and_a_worktree_are_updated_too(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = history.make(here / "p", "v1.0.0")
    git(project, "init", "--quiet", "--separate-git-dir", str(here / "apart"))
    git(project, "worktree", "add", "--quiet", "-b", "side", str(here / "side"))
    new_version(history)

    for folder in (here / "side", project):
        monkeypatch.chdir(folder)
        assert scaffold("update", "--yes").code == 0
        assert git(folder, "status", "--porcelain") == ""
        assert (folder / "p" / "extras" / "__init__.py").is_file()
    assert git(project, "worktree", "list").count("\n") == 2


def test_line_ends_are_as_git_is_told(scaffold: Run, history: History, project: Path) -> None:
    git(project, "config", "core.autocrlf", "true")
    for path in (project / "p").rglob("*.py"):
        path.unlink()
    git(project, "checkout", "--", ".")
    replace("p/engine/seed.py", "import random\n", "import random  # mine\n")(project)
    commit(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (project / "p" / "engine" / "seed.py").read_bytes().endswith(b"\r\nVALUE = 1\r\n")
    assert git(project, "status", "--porcelain") == ""


def test_what_the_owner_says_of_merges_holds(scaffold: Run, history: History, project: Path) -> None:
    top = Path(git(project, "rev-parse", "--show-toplevel").strip())
    append(".gitattributes", "README.md merge=mine\n")(top)
    git(project, "config", "merge.mine.driver", "true")
    append("README.md", "\nMine.\n")(project)
    commit(project)
    history.release(append("template/project/README.md.jinja", "\nTheirs.\n"))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (project / "README.md").read_text().endswith("\nMine.\n")
