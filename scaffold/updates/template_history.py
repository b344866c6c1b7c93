"""The history of a template: its released versions, what each brought, and its files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from scaffold.errors import BadAnswer, Refused
from scaffold.system.git import GitFailed, asks, git
from scaffold.system.shell import join
from scaffold.updates.addresses import BUNDLE, RELEASE, VERSION, for_git
from scaffold.updates.bundle import placed_bundle, unpacked_bundle

# Settings by which a template has code of its own run.
_CODE = ("_tasks", "_migrations", "_jinja_extensions", "_envops.extensions")


@dataclass(frozen=True)
class History:
    """A bare repository of ours with the history of a template."""

    repository: Path
    address: str
    warning: str = ""

    def releases(self) -> list[str]:
        """The released versions, the oldest first."""
        return self._releases_where()

    def _releases_where(self, *conditions: str) -> list[str]:
        words = ("for-each-ref", "--format=%(refname:strip=2)", *conditions, "refs/tags")
        return sorted((tag for tag in git(self.repository, *words).splitlines() if RELEASE.fullmatch(tag)), key=order)

    def find(self, named: str) -> str | None:
        """The version that a person names: a release, with or without its v, a branch or a commit."""
        release = next((tag for tag in self.releases() if tag.removeprefix("v") == named.removeprefix("v")), None)
        if release:
            return release
        commit = asks(self.repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{named}^{{commit}}")
        commit = commit or self.commit(named)
        # the whole name of a commit, because a short one may look like a number, which Copier takes for a version
        described = commit and asks(self.repository, "describe", "--tags", "--match", "v[0-9]*", commit)
        return described if described and VERSION.fullmatch(described) else commit

    def commit(self, version: str) -> str | None:
        """The commit of a version, or nothing where there is none."""
        if not VERSION.fullmatch(version):
            return None
        named = f"refs/tags/{version}" if RELEASE.fullmatch(version) else version.split("-g")[-1]
        return asks(self.repository, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}")

    def is_newer(self, version: str, than: str) -> bool:
        """Whether a version comes after another."""
        if RELEASE.fullmatch(version) and RELEASE.fullmatch(than):
            return order(version) > order(than)
        return self.commit(version) != self.commit(than) and self.comes_from(version, than)

    def comes_from(self, version: str, before: str) -> bool:
        """Whether a version was made from another one, so that it has what that had."""
        commits = [str(self.commit(name)) for name in (before, version)]
        return asks(self.repository, "merge-base", "--is-ancestor", *commits) is not None

    def newest(self, version: str) -> str:
        """The newest of the releases that were made from a version, or that version itself where there is none."""
        made_from_it = self._releases_where(f"--contains={self.commit(version)}")
        return made_from_it[-1] if made_from_it and self.is_newer(made_from_it[-1], version) else version

    def news(self, before: str, after: str) -> list[tuple[str, list[str]]]:
        """Each release that one version has in it and another had not, with the lines of its changelog."""
        had = self._releases_where(f"--merged={self.commit(before)}")
        has = self._releases_where(f"--merged={self.commit(after)}")
        return [(release, self._changelog(release)) for release in has if release not in had]

    def _changelog(self, release: str) -> list[str]:
        """What the tag says; where it says nothing, the release's section in CHANGELOG.md."""
        text = git(self.repository, "for-each-ref", "--format=%(contents:body)", f"refs/tags/{release}")
        if asks(self.repository, "cat-file", "-t", f"refs/tags/{release}") != "tag":
            text = ""
        if not text.strip():
            text = section(asks(self.repository, "show", f"refs/tags/{release}:CHANGELOG.md") or "", release)[1]
        return [line for line in text.splitlines() if line.strip()]

    def check_out(self, version: str, folder: Path) -> Path:
        """Put the template of a version into a folder, refusing one that would run code."""
        commit = self.commit(version)
        if commit is None:
            raise _unknown(self, version)
        for line in git(self.repository, "ls-tree", "-r", "-t", commit, "copier.yml", "template").splitlines():
            if line.split()[0] not in ("100644", "100755", "040000"):
                raise BadAnswer(f"template {version} of {self.address} has links in it, so it is not used")
        folder.mkdir(parents=True)
        git(
            self.repository,
            f"--work-tree={folder}",
            "-c",
            "core.bare=false",
            "-c",
            "core.autocrlf=false",
            "checkout",
            commit,
            "--",
            "copier.yml",
            "template",
            variables={"GIT_INDEX_FILE": str(folder.with_suffix(".index"))},
        )
        _refuse_code(folder, version, self.address)
        return folder


