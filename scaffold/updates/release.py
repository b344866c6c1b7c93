"""Add the template as it stands to the history that goes out with torch-scaffold: `python -m scaffold.updates.release 0.2.0`.

The history is `scaffold/template.bundle`, a git bundle with one tagged commit for each released version; every project
made from an installed torch-scaffold is updated from it. The same template and changelog give the same bundle.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from scaffold import __version__, paths
from scaffold.errors import BadAnswer, CreateFailed, Refused, ScaffoldError
from scaffold.render.rendering import plain_copy, preview
from scaffold.system.files import write_whole
from scaffold.system.git import asks, git
from scaffold.updates.template_history import History, order, section


def release(version: str, root: Path) -> Path:
    """Append the template of a checkout to its bundle, as a version; returns the bundle."""
    date, changes = _check(version, root)
    bundle = root / "scaffold" / "template.bundle"
    tag = f"v{version}"
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-") as name:
        work = Path(name) / "work"
        work.mkdir()
        git(work, "init", "--quiet", "--initial-branch=main")
        if bundle.is_file():
            git(work, "fetch", "--quiet", "--tags", bundle, "main:refs/heads/before")
            git(work, "reset", "--soft", "before")
            _check_order(version, work)
        plain_copy(root, work)
        # the same bytes on every machine: its settings decide nothing
        git(work, "-c", "core.autocrlf=false", "-c", "core.fileMode=true", "add", "--all", "--force", ".")
        who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in _who(date).items()}
        git(work, "commit", "--quiet", "--allow-empty", "--message", f"Template {version}", variables=who)
        git(
            work,
            "tag",
            "--annotate",
            "--cleanup=verbatim",
            "--file=-",
            tag,
            variables=who,
            text=f"{version}\n\n{changes}\n",
        )
        fresh = Path(name) / "template.bundle"
        # not compressed, since a wheel compresses what versions have in common too: a sixth less; and no zlib's bytes differ
        plain = ("-c", "core.compression=0", "-c", "pack.threads=1")
        git(work, *plain, "repack", "-a", "-d", "-F", "--quiet", "--window=1000", "--depth=1000")
        git(work, *plain, "bundle", "create", "--quiet", fresh, "HEAD", "main", "--tags")
        _verify(fresh, tag, root, Path(name))
        write_whole(bundle, fresh.read_bytes())
    return bundle


def _who(date: str) -> dict[str, str]:
    return {"NAME": "torch-scaffold", "EMAIL": "torch-scaffold", "DATE": f"{date}T00:00:00+0000"}


def _check(version: str, root: Path) -> tuple[str, str]:
    """The date and the changes of a version that can be released."""
    ours = re.search(
        r'^__version__ = "([^"]+)"', (root / "scaffold" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    if ours is None or ours[1] != version:
        raise BadAnswer(
            f"{version} is not the version of this checkout, {ours[1] if ours else 'which has none'}",
            help="set __version__ in scaffold/__init__.py",
        )
    path = root / "CHANGELOG.md"
    date, changes = section(path.read_text(encoding="utf-8") if path.is_file() else "", version)
    if not date or not changes:
        raise BadAnswer(
            f"CHANGELOG.md does not say what {version} brings",
            help=f"a section   ## [{version}] - 2026-01-31   with a line for each change",
        )
    status = asks(root, "status", "--porcelain")
    if status is None:
        raise Refused(f"{root} is no checkout of the repository")
    if status:
        raise Refused(
            f"there are changes that are not committed: {status.splitlines()[0][3:]}", help="commit them first"
        )
    return date, changes


def _check_order(version: str, work: Path) -> None:
    releases = History(work, "the bundle").releases()
    if releases and order(version) <= order(releases[-1]):
        raise Refused(
            f"{releases[-1]} is released, and {version} is not newer",
            help="a released version stays as it is; take the next number",
        )


def _verify(bundle: Path, tag: str, root: Path, folder: Path) -> None:
    """See that what comes out of the bundle is the template, byte for byte, and makes the same projects."""
    git(folder / "work", "bundle", "verify", "--quiet", bundle)
    git(folder, "clone", "--quiet", "--bare", bundle, folder / "clone")
    history = History(folder / "clone", "the bundle")
    out = history.check_out(tag, folder / "out")
    want = plain_copy(root, folder / "want")
    if _files(out) != _files(want):
        raise CreateFailed(f"{tag} in the bundle is not the template of this checkout")
    for answers in ({}, *_presets(root)):
        if preview(answers, out) != preview(answers, want):
            raise CreateFailed(f"{tag} in the bundle does not make the projects of this checkout")


def _presets(root: Path) -> list[dict[str, object]]:
    import yaml

    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((root / "presets").glob("*.yml"))]


def _files(folder: Path) -> dict[str, tuple[bool, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (os.access(path, os.X_OK), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main(words: list[str]) -> int:
    """Release, and say what to do next."""
    try:
        if len(words) != 1:
            raise BadAnswer(
                "one version is released at a time", help=f"python -m scaffold.updates.release {__version__}"
            )
        version = words[0].removeprefix("v")
        bundle = release(version, paths.template_root())
    except ScaffoldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    name = bundle.relative_to(paths.template_root()).as_posix()
    print(
        f"{name} holds v{version} ({bundle.stat().st_size / 1000:.0f} KB), and gives back this template byte for byte."
    )
    print(
        f"Next:\n  git add {name}\n  git commit -m 'Release {version}'\n  git tag -a v{version} -m 'torch-scaffold {version}'"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
