"""Is this commit the release that its tag says? `python -m tools.release.check v0.2.0` lists what is missing.

It needs git and Python alone, so that it runs before anything is installed. The repository's address is compared where GitHub
tells it (GITHUB_SERVER_URL and GITHUB_REPOSITORY).
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "scaffold/template.bundle"
URLS = {"Homepage": "", "Source": "", "Issues": "/issues", "Changelog": "/blob/main/CHANGELOG.md"}


def problems(tag: str, root: Path, repository: str = "") -> Iterator[str]:
    """Everything that keeps a checkout from being released as a tag, from a repository at an address."""
    version = tag.removeprefix("v")
    ours = _only(r'^__version__ = "(.*)"', root / "scaffold/__init__.py")
    if tag != f"v{ours}":
        yield f"the tag is {tag}, and scaffold/__init__.py says {ours}"
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$", changelog, re.MULTILINE)
    if heading is None:
        yield f"CHANGELOG.md has no section   ## [{version}] - 2026-01-31"
    if re.search(r"^## \[Unreleased\]\n\s*(?!## )\S", changelog, re.MULTILINE):
        yield "CHANGELOG.md still has changes under [Unreleased]"
    cited = _only(r"^version: (.*)", root / "CITATION.cff"), _only(r"^date-released: (.*)", root / "CITATION.cff")
    if heading and cited != (version, heading[1]):
        yield f"CITATION.cff speaks of {' of '.join(cited)}, not of {version} of {heading[1]}"
    if _template_in_bundle(tag, root) != _template(root):
        yield f"{BUNDLE} has no {tag} with the template of this commit   python -m scaffold.updates.release {version}"
    if not _git(root, "merge-base", "--is-ancestor", "HEAD", "origin/main"):
        yield "the commit is not on the branch main"
    if repository:
        yield from _wrong_addresses(root / "pyproject.toml", repository)


def _wrong_addresses(pyproject: Path, repository: str) -> Iterator[str]:
    """Whoever looks at the package on PyPI finds this repository, by the addresses that PyPI verifies."""
    section = re.search(
        r"^\[project\.urls\]\n(.*?)(?=^\[|\Z)", pyproject.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    found = dict(re.findall(r'^(\w+) = "(.*)"', section[1] if section else "", re.MULTILINE))
    wanted = {name: repository + path for name, path in URLS.items()}
    if found != wanted:
        lines = [f'{name} = "{address}"' for name, address in wanted.items()]
        yield "\n    ".join(
            ["pyproject.toml has other addresses than this repository's; it should have", "[project.urls]", *lines]
        )


def _only(pattern: str, path: Path) -> str:
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "nothing"


def _template(root: Path, commit: str = "HEAD") -> str:
    """The files of the template at a commit: modes, hashes, paths."""
    return _git(root, "ls-tree", "-r", commit, "copier.yml", "template")


def _template_in_bundle(tag: str, root: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        _git(Path(folder), "init", "--quiet", "--bare")
        _git(Path(folder), "fetch", "--quiet", str(root / BUNDLE), f"refs/tags/{tag}:refs/tags/{tag}")
        return _template(Path(folder), tag)


def _git(folder: Path, *words: str) -> str:
    """What git says, or a blank where it only agrees; nothing where it refuses."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    return (done.stdout or " ") if done.returncode == 0 else ""


def main(tag: str) -> int:
    server, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    found = list(problems(tag, ROOT, f"{server}/{name}" if name else ""))
    for problem in found:
        print(f"{tag}: {problem}", file=sys.stderr)
    if not found:
        print(f"{tag} can be released" + ("" if name else " (its addresses are compared on GitHub alone)"))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
