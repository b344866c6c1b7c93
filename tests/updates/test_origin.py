"""Wherever torch-scaffold was installed from, its projects find their template again: by it, and by Copier alone."""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaffold.errors import BadAnswer
from scaffold.updates.origin import find_origin
from scaffold.updates.template_history import _ssh
from tests.conftest import ROOT, Run, tree
from tests.updates.updating import answers_of, append, commit, copier, git

NOT_OURS = shutil.ignore_patterns("__pycache__", "template.bundle")
BUNDLE = "~/.local/share/torch-scaffold/template.bundle"
VARIABLES = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ALLOW_PROTOCOL": "file", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*words: str, folder: Path, **environment: str) -> str:
    """A command that must work."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=folder, env={**variables, **VARIABLES, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def gitconfig(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A git that knows a name."""
    path = tmp_path_factory.mktemp("git") / "config"
    path.write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    return str(path)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, gitconfig: str) -> Path:
    """A copy of the repository with two versions, cut by the release command and tagged."""
    folder = tmp_path_factory.mktemp("checkout") / "torch-scaffold"
    folder.mkdir()
    for name in ("scaffold", "template", "presets"):
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_OURS)
    for name in ("copier.yml", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    run("git", "init", "--quiet", "--initial-branch=main", folder=folder, GIT_CONFIG_GLOBAL=gitconfig)
    for number in (1, 2):
        (folder / "scaffold" / "__init__.py").write_text(f'"""Ours."""\n\n__version__ = "{number}.0.0"\n')
        append("template/project/notes.md", f"Note {number}\n")(folder)
        append("CHANGELOG.md", f"## [{number}.0.0] - 2030-01-0{number}\n\n- Note {number}\n\n")(folder)
        for words in (
            ("git", "add", "--all"),
            ("git", "commit", "--quiet", "--message", f"Prepare {number}"),
            (sys.executable, "-m", "scaffold.updates.release", f"{number}.0.0"),
            ("git", "add", "--all"),
            ("git", "commit", "--quiet", "--message", f"Release {number}"),
            ("git", "tag", "--annotate", "--message", f"{number}", f"v{number}.0.0"),
        ):
            run(*words, folder=folder, GIT_CONFIG_GLOBAL=gitconfig)
    return folder


@dataclass(frozen=True)
class Machine:
    """A home of its own, with a torch-scaffold installed in some way."""

    home: Path
    python: str
    gitconfig: str

    def scaffold(self, *words: str, folder: Path | None = None, **environment: str) -> str:
        """Our command on this machine."""
        return run(
            self.python,
            "-m",
            "scaffold",
            *words,
            folder=folder or self.home,
            HOME=str(self.home),
            GIT_CONFIG_GLOBAL=self.gitconfig,
            **environment,
        )

    def copier_update(self, project: Path) -> None:
        """Plain `copier update` on this machine."""
        done = copier(
            "update", "--defaults", folder=project, HOME=str(self.home), GIT_CONFIG_GLOBAL=self.gitconfig, **VARIABLES
        )
        assert done.returncode == 0, done.stderr


Install = Callable[..., Machine]


@pytest.fixture
def install(tmp_path: Path, gitconfig: str) -> Install:
    """A machine with torch-scaffold installed from what pip is told; the dependencies are those of the tests."""

    def on(name: str, *what: str) -> Machine:
        home = tmp_path / name
        venv.create(home / "venv", with_pip=False)
        python = str(home / "venv" / "bin" / "python")
        site = next((home / "venv").glob("lib/python*/site-packages"))
        here = next(path for path in map(Path, sys.path) if path.name == "site-packages")
        (site / "dependencies.pth").write_text(f"{here}\n")
        if what:
            pip = (
                sys.executable,
                "-m",
                "pip",
                "--python",
                python,
                "install",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
            )
            run(*pip, *what, folder=home, HOME=str(home), GIT_CONFIG_GLOBAL=gitconfig)
        return Machine(home, python, gitconfig)

    return on


def build_wheel(checkout: Path, version: str, folder: Path) -> str:
    """The wheel of a version."""
    run("git", "worktree", "add", "--quiet", "--detach", str(folder / "source"), version, folder=checkout)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist"), folder=folder / "source")
    run("git", "worktree", "remove", "--force", str(folder / "source"), folder=checkout)
    return str(next((folder / "dist").glob("*.whl")))


def recorded(project: Path) -> tuple[str, str | None]:
    """The address and the version that a project records."""
    answers = answers_of(project)
    return answers["_src_path"], answers.get("_commit")


def test_a_project_of_the_wheel_is_updated_from_the_bundle(checkout: Path, install: Install, tmp_path: Path) -> None:
    ada = install("ada", build_wheel(checkout, "v1.0.0", tmp_path))
    ada.scaffold("new", "p", "--yes")
    project = ada.home / "p"
    assert recorded(project) == (BUNDLE, "v1.0.0")
    git(ada.home, "clone", "--quiet", "--bare", "p", "server.git")

    newer = install("newer", build_wheel(checkout, "v2.0.0", tmp_path / "two"))
    bob = Machine(newer.home, newer.python, newer.gitconfig)
    git(bob.home, "clone", "--quiet", str(ada.home / "server.git"), "p")
    git(bob.home, "clone", "--quiet", str(ada.home / "server.git"), "q")
    said = bob.scaffold("update", "--yes", folder=bob.home / "p")
    assert "- Note 2" in said
    bob.copier_update(bob.home / "q")

    assert recorded(bob.home / "p") == (BUNDLE, "v2.0.0")
    assert (bob.home / "p" / "notes.md").read_text() == "Note 1\nNote 2\n"
    assert tree(bob.home / "p") == tree(bob.home / "q")


def test_a_colleague_with_the_bundle_needs_any_command_of_ours_once(
    checkout: Path, install: Install, tmp_path: Path
) -> None:
    ada = install("ada", build_wheel(checkout, "v1.0.0", tmp_path))
    ada.scaffold("new", "p", "--yes")
    append("mine.py", "MINE = 1\n")(ada.home / "p")
    commit(ada.home / "p")
    git(ada.home, "clone", "--quiet", "--bare", "p", "server.git")
    bob = install("bob", build_wheel(checkout, "v2.0.0", tmp_path / "two"))
    git(bob.home, "clone", "--quiet", str(ada.home / "server.git"), "p")
    assert not (bob.home / ".local").exists()

    bob.scaffold("list")
    bob.copier_update(bob.home / "p")

    assert recorded(bob.home / "p") == (BUNDLE, "v2.0.0")
    assert (bob.home / "p" / "notes.md").read_text() == "Note 1\nNote 2\n"
    assert (bob.home / "p" / "mine.py").read_text() == "MINE = 1\n"


def test_an_older_torch_scaffold_leaves_a_newer_bundle_in_place(
    checkout: Path, install: Install, tmp_path: Path
) -> None:
    old = install("old", build_wheel(checkout, "v1.0.0", tmp_path))
    new = install("new", build_wheel(checkout, "v2.0.0", tmp_path / "two"))
    place = Path(BUNDLE.replace("~", str(old.home)))

    run(new.python, "-m", "scaffold", "list", folder=old.home, HOME=str(old.home))
    newest = place.read_bytes()
    old.scaffold("list")

    assert place.read_bytes() == newest
    assert newest == (checkout / "scaffold" / "template.bundle").read_bytes()


@pytest.mark.parametrize("revision", ["@v1.0.0", ""])
def test_a_project_of_a_vcs_install_is_updated_from_there(
    checkout: Path, install: Install, tmp_path: Path, revision: str
) -> None:
    server = tmp_path / "torch-scaffold-server"
    git(tmp_path, "clone", "--quiet", "--bare", str(checkout), str(server))
    ada = install("ada", f"git+file://{server}{revision}")
    ada.scaffold("new", "p", "--yes")
    address, version = recorded(ada.home / "p")
    assert address == f"git+file://{server}"
    assert version == ("v1.0.0" if revision else git(checkout, "rev-parse", "HEAD").strip())
    git(ada.home, "clone", "--quiet", "--bare", "p", "server.git")
    if not revision:
        third = tmp_path / "third"
        git(tmp_path, "clone", "--quiet", str(server), str(third))
        append("template/project/notes.md", "Note 3\n")(third)
        commit(third, "Three")
        git(third, "tag", "--annotate", "--message", "3", "v3.0.0")
        git(third, "push", "--quiet", "origin", "main", "v3.0.0")

    bob = install("bob")
    git(bob.home, "clone", "--quiet", str(ada.home / "server.git"), "p")
    bob.copier_update(bob.home / "p")
    ada.scaffold("update", "--yes", folder=ada.home / "p")

    newest = "v2.0.0" if revision else "v3.0.0"
    assert recorded(bob.home / "p") == (address, newest)
    assert tree(bob.home / "p") == tree(ada.home / "p")


def test_a_vcs_origin_out_of_reach_is_replaced_by_the_bundle(checkout: Path, install: Install, tmp_path: Path) -> None:
    server = tmp_path / "server.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(checkout), str(server))
    old = install("old", f"git+file://{server}@v1.0.0")
    old.scaffold("new", "p", "--yes")
    new = install("new", f"git+file://{server}@v2.0.0")
    shutil.move(old.home / "p", new.home / "p")
    server.rename(tmp_path / "gone")

    said = new.scaffold("update", "--yes", folder=new.home / "p")

    assert f"file://{server} cannot be reached" in said
    assert recorded(new.home / "p") == (f"file://{server}", "v2.0.0")


def test_an_editable_checkout_records_what_it_is(checkout: Path, install: Install, tmp_path: Path) -> None:
    source = tmp_path / "source"
    git(tmp_path, "clone", "--quiet", str(checkout), str(source))
    git(source, "checkout", "--quiet", "v1.0.0")
    ada = install("ada", "--editable", str(source))

    said = ada.scaffold("new", "tagged", "--yes")
    assert recorded(ada.home / "tagged") == (str(checkout), "v1.0.0")
    assert "note:" not in said
    ada.copier_update(ada.home / "tagged")
    assert recorded(ada.home / "tagged") == (str(checkout), "v2.0.0")

    append("template/project/notes.md", "More\n")(source)
    said = ada.scaffold("new", "dirty", "--yes")
    assert recorded(ada.home / "dirty") == (str(checkout), None)
    assert "note: the template has changes that are not committed: no version is recorded" in said

    commit(source)
    said = ada.scaffold("new", "between", "--yes")
    described = git(source, "describe", "--tags").strip()
    assert recorded(ada.home / "between") == (str(checkout), described)
    assert f"note: the template is not at a released version: {described} is recorded" in said


def test_the_environment_has_the_last_word(checkout: Path, install: Install, tmp_path: Path) -> None:
    ada = install("ada", build_wheel(checkout, "v1.0.0", tmp_path))

    ada.scaffold(
        "new", "p", "--yes", SCAFFOLD_TEMPLATE_URL="https://me:secret@example.org/t.git", SCAFFOLD_TEMPLATE_REF="v1.0.0"
    )

    assert recorded(ada.home / "p") == ("https://example.org/t.git", "v1.0.0")


def test_a_project_by_plain_copier_is_updated_by_both(checkout: Path, install: Install) -> None:
    ada = install("ada")
    done = copier("copy", "--defaults", "--vcs-ref", "v1.0.0", str(checkout), "p", folder=ada.home)
    assert done.returncode == 0, done.stderr
    git(ada.home / "p", "init", "--quiet")
    commit(ada.home / "p")
    shutil.copytree(ada.home / "p", ada.home / "q")

    ada.copier_update(ada.home / "p")
    run(
        ada.python,
        "-m",
        "scaffold",
        "update",
        "--trust",
        str(checkout),
        "--yes",
        folder=ada.home / "q",
        HOME=str(ada.home),
        PYTHONPATH=str(ROOT),
    )

    assert recorded(ada.home / "p") == recorded(ada.home / "q") == (str(checkout), "v2.0.0")
    assert tree(ada.home / "p") == tree(ada.home / "q")


@pytest.mark.parametrize("revision", ["v1.0.0", "v2.0.0rc1", "2-fixes", "main", "abc1234"])
def test_what_is_recorded_of_an_installation_is_a_version(monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    class Installed:
        def read_text(self, _: str) -> str:
            source = {"vcs": "git", "requested_revision": revision, "commit_id": 40 * "a"}
            return json.dumps({"url": "https://example.org/t.git", "vcs_info": source})

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    monkeypatch.delenv("SCAFFOLD_TEMPLATE_URL", raising=False)

    assert find_origin().record["_commit"] == ("v1.0.0" if revision == "v1.0.0" else 40 * "a")


def test_a_wheel_of_a_fork_names_its_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    class Metadata:
        def get_all(self, name: str) -> list[str]:
            return ["Home, https://example.org", "Template, https://git.example.org/lab/t.git"] * (
                name == "Project-URL"
            )

    monkeypatch.setattr("importlib.metadata.metadata", lambda _: Metadata())
    monkeypatch.setattr("scaffold.updates.origin.is_checkout", lambda: False)
    monkeypatch.setattr("scaffold.updates.origin.__version__", "0.4.0.1")

    assert find_origin().record == {"_src_path": "https://git.example.org/lab/t.git", "_commit": "v0.4.0.1"}


@pytest.mark.figure(
    "A11 what was moved, and which version", "a package in src/, and versions that would not be rendered"
)
@pytest.mark.parametrize(
    ("address", "version", "said"),
    [
        ("https://example.org/t.git", "v0.3.1", "v0.3.1 is another version of the template, and this torch-scaffold"),
        (None, "v0.3.1", "v0.3.1 is another version of the template, and this torch-scaffold"),
        (None, "v77.0.0", "SCAFFOLD_TEMPLATE_URL does not say of which template"),
    ],
)
def test_a_version_that_would_not_be_rendered_is_not_recorded(
    scaffold: Run, here: Path, monkeypatch: pytest.MonkeyPatch, address: str | None, version: str, said: str
) -> None:
    if address:
        monkeypatch.setenv("SCAFFOLD_TEMPLATE_URL", address)
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_REF", version)

    result = scaffold("new", "p", "--yes")

    assert result.code == 2
    assert said in result.err
    assert "at: SCAFFOLD_TEMPLATE_REF" in result.err
    assert list(here.iterdir()) == []


def test_what_the_environment_says_is_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_URL", "https://example.org/t.git")
    monkeypatch.setenv("SCAFFOLD_TEMPLATE_REF", "main")

    with pytest.raises(BadAnswer, match="'main' is no version of a template"):
        find_origin()


@pytest.mark.parametrize(
    ("variables", "setting", "command"),
    [
        ({}, "", "ssh -o BatchMode=yes -o ConnectTimeout=20"),
        ({}, "ssh -i work", "ssh -i work -o BatchMode=yes -o ConnectTimeout=20"),
        ({"GIT_SSH_COMMAND": "ssh -4"}, "ssh -i work", "ssh -4 -o BatchMode=yes -o ConnectTimeout=20"),
        ({}, r'"\"C:/a b/ssh.exe\" -i work"', '"C:/a b/ssh.exe" -i work -o BatchMode=yes -o ConnectTimeout=20'),
        ({"GIT_SSH": "plink"}, "", None),
        ({}, "plink -i work", None),
    ],
)
def test_the_users_own_ssh_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], setting: str, command: str | None
) -> None:
    (tmp_path / "config").write_text(f"[core]\nsshCommand = {setting}\n" if setting else "")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    for name in ("GIT_SSH", "GIT_SSH_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert _ssh(tmp_path).get("GIT_SSH_COMMAND") == command


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://github.com/a/b", "https://github.com/a/b"),
        ("https://example.org/b", "git+https://example.org/b"),
        ("ssh://git@example.org/b.git", "ssh://git@example.org/b.git"),
        ("git@example.org:a/b", "git@example.org:a/b"),
        ("https://me:secret@example.org/b", "git+https://example.org/b"),
        ("ssh://me:secret@example.org/b.git", "ssh://me@example.org/b.git"),
    ],
)
def test_a_remote_is_recorded_as_copier_takes_it_and_without_secrets(
    checkout: Path, tmp_path: Path, gitconfig: str, address: str, kept: str
) -> None:
    source = tmp_path / "source"
    git(tmp_path, "clone", "--quiet", str(checkout), str(source))
    git(source, "remote", "set-url", "origin", address)

    code = "from scaffold.updates.origin import find_origin; print(find_origin().record['_src_path'])"
    said = run(
        sys.executable,
        "-c",
        code,
        folder=source,
        PYTHONPATH=str(source),
        HOME=str(tmp_path),
        GIT_CONFIG_GLOBAL=gitconfig,
    )

    assert said.strip() == kept
