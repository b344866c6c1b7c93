"""Updates come only from a template that the user knows, and run nothing of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run, tree
from tests.updates.updating import SEED, History, answers_of, append, commit, git, history, replace

__all__ = ["history"]  # a fixture


@pytest.fixture
def project(history: History, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the first of two versions, to work in."""
    made = history.make(here / "p", "v1.0.0")
    history.release(append(SEED, "\n\nVALUE = 1\n"))
    monkeypatch.chdir(made)
    return made


ANSWERS = ".copier-answers.yml"


def line(name: str, value: str) -> Callable[[Path], None]:
    """Another value in the answers file."""

    def edit(folder: Path) -> None:
        lines = (folder / ANSWERS).read_text().splitlines()
        (folder / ANSWERS).write_text(
            "\n".join(f"{name}: {value}" if at.startswith(f"{name}:") else at for at in lines) + "\n"
        )

    return edit


def link(folder: Path) -> None:
    """The answers file as a link to another."""
    (folder / ANSWERS).rename(folder / "elsewhere.yml")
    (folder / ANSWERS).symlink_to("elsewhere.yml")


def as_folder(folder: Path) -> None:
    """The answers file as a folder."""
    (folder / ANSWERS).unlink()
    append(f"{ANSWERS}/x", "x\n")(folder)


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another address": (line("_src_path", "https://evil.example/t.git"), "not one that this torch-scaffold knows"),
    "a command for an address": (line("_src_path", "'ext::sh -c touch% canary'"), "not one that this"),
    "an option for an address": (line("_src_path", "'--upload-pack=touch canary'"), "not one that this"),
    "another folder": (line("_src_path", "/"), "not one that this torch-scaffold knows"),
    "no address": (replace(ANSWERS, "_src_path:", "src_path:"), "does not say where the template is"),
    "a list for an address": (line("_src_path", "[a, b]"), "does not say where the template is"),
    "an option for a version": (line("_commit", "'--output=canary'"), "is no version"),
    "a branch for a version": (line("_commit", "main"), "is no version"),
    "a walk through the history": (line("_commit", "v1.0.0~1"), "is no version"),
    "a version that is not there": (line("_commit", "v9.0.0"), "has no version v9.0.0; its newest is v2.0.0"),
    "a number for a version": (line("_commit", "1.0"), "is no version"),
    "no version": (replace(ANSWERS, "_commit:", "commit:"), "does not say which version"),
    "a private line": (append(ANSWERS, "_tasks: [touch canary]\n"), "a line '_tasks'"),
    "an answer to no question": (append(ANSWERS, "colour: red\n"), "which template v1.0.0 does not ask"),
    "an answer to a fact": (append(ANSWERS, "has_head: false\n"), "which template v1.0.0 does not ask"),
    "an answer that is no choice": (line("model", "../../../evil"), "cannot have recorded 'model'"),
    "a package elsewhere": (line("package_name", "../evil"), "cannot have recorded 'package_name'"),
    "an answer less": (replace(ANSWERS, "scheduler: cosine\n", ""), "it does not answer 'scheduler'"),
    "an answer twice": (append(ANSWERS, "scheduler: step\n"), "answers 'scheduler' twice"),
    "a value of another kind": (line("lr", "{a: 1}"), "cannot have recorded 'lr'"),
    "stale groups": (line("groups_from", "fine-tune"), "these are not the groups of fine-tune"),
    "a YAML tag": (append(ANSWERS, "x: !!python/object/apply:os.system ['touch canary']\n"), "a YAML tag"),
    "an anchor": (append(ANSWERS, "x: &a [1]\ny: *a\n"), "a YAML anchor"),
    "two documents": (append(ANSWERS, "---\nmodel: cnn\n"), "not YAML of one document"),
    "no YAML": (append(ANSWERS, "}{\n"), "not YAML of one document"),
    "no text": (lambda folder: (folder / ANSWERS).write_bytes(b"\xff\xfe\0"), "it is no text"),
    "a list": (lambda folder: (folder / ANSWERS).write_text("- a\n"), "it holds no answers"),
    "far too long": (append(ANSWERS, "#" * 100_000), "it is too long"),
    "far too deep": (append(ANSWERS, "x: " + "[" * 60_000 + "\n"), "its brackets are too deep, which torch-scaffold"),
    "a link": (link, "it is a link"),
    "a folder": (as_folder, "it is no file"),
}


@pytest.mark.parametrize("command", ["update", "change"])
def test_answers_that_were_tampered_with_are_refused_with_the_reason(
    scaffold: Run, project: Path, command: str
) -> None:
    start = git(project, "rev-parse", "HEAD").strip()
    wrong = []
    for name, (edit, reason) in TAMPERED.items():
        edit(project)
        commit(project, name)
        before = tree(project)
        result = scaffold(command, "--yes", *(["--scheduler", "step"] if command == "change" else []))
        if result.code != 2 or reason not in result.err or "Traceback" in result.err or tree(project) != before:
            wrong.append((name, result.code, result.err))
        git(project, "reset", "--quiet", "--hard", start)

    assert wrong == []
    assert not list(project.rglob("canary"))


