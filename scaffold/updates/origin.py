"""Which template a project records as its origin, so that it can be updated later."""

import json
import os
import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from scaffold import __version__
from scaffold.errors import BadAnswer
from scaffold.paths import PACKAGE, is_checkout, template_root
from scaffold.system.files import write_whole
from scaffold.system.git import asks_if_there

DISTRIBUTION = "torch-scaffold"
# The file that any machine with torch-scaffold has: a git bundle of every released template.
BUNDLE = "~/.local/share/torch-scaffold/template.bundle"
# What a version can look like in an answers file: a release, what `git describe` says, or a commit.
VERSION = re.compile(r"v?\d+(\.\d+)*(-\d+-g[0-9a-f]{4,40})?|[0-9a-f]{7,40}")
# A number alone is none: it may be a commit, whose short name has no letter once in twenty-seven times.
RELEASE = re.compile(r"v\d+(\.\d+)*|\d+(\.\d+)+")


@dataclass(frozen=True)
class Origin:
    """What is recorded (`_src_path`, and `_commit` where there is one), and what the user should know of it."""

    record: dict[str, str]
    warnings: list[str] = field(default_factory=list)


def find_origin() -> Origin:
    """The first that applies: what the environment says, where we were installed from, this checkout, the project's
    address, the bundle."""
    return of_environment() or _of_installation() or _of_checkout() or _of_project_url() or _of_bundle()


def of_environment() -> Origin | None:
    """What SCAFFOLD_TEMPLATE_URL and SCAFFOLD_TEMPLATE_REF say."""
    address, version = os.environ.get("SCAFFOLD_TEMPLATE_URL"), os.environ.get("SCAFFOLD_TEMPLATE_REF")
    if address and version and not VERSION.fullmatch(version):
        raise BadAnswer(
            f"'{version}' is no version of a template",
            at="SCAFFOLD_TEMPLATE_REF",
            help="name a release, such as v1.2.3, or a commit",
        )
    return Origin(_record(address, version)) if address else None


def _of_installation() -> Origin | None:
    """The address in the `direct_url.json` of PEP 610, when we were installed from a repository."""
    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    direct = json.loads(text) if text else {}
    if "vcs_info" not in direct:
        return None
    asked = str(direct["vcs_info"].get("requested_revision", ""))
    version = asked if RELEASE.fullmatch(asked) else direct["vcs_info"].get("commit_id")
    return Origin(_record(_for_copier(direct["url"]), version))


def _of_checkout() -> Origin | None:
    """This checkout, by the address that it came from and the version that git describes."""
    root = template_root()
    if not is_checkout() or asks_if_there(root, "rev-parse", "--show-prefix") != "":
        return None
    remote = asks_if_there(root, "remote", "get-url", "origin")
    address = _for_copier(remote) if remote else str(root)
    if asks_if_there(root, "status", "--porcelain", "--", "copier.yml", "template"):
        return Origin(
            _record(address, None), ["the template has changes that are not committed: no version is recorded"]
        )
    # the whole name of a commit, because a short one may look like a number, which Copier takes for a version
    described = asks_if_there(root, "describe", "--tags", "--match", "v[0-9]*")
    version = described if VERSION.fullmatch(described or "") else asks_if_there(root, "rev-parse", "HEAD")
    exact = asks_if_there(root, "describe", "--tags", "--exact-match", "--match", "v*")
    return Origin(
        _record(address, version),
        [] if exact else [f"the template is not at a released version: {version} is recorded"],
    )


def _of_project_url() -> Origin | None:
    try:
        urls = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return Origin(_record(named["Template"], f"v{__version__}")) if "Template" in named else None


def _of_bundle() -> Origin:
    return Origin(_record(BUNDLE, f"v{__version__}"))


def _for_copier(address: str) -> str:
    """An address that git takes, as one that Copier takes for a repository too."""
    known = address.endswith(".git") or address.startswith(("git@", "https://github.com/", "https://gitlab.com/"))
    return address if known or (Path(address) / ".git").exists() else f"git+{address}"


def _record(address: str, version: str | None) -> dict[str, str]:
    """The two answers, without the name and password that an address may hold."""
    address = re.sub(r"^((?:git\+)?https?://)[^/@]*@", r"\1", address)
    address = re.sub(r"^((?:git\+)?ssh://[^/@:]*):[^/@]*@", r"\1@", address)
    return {"_src_path": address, **({"_commit": version} if version else {})}


def packaged_bundle() -> Path | None:
    """The history of the template that came along, if it did."""
    bundle = PACKAGE / "template.bundle"
    return bundle if bundle.is_file() else None


def place_bundle() -> None:
    """Put the history where projects say that it is, unless one that knows more versions is there. One of as many is
    ours, so that it is put right where it differs. It is a help for later: a home where it cannot be written is no
    reason to fail."""
    # not Path.expanduser, which fails where there is no home
    source, target = packaged_bundle(), Path(os.path.expanduser(BUNDLE))
    if source is None or not os.path.isdir(os.path.expanduser("~")):
        return
    try:
        there, ours = _tags_in(target), _tags_in(source)
        if there > ours or (there == ours and target.read_bytes() == source.read_bytes()):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, source.read_bytes())
    except OSError:
        return


def _tags_in(bundle: Path) -> int:
    """How many versions a bundle holds, by its header; less than none where there is none."""
    if not bundle.is_file():
        return -1
    with bundle.open("rb") as file:
        header = file.read(1 << 20).partition(b"\n\n")[0]
    return header.count(b" refs/tags/") if header.startswith(b"# v2 git bundle") else -1
