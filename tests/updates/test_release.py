"""A release adds the template to the history that goes out with torch-scaffold, and proves that it is there."""

import shutil
import subprocess
from pathlib import Path

import pytest

from scaffold.errors import ScaffoldError
from scaffold.render.rendering import plain_copy
from scaffold.system.git import GitFailed
from scaffold.updates.addresses import RELEASE, VERSION
from scaffold.updates.release import release
from scaffold.updates.template_history import open_history, order, section
from tests.conftest import ROOT, tree
from tests.updates.updating import append, commit, git, remove

SMALL = {
    "copier.yml": "_subdirectory: template/project\nwho:\n  type: str\n  default: nobody\n",
    "template/project/a.txt.jinja": "{{ who }}\n",
    "CHANGELOG.md": "# Changes\n\n## [0.1.0] - 2030-01-02\n\n- The first\n- version\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout, whose version is 0.1.0."""
    folder = tmp_path / "checkout"
    for name, text in SMALL.items():
        append(name, text)(folder)
    version(folder, "0.1.0")
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def version(checkout: Path, number: str) -> None:
    """What the checkout says that it is."""
    append("scaffold/__init__.py", f'__version__ = "{number}"\n')(checkout)


def second(checkout: Path) -> None:
    """The next version, ready to be released."""
    commit(checkout, "Release 0.1.0")
    append("template/project/b.txt", "b\n")(checkout)
    remove("template/project/a.txt.jinja")(checkout)
    append("CHANGELOG.md", "\n## [0.2.0] - 2030-02-03\n\n- Only b\n")(checkout)
    remove("scaffold/__init__.py")(checkout)
    version(checkout, "0.2.0")
    commit(checkout)


def test_a_bundle_gives_back_every_released_template(checkout: Path, tmp_path: Path) -> None:
    release("0.1.0", checkout)
    one = tree(plain_copy(checkout, tmp_path / "one"))
    second(checkout)
    bundle = release("0.2.0", checkout)
    two = tree(plain_copy(checkout, tmp_path / "two"))

    history = open_history(str(bundle), "v0.1.0", tmp_path / "clone")
    assert history.releases() == ["v0.1.0", "v0.2.0"]
    assert tree(history.check_out("v0.1.0", tmp_path / "out-1")) == one
    assert tree(history.check_out("v0.2.0", tmp_path / "out-2")) == two
    assert history.news("v0.1.0", "v0.2.0") == [("v0.2.0", ["- Only b"])]
    assert git(history.repository, "cat-file", "-t", "v0.2.0").strip() == "tag"
    assert git(history.repository, "log", "--format=%an %as", "v0.2.0").splitlines() == [
        "torch-scaffold 2030-02-03",
        "torch-scaffold 2030-01-02",
    ]


def test_a_fork_adds_to_the_number_of_the_upstream(checkout: Path, tmp_path: Path) -> None:
    release("0.1.0", checkout)
    commit(checkout, "Release 0.1.0")
    append("CHANGELOG.md", "\n## [0.1.0+lab.1] - 2030-01-03\n\n- Of the lab\n")(checkout)
    remove("scaffold/__init__.py")(checkout)
    version(checkout, "0.1.0+lab.1")
    commit(checkout)
    release("0.1.0+lab.1", checkout)
    second(checkout)
    bundle = release("0.2.0", checkout)

    history = open_history(str(bundle), "v0.1.0+lab.1", tmp_path / "clone")
    assert history.releases() == ["v0.1.0", "v0.1.0+lab.1", "v0.2.0"]
    assert history.news("v0.1.0", "v0.2.0") == [("v0.1.0+lab.1", ["- Of the lab"]), ("v0.2.0", ["- Only b"])]
    assert section((checkout / "CHANGELOG.md").read_text(), "0.2.0+lab.1") == ("", "")


def test_a_section_is_that_of_the_whole_number() -> None:
    text = "# Changes\n\n## [0.1.0+lab.1] - 2030-01-03\n\n- Lab\n\n## [0.1.0.1]\n\n- Four\n\n## 0.1.0 (2030-01-02)\n\n- One\n"

    assert section(text, "v0.1.0") == ("2030-01-02", "- One")
    assert section(text, "v0.1.0.1") == ("", "- Four")
    assert section(text, "v0.1.0+lab.1") == ("2030-01-03", "- Lab")


def test_releases_have_an_order() -> None:
    names = ["v0.9.0", "v0.10.0", "v0.10.0+lab.1", "v0.10.0+lab.2", "v0.10.0+lab.10", "v0.10.0.1", "v0.10.1"]

    assert sorted(names[3:] + names[:3], key=order) == names
    assert all(RELEASE.fullmatch(name) and VERSION.fullmatch(f"{name}-3-gabcdef0") for name in names)


def test_the_same_release_is_the_same_bundle(checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(checkout, tmp_path / "other")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")

    first = release("0.1.0", checkout).read_bytes()

    monkeypatch.setenv("TZ", "UTC")
    assert release("0.1.0", tmp_path / "other").read_bytes() == first


def test_what_cannot_be_released_is_a_sentence_and_leaves_the_bundle(checkout: Path) -> None:
    bundle = release("0.1.0", checkout)
    before = bundle.read_bytes()

    def refused(number: str) -> str:
        with pytest.raises(ScaffoldError) as error:
            release(number, checkout)
        assert bundle.read_bytes() == before
        return str(error.value)

    assert "changes that are not committed: scaffold/template.bundle" in refused("0.1.0")
    commit(checkout)
    assert "v0.1.0 is released, and 0.1.0 is not newer" in refused("0.1.0")
    assert "0.2.0 is not the version of this checkout, 0.1.0" in refused("0.2.0")
    remove("scaffold/__init__.py")(checkout)
    version(checkout, "0.2.0")
    assert "CHANGELOG.md does not say what 0.2.0 brings" in refused("0.2.0")
    append("CHANGELOG.md", "\n## [0.2.0] - 2030-02-03\n\n- A task\n")(checkout)
    append("copier.yml", "_tasks: [echo]\n")(checkout)
    commit(checkout)
    assert "would run code (_tasks)" in refused("0.2.0")


def test_a_damaged_bundle_is_a_sentence(checkout: Path) -> None:
    bundle = release("0.1.0", checkout)
    second(checkout)
    bundle.write_bytes(bundle.read_bytes()[:-100])
    commit(checkout)

    with pytest.raises(GitFailed):
        release("0.2.0", checkout)


def test_the_bundle_of_this_repository_holds_its_released_versions(tmp_path: Path) -> None:
    bundle = ROOT / "scaffold" / "template.bundle"
    if not bundle.exists():
        pytest.skip("nothing was released yet")

    git(tmp_path, "init", "--quiet")
    subprocess.run(["git", "bundle", "verify", "--quiet", str(bundle)], cwd=tmp_path, check=True)
    heads = git(tmp_path, "bundle", "list-heads", str(bundle))
    assert "refs/tags/v0.1.0" in heads


def test_a_commit_whose_short_name_is_a_number_is_no_release(checkout: Path, tmp_path: Path) -> None:
    for number in range(1000):
        commit(checkout, f"Try {number}")
        name = git(checkout, "rev-parse", "HEAD").strip()
        if name[:7].isdecimal():
            break

    history = open_history(str(checkout), name[:7], tmp_path / "clone")

    assert history.commit(name[:7]) == name
    assert history.newest(name[:7]) == name[:7]
