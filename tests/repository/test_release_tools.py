"""What the release workflow runs: it refuses what does not fit together, and its rehearsal takes the same steps."""

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scaffold import __version__
from tests.conftest import ROOT
from tools.release import build, check, notes, rehearse, sbom, try_wheel

CHANGES = """# Changes

## [Unreleased]

## [0.2.0] - 2030-02-03

**Rooms.** A line that goes
on in the next.

- The first change, of
  two lines; [here](docs/page.md), [there](https://c.org).
- The second

## [0.1.0] - 2030-01-02

- Old
"""


def git(folder: Path, *words: str) -> str:
    return subprocess.check_output(["git", *words], cwd=folder, text=True)


def commit(folder: Path, files: dict[str, str]) -> None:
    """Write files, and commit them."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout that can be released as v0.2.0."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, {"copier.yml": "a: 1\n", "template/a.txt": "a\n"})
    git(folder, "tag", "v0.2.0")
    (folder / "scaffold").mkdir()
    git(folder, "bundle", "create", "--quiet", "scaffold/template.bundle", "v0.2.0")
    commit(folder, {"CHANGELOG.md": CHANGES, "CITATION.cff": "version: 0.2.0\ndate-released: 2030-02-03\n"})
    commit(folder, {"pyproject.toml": "[project]\n", "scaffold/__init__.py": '__version__ = "0.2.0"\n'})
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


def test_what_fits_together_can_be_released(checkout: Path) -> None:
    assert list(check.problems("v0.2.0", checkout)) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("scaffold/__init__.py", "0.2.0", "0.3.0", "the tag is v0.2.0, and scaffold/__init__.py says 0.3.0"),
        ("CHANGELOG.md", "## [0.2.0] - 2030-02-03", "## [0.2.0] - soon", "CHANGELOG.md has no section"),
        ("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- More\n", "still has changes under [Unreleased]"),
        ("CITATION.cff", "2030-02-03", "2030-01-02", "CITATION.cff speaks of 0.2.0 of 2030-01-02"),
        ("template/a.txt", "a", "b", "has no v0.2.0 with the template of this commit"),
    ],
)
def test_what_does_not_fit_the_tag_is_named(checkout: Path, name: str, old: str, new: str, problem: str) -> None:
    path = checkout / name
    path.write_text(path.read_text().replace(old, new))
    git(checkout, "commit", "--quiet", "--all", "--message", "x")
    git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD")

    (found,) = check.problems("v0.2.0", checkout)

    assert problem in found


def test_a_commit_beside_the_main_branch_is_not_released(checkout: Path) -> None:
    git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD~")

    assert list(check.problems("v0.2.0", checkout)) == ["the commit is not on the branch main"]


def test_the_package_names_the_repository_that_it_comes_from(checkout: Path) -> None:
    (found,) = check.problems("v0.2.0", checkout, "https://example.org/a/b")
    (checkout / "pyproject.toml").write_text(
        f"[project]\nname = 'x'\n\n{found.partition('have')[2].replace('    ', '')}\n\n[tool]\n"
    )

    assert list(check.problems("v0.2.0", checkout, "https://example.org/a/b")) == []
    assert len(list(check.problems("v0.2.0", checkout, "https://example.org/fork/b"))) == 1


def test_notes_have_a_line_for_each_change_and_links_to_the_tag() -> None:
    assert notes.notes(CHANGES, "v0.2.0", "https://a.org/b").splitlines() == [
        "**Rooms.** A line that goes on in the next.",
        "",
        "- The first change, of two lines; [here](https://a.org/b/blob/v0.2.0/docs/page.md), [there](https://c.org).",
        "- The second",
        "",
        "[How to verify what you install](https://a.org/b/blob/v0.2.0/docs/verify.md)",
    ]
    with pytest.raises(SystemExit, match=r"does not say what v0\.3\.0 brings"):
        notes.notes(CHANGES, "v0.3.0")


BUILD = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "small"
version = "1"
requires-python = ">=3.10"

[tool.hatch.build.targets.wheel]
packages = ["small"]
"""
HOOK = """import uuid
from pathlib import Path
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        (Path(self.root) / "small" / "chance.py").write_text(f"{uuid.uuid4()}")
"""


