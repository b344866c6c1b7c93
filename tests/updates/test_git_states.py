"""Whatever state a repository is in, and wherever it is: an update ends well, or is refused in a sentence and changes nothing."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run, tree
from tests.updates.small_template import LINES, Small, small
from tests.updates.updating import commit, git

__all__ = ["small"]  # a fixture

HOOKS = (
    "pre-commit",
    "commit-msg",
    "post-commit",
    "post-checkout",
    "post-merge",
    "reference-transaction",
    "post-index-change",
)


def shell(folder: Path, commands: str) -> None:
    """Run commands as a user would."""
    subprocess.run(["sh", "-c", commands], cwd=folder, check=True, capture_output=True)


def hooks(project: Path, text: str) -> None:
    for name in HOOKS:
        path = project / ".git" / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


# REPOSITORIES THAT CAN BE UPDATED: EACH MAKES ONE OF A PROJECT, AND SAYS WHERE IT IS THEN


def with_failing_hooks(project: Path) -> Path:
    hooks(project, "exit 1")
    return project


def with_hooks_that_edit(project: Path) -> Path:
    hooks(project, "echo edited >> mine.txt; echo new > by-a-hook.txt")
    return project


def with_a_file_system_monitor(project: Path) -> Path:
    (project.parent / "monitor").write_text("#!/bin/sh\nexit 1\n")
    (project.parent / "monitor").chmod(0o755)
    git(project, "config", "core.fsmonitor", str(project.parent / "monitor"))
    return project


def with_settings_that_are_included(project: Path) -> Path:
    (project.parent / "more").write_text("[core]\n\tautocrlf = input\n[alias]\n\tls-files = !false\n\tclone = !false\n")
    git(project, "config", f"includeIf.gitdir:{project}/.path", str(project.parent / "more"))
    return project


def in_a_worktree(project: Path) -> Path:
    git(project, "worktree", "add", "--quiet", "../side", "-b", "side")
    return project.parent / "side"


def in_a_worktree_of_a_bare_repository(project: Path) -> Path:
    shell(project.parent, "git clone -q --bare p bare.git && git -C bare.git worktree add -q ../side main")
    return project.parent / "side"


def cloned_without_history(project: Path) -> Path:
    shell(project.parent, f"git clone -q --depth 1 'file://{project}' shallow")
    return project.parent / "shallow"


def cloned_without_blobs(project: Path) -> Path:
    git(project, "config", "uploadpack.allowFilter", "true")
    shell(project.parent, f"git clone -q --filter=blob:none 'file://{project}' partial")
    return project.parent / "partial"


def as_a_submodule(project: Path) -> Path:
    shell(
        project.parent, "git init -q above && cd above && git -c protocol.file.allow=always submodule add -q ../p sub"
    )
    return project.parent / "above" / "sub"


def in_a_folder_of_a_repository(project: Path) -> Path:
    shell(
        project.parent, "rm -rf p/.git && mkdir -p 'm/a b/ü' && mv p 'm/a b/ü/p' && echo y > m/other && git init -q m"
    )
    commit(project.parent / "m")
    return project.parent / "m" / "a b" / "ü" / "p"


def in_a_sparse_checkout(project: Path) -> Path:
    shell(project.parent, "rm -rf p/.git && mkdir -p m/other && echo y > m/other/y && mv p m/p && git init -q m")
    commit(project.parent / "m")
    git(project.parent / "m", "sparse-checkout", "set", "--cone", "--sparse-index", "p")
    return project.parent / "m" / "p"


def in_a_folder_of_an_odd_name(project: Path) -> Path:
    return project.rename(project.parent / "-a b\nc 'd' \"e\" $x;ü")


def in_a_folder_whose_name_is_no_text(project: Path) -> Path:
    return project.rename(Path(os.fsdecode(os.fsencode(project.parent) + b"/\xfc")))


def with_a_split_index(project: Path) -> Path:
    git(project, "update-index", "--split-index")
    git(project, "config", "core.splitIndex", "true")
    return project


def with_a_filter_that_is_not_installed(project: Path) -> Path:
    git(project, "config", "filter.lfs.process", "git-lfs-nowhere filter-process")
    (project / ".gitattributes").write_text("*.bin filter=lfs\n")
    commit(project)
    return project


def with_diffs_of_other_programs(project: Path) -> Path:
    (project / ".gitattributes").write_text("*.txt diff=x\n")
    commit(project)
    for setting in ("diff.external", "diff.x.textconv", "diff.x.command"):
        git(project, "config", setting, "/nowhere")
    return project


def with_a_template_of_commits(project: Path) -> Path:
    for setting in ("commit.template=/nowhere", "commit.cleanup=verbatim", "core.editor=false", "format.signOff=true"):
        git(project, "config", *setting.split("="))
    return project


def on_no_branch(project: Path) -> Path:
    git(project, "checkout", "--quiet", "--detach")
    return project


def with_tags_named_as_the_templates(project: Path) -> Path:
    shell(project, "git tag v2.0.0 && git branch v1.0.0 && git tag main")
    return project


def where_everything_is_ignored(project: Path) -> Path:
    (project.parent / "ignore").write_text("*\n")
    git(project, "config", "core.excludesFile", str(project.parent / "ignore"))
    return project


def with_its_folder_of_git_elsewhere(project: Path) -> Path:
    shell(project, "mv .git ../p.git && echo 'gitdir: ../p.git' > .git")
    git(project.parent / "p.git", "config", "core.worktree", str(project))
    return project


@pytest.mark.figure("A9 however git is set", "places and states of a repository, updated")
@pytest.mark.parametrize(
    "prepare",
    [
        with_failing_hooks,
        with_hooks_that_edit,
        with_a_file_system_monitor,
        with_settings_that_are_included,
        in_a_worktree,
        in_a_worktree_of_a_bare_repository,
        cloned_without_history,
        cloned_without_blobs,
        as_a_submodule,
        in_a_folder_of_a_repository,
        in_a_sparse_checkout,
        in_a_folder_of_an_odd_name,
        in_a_folder_whose_name_is_no_text,
        with_a_split_index,
        with_a_filter_that_is_not_installed,
        with_diffs_of_other_programs,
        with_a_template_of_commits,
        on_no_branch,
        with_tags_named_as_the_templates,
        where_everything_is_ignored,
        with_its_folder_of_git_elsewhere,
    ],
)
def test_a_repository_is_updated_wherever_and_however_it_is(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], Path]
) -> None:
    project = prepare(small.project(here / "p"))
    monkeypatch.chdir(project)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    theirs_and_mine = LINES.replace("line 3\n", "line 3, theirs\n").replace("line 15\n", "line 15, mine\n")
    assert (project / "changed.txt").read_text() == theirs_and_mine
    assert (project / "mine.txt").read_text() == "mine\n"
    assert (project / "way" / "in" / "it.txt").is_file()
    assert not (project / "gone.txt").exists()
    assert not (project / "by-a-hook.txt").exists()
    calm = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    assert git(project, *calm, "status", "--porcelain", "--", ".") == ""
    assert git(project, "log", "-1", "--format=%s").strip() == "Update the template from v1.0.0 to v2.0.0"


@pytest.mark.figure("A9 however git is set", "variables of the environment, updated")
@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "/nowhere/.git", "GIT_WORK_TREE": "/nowhere", "GIT_INDEX_FILE": "/nowhere/index"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": "/nowhere"},
        {"GIT_CONFIG_PARAMETERS": "'core.bare'='true' 'alias.status'='!false'"},
        {"GIT_EXTERNAL_DIFF": "/nowhere", "GIT_PAGER": "false", "GIT_EDITOR": "false", "GIT_DIFF_OPTS": "--unified=0"},
        {"GIT_TRACE": "1", "GIT_TRACE2_EVENT": "2"},
        {"GIT_DEFAULT_HASH": "sha256", "GIT_NO_REPLACE_OBJECTS": "1"},
        {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"},
        {"TMPDIR": "/nowhere"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_what_the_environment_says_changes_nothing(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    project = small.project(here / "p")
    monkeypatch.chdir(project)
    with monkeypatch.context() as outside:
        for name, value in variables.items():
            outside.setenv(name, value)
        result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert "line 3, theirs" in (project / "changed.txt").read_text()
    assert git(project, "status", "--porcelain") == ""


# THOSE THAT CANNOT


def in_the_middle_of_a_rebase(project: Path) -> None:
    shell(project, "GIT_SEQUENCE_EDITOR=\"sed -i '1s/pick/edit/'\" git rebase -q -i HEAD~1")


def in_the_middle_of_a_merge(project: Path) -> None:
    shell(project, "git checkout -q -b o HEAD~1 && git commit -q --allow-empty -m o")
    shell(project, "git merge -q --no-commit --no-ff -s ours main")


def in_the_middle_of_a_bisect(project: Path) -> None:
    shell(
        project, "git commit -q --allow-empty -m more && git bisect start && git bisect bad && git bisect good HEAD~2"
    )


def in_the_middle_of_a_cherry_pick(project: Path) -> None:
    subprocess.run(["git", "cherry-pick", "HEAD"], cwd=project, check=False, capture_output=True)


def with_a_lock_of_the_index(project: Path) -> None:
    (project / ".git" / "index.lock").touch()


def with_a_lock_of_the_branch(project: Path) -> None:
    (project / ".git" / "refs" / "heads" / "main.lock").touch()


def with_a_lock_of_head(project: Path) -> None:
    (project / ".git" / "HEAD.lock").touch()


def with_settings_that_cannot_be_read(project: Path) -> None:
    path = project / ".git" / "config"
    path.write_text(f"{path.read_text()}[core\n")


def with_a_filter_that_fails(project: Path) -> None:
    (project / ".gitattributes").write_text("changed.txt filter=x\n")
    commit(project)
    for setting in ("filter.x.smudge=false", "filter.x.clean=cat", "filter.x.required=true"):
        git(project, "config", *setting.split("="))


@pytest.mark.figure("A9 however git is set", "states of a repository in which nothing can be updated, refused")
@pytest.mark.parametrize(
    ("prepare", "said", "to_type"),
    [
        (in_the_middle_of_a_rebase, "a rebase in the repository is not finished", "git rebase --continue"),
        (in_the_middle_of_a_merge, "a merge in the repository is not finished", "git merge --continue"),
        (in_the_middle_of_a_bisect, "a bisect in the repository is not finished", "git bisect reset"),
        (
            in_the_middle_of_a_cherry_pick,
            "a cherry-pick in the repository is not finished",
            "git cherry-pick --continue",
        ),
        (with_a_lock_of_the_index, "another git is working in the repository", "   rm /"),
        (with_a_lock_of_the_branch, "cannot lock ref", "   rm /"),
        (with_a_lock_of_head, "cannot lock ref", "   rm /"),
        (with_settings_that_cannot_be_read, "git does not read the repository: bad config line", "git status"),
        (with_a_filter_that_fails, "changed.txt: smudge filter x failed", ""),
    ],
)
def test_a_repository_that_cannot_be_updated_stays_as_it_is(
    scaffold: Run,
    small: Small,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Path], None],
    said: str,
    to_type: str,
) -> None:
    project = small.project(here / "p")
    prepare(project)
    monkeypatch.chdir(project)
    before, head = tree(project), (project / ".git" / "refs" / "heads" / "main").read_text()

    result = scaffold("update", "--yes")

    assert result.code in (1, 3), result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "\\n" not in errors[0]
    assert to_type in result.err
    assert any(line in result.err for line in ("Nothing was written.", "The project is as it was."))
    assert (tree(project), (project / ".git" / "refs" / "heads" / "main").read_text()) == (before, head)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_why_a_template_cannot_be_reached_is_said_in_the_words_that_say_it(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = small.project(here / "p")
    monkeypatch.chdir(project)
    for path in (small.template, small.template / ".git"):
        os.chown(path, 65534, 65534)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "cannot be reached (fatal: detected dubious ownership" in result.err
    assert "Please make sure" not in result.err
    assert "and the repository exists" not in result.err