def test_a_fork_is_trusted_once_it_is_confirmed(
    scaffold: Run, history: History, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCAFFOLD_TEMPLATE_URL")
    monkeypatch.delenv("SCAFFOLD_TEMPLATE_REF", raising=False)

    refused = scaffold("update", "--yes")
    assert refused.code == 2
    assert f"scaffold update --trust {history.folder}" in refused.err
    assert scaffold("update", "--yes", "--trust", "https://elsewhere.example").code == 2

    assert scaffold("update", "--yes", "--trust", str(history.folder)).code == 0
    assert answers_of(project)["_commit"] == "v2.0.0"
    history.release(append(SEED, "OTHER = 2\n"))
    assert scaffold("update", "--yes").code == 0
    assert answers_of(project)["_commit"] == "v3.0.0"


def test_an_upstream_version_in_a_fork_is_taken_only_when_it_is_named(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.release(append("template/project/lab.txt", "The fork's own\n"))
    project = history.make(here / "p", "v2.0.0")
    monkeypatch.chdir(project)
    git(history.folder, "checkout", "--quiet", "-b", "upstream", "v1.0.0")
    history.release(append(SEED, "\n\nVALUE = 1\n"))
    before = tree(project)

    refused = scaffold("update", "--yes")

    assert refused.code == 3
    assert "v3.0.0 was not made from v2.0.0" in refused.err
    assert "scaffold update --to 3.0.0" in refused.err
    assert tree(project) == before
    git(history.folder, "merge", "--quiet", "--no-edit", "v2.0.0")
    history.release()
    assert scaffold("update", "--yes").code == 0
    assert answers_of(project)["_commit"] == "v4.0.0"
    assert (project / "lab.txt").exists()


@pytest.mark.parametrize("number", ["v2.0.0.1", "v2.0.0+lab.1"])
def test_a_project_of_a_fork_follows_the_fork_where_an_upstream_is_further(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    git(history.folder, "branch", "upstream")
    append("template/project/lab.txt", "The fork's own\n")(history.folder)
    commit(history.folder)
    git(history.folder, "tag", "--annotate", "--message", "Lab", "--message", "- The lab's file", number)
    project = history.make(here / "p", number)
    monkeypatch.chdir(project)
    append("template/project/lab.txt", "More of it\n")(history.folder)
    commit(history.folder)
    second = number[:-1] + "10"
    git(history.folder, "tag", "--annotate", "--message", "Lab", "--message", "- More of it", second)
    git(history.folder, "checkout", "--quiet", "upstream")
    history.release(append(SEED, "\n\nVALUE = 1\n"), news="- An upstream's news")
    git(history.folder, "tag", "--annotate", "--message", "v3.0.0", "v3.0.0")

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert answers_of(project)["_commit"] == second
    assert (project / "lab.txt").read_text() == "The fork's own\nMore of it\n"
    assert "- More of it" in result.out
    assert "upstream's news" not in result.out
    assert "v3.0.0 was not made from" in scaffold("update", "--yes").err
    git(history.folder, "checkout", "--quiet", "-b", "merged", second)
    git(history.folder, "merge", "--quiet", "--no-edit", "v3.0.0")
    third = number.replace("2.0.0", "3.0.0")
    git(history.folder, "tag", "--annotate", "--message", "Lab", "--message", "- Merged", third)

    result = scaffold("update", "--yes")

    assert answers_of(project)["_commit"] == third
    assert "- An upstream's news" in result.out
    assert "- Merged" in result.out
    assert "VALUE = 1" in (project / "p" / "engine" / "seed.py").read_text()
    assert f"{second} is older than the project's {third}" in scaffold("update", "--yes", "--to", second).err


def test_without_a_home_nothing_is_trusted_and_nothing_written(
    scaffold: Run, history: History, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("SCAFFOLD_TEMPLATE_URL")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)

    result = scaffold("update", "--yes", "--trust", str(history.folder))

    assert result.code == 3
    assert "there is no home to remember the address in" in result.err
    assert not (project / "~").exists()


@pytest.mark.parametrize(
    "code",
    [
        "_tasks: ['touch canary']\n",
        "_migrations: [{version: v2.0.0, command: touch canary}]\n",
        "_jinja_extensions: [os.path]\n",
        "_envops: {extensions: [os.path]}\n",
    ],
)
def test_a_template_that_would_run_code_is_refused(scaffold: Run, history: History, project: Path, code: str) -> None:
    history.release(append("copier.yml", f"\n---\n{code}"))
    before = tree(project)

    result = scaffold("update", "--yes")

    assert result.code == 2
    assert "would run code" in result.err
    assert tree(project) == before


def test_a_template_with_links_is_refused(scaffold: Run, history: History, project: Path) -> None:
    history.release(lambda folder: os.symlink("/etc/hostname", folder / "template" / "project" / "name.txt"))

    result = scaffold("update", "--yes")

    assert result.code == 2
    assert "has links in it" in result.err


def test_this_template_runs_nothing() -> None:
    settings = [at for at in (ROOT / "copier.yml").read_text().splitlines() if at.startswith("_")]

    assert not [at for at in settings if at.startswith(("_tasks", "_migrations", "_jinja_extensions"))]
    assert "extensions" not in "".join(settings)
    assert not [path for path in (ROOT / "template").rglob("*") if path.is_symlink()]


def test_an_address_out_of_reach_is_a_sentence(
    scaffold: Run, history: History, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.folder.rename(history.folder.with_name("gone"))

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert f"the template at {history.folder} cannot be reached" in result.err