def test_only_what_is_built_twice_with_equal_bytes_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    git(source, "init", "--quiet")
    commit(source, {"pyproject.toml": BUILD, "small/__init__.py": ""})

    assert build.main(source, out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["small-1-py3-none-any.whl", "small-1.tar.gz"]
    said = dict(line.split()[::-1] for line in capsys.readouterr().out.splitlines())
    assert said == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}

    commit(source, {"pyproject.toml": BUILD + "\n[tool.hatch.build.hooks.custom]\n", "hatch_build.py": HOOK})
    assert build.main(source, tmp_path / "none") == 1
    assert "two builds of one commit differ: small-1-py3-none-any.whl" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_bill_of_materials_knows_the_version_and_the_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "torch_scaffold-0.2.0-py3-none-any.whl"
    wheel.write_bytes(b"x")

    bill = sbom.with_project({"metadata": {"component": {"name": "torch-scaffold"}}, "components": []}, wheel)

    assert bill["metadata"]["component"] == {
        "name": "torch-scaffold",
        "version": "0.2.0",
        "purl": "pkg:pypi/torch-scaffold@0.2.0",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(b"x").hexdigest()}],
    }


def test_a_wheel_that_has_grown_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "torch_scaffold-0.2.0-py3-none-any.whl"
    wheel.write_bytes(bytes(1_500_000))

    with pytest.raises(AssertionError, match="1,500,000 bytes"):
        try_wheel.try_wheel(wheel, tmp_path)


def rehearsed(tmp_path: Path, *steps: dict[str, Any], name: str = "job") -> bool:
    return rehearse.rehearse_job({"steps": [*steps]}, tmp_path / name, "v0.2.0", tmp_path / "kept")


def test_the_rehearsal_runs_steps_and_hands_files_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "a/b")
    files = {"name": "release", "path": "out"}
    make = {"run": 'mkdir out && echo "$GITHUB_REF_NAME ${GITHUB_REPOSITORY:-nobody}" > out/said && ls -A ~ > out/home'}

    assert rehearsed(tmp_path, make, {"uses": "actions/upload-artifact@1", "with": files})
    token = {"run": "false", "env": {"GH_TOKEN": "x"}}
    sign = {"uses": "actions/attest-build-provenance@1"}
    use = {"uses": "actions/download-artifact@1", "with": files}
    assert rehearsed(
        tmp_path, use, {"run": 'grep "v0.2.0 nobody" out/said && test ! -s out/home'}, sign, token, name="next"
    )
    assert "only on GitHub: attest-build-provenance" in capsys.readouterr().out


def test_a_step_that_fails_ends_its_job(tmp_path: Path) -> None:
    assert not rehearsed(tmp_path, {"run": "false | true\ntrue"}, {"run": "touch reached"})
    assert not (tmp_path / "job" / "work" / "reached").exists()
    assert not rehearsed(
        tmp_path, {"uses": "actions/download-artifact@1", "with": {"name": "x", "path": "x"}}, name="next"
    )


def test_the_rehearsal_sees_the_commit_as_github_does(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse, "ROOT", checkout)
    (checkout / "template" / "a.txt").write_text("not committed\n")

    assert rehearsed(tmp_path, {"uses": "actions/checkout@1"})

    work = tmp_path / "job" / "work"
    assert git(work, "describe", "--tags", "--exact-match").strip() == "v0.2.0"
    assert (work / "template" / "a.txt").read_text() == "a\n"
    assert list(check.problems("v0.2.0", work)) == []


def test_the_tools_of_the_workflows_are_pinned_by_hash() -> None:
    wanted = re.findall(r"^[\w-]+", (ROOT / ".github/tools/tools.in").read_text(), re.MULTILINE)
    pinned = (ROOT / ".github/tools/tools.txt").read_text()

    assert wanted
    assert {*wanted} <= {*re.findall(r"^([\w-]+)==", pinned, re.MULTILINE)}
    for requirement in re.findall(r"^\S+==.*(?:\n    --hash.*)*", pinned, re.MULTILINE):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_the_citation_names_this_version() -> None:
    date = re.search(rf"^## \[{re.escape(__version__)}\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = (ROOT / "CITATION.cff").read_text()

    assert date
    assert f"\nversion: {__version__}\n" in citation
    assert f"\ndate-released: {date[1]}\n" in citation