def open_history(address: str, version: str, folder: Path, project: Path | None = None) -> History:
    """The history at an address, copied to a folder. Where the address cannot be reached, that of the bundle which
    came with torch-scaffold does, if it knows the version. The project's git may know how to use ssh."""
    if address == BUNDLE:
        placed = placed_bundle(folder.parent)
        if placed is None:
            raise Refused(
                "this torch-scaffold came without the history of its template", help="pip install -U torch-scaffold"
            )
        address_of_git = str(placed)
    else:
        address_of_git = for_git(address)
    try:
        return _known(_copy(address_of_git, address, folder, project), version)
    except GitFailed as error:
        bundle = unpacked_bundle(folder.parent)
        if bundle is not None:
            history = _copy(str(bundle), address, folder.with_name("bundled"), project)
            if history.commit(version):
                trouble = "is damaged" if address == BUNDLE else "cannot be reached"
                reason = f"{address} {trouble}; the template's history that came with torch-scaffold is used"
                return History(history.repository, address, reason)
        raise Refused(
            f"the template at {address} cannot be {'read' if address == BUNDLE else 'reached'} ({error.message.partition(': ')[2]})",
            help="any command puts a whole one there   scaffold list"
            if address == BUNDLE
            else f"see whether git can   {join(['git', 'ls-remote', for_git(address)])}",
        ) from None


def _copy(url: str, address: str, folder: Path, project: Path | None) -> History:
    git(
        folder.parent,
        "clone",
        "--bare",
        "--quiet",
        "--",
        url,
        folder,
        variables={"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", **_ssh(project or folder.parent)},
    )
    return History(folder, address)


def _known(history: History, version: str) -> History:
    if history.commit(version) is None:
        raise _unknown(history, version)
    return history


def _unknown(history: History, version: str) -> BadAnswer:
    releases = history.releases()
    newer = RELEASE.fullmatch(version) and releases and order(version) > order(releases[-1])
    return BadAnswer(
        f"the template at {history.address} has no version {version}"
        + (f"; its newest is {releases[-1]}" if releases else ""),
        help="a newer torch-scaffold may know it   pip install -U torch-scaffold" if newer else "",
    )


def _ssh(folder: Path) -> dict[str, str]:
    """The user's own ssh, told to ask nothing; a program that is not OpenSSH's takes no such options."""
    command = os.environ.get("GIT_SSH_COMMAND") or asks(folder, "config", "core.sshCommand")
    command = command or os.environ.get("GIT_SSH") or "ssh"
    if not re.match(r"""["']?([^"']*[/\\])?ssh(\.exe)?["']?(\s|$)""", command):
        return {}
    return {"GIT_SSH_COMMAND": f"{command} -o BatchMode=yes -o ConnectTimeout=20"}


def _refuse_code(folder: Path, version: str, address: str) -> None:
    """Refuse a template that would have something executed."""
    from scaffold.questions.copier_yml import read

    if not (folder / "copier.yml").is_file():
        raise BadAnswer(f"template {version} of {address} has no copier.yml")
    settings = read(folder)[0]
    found = [name for name in _CODE if _has(settings, name.split("."))]
    if found:
        raise BadAnswer(f"template {version} of {address} would run code ({', '.join(found)}), so it is not used")


def _has(settings: object, names: list[str]) -> bool:
    for name in names:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return bool(settings)


def order(release: str) -> Version:
    """A release as something to sort by: 1.2.3, 1.2.3+lab.1, 1.2.3.1, 1.2.4."""
    return Version(release)


def section(changelog: str, release: str) -> tuple[str, str]:
    """The date and the text of a release in a changelog, which heads it `## 0.1.0 - 2026-01-31`."""
    number = re.escape(release.removeprefix("v"))
    head = rf"^## \[?v?{number}(?![\w.+])\]?(?:[ (-]+(\d{{4}}-\d\d-\d\d)\)?)?[^\n]*\n"
    found = re.search(head + r"(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return (found[1] or "", found[2].strip()) if found else ("", "")
