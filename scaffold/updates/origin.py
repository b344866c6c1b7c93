"""Which template a project records as its origin, so that it can be updated later."""

import json
import os
from dataclasses import dataclass, field
from importlib import metadata

from scaffold import __version__
from scaffold.errors import BadAnswer
from scaffold.paths import is_checkout, template_root
from scaffold.system.git import asks_if_there
from scaffold.updates.addresses import BUNDLE, RELEASE, VERSION, for_copier, without_password
from scaffold.updates.bundle import HEAD, packaged_bundle, versions_in

DISTRIBUTION = "torch-scaffold"


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
    if version and not VERSION.fullmatch(version):
        raise BadAnswer(
            f"'{version}' is no version of a template",
            at="SCAFFOLD_TEMPLATE_REF",
            help="name a release, such as v1.2.3, or a commit",
        )
    if version and _is_another(version):
        raise BadAnswer(
            f"{version} is another version of the template, and this torch-scaffold makes projects of v{__version__}",
            at="SCAFFOLD_TEMPLATE_REF",
            help=f"to have that one   pip install torch-scaffold=={version.removeprefix('v')}",
        )
    if version and not address:
        raise BadAnswer(
            f"it says {version}, and SCAFFOLD_TEMPLATE_URL does not say of which template",
            at="SCAFFOLD_TEMPLATE_REF",
            help="set both, or none   unset SCAFFOLD_TEMPLATE_REF",
        )
    return Origin(_record(address, version)) if address else None


def _is_another(version: str) -> bool:
    """Whether it is one of the released versions, and not the one that projects are made of here."""
    known = versions_in(packaged_bundle(HEAD))
    return version != f"v{__version__}" and f"refs/tags/{version}".encode() in known


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
    return Origin(_record(for_copier(direct["url"]), version))


def _of_checkout() -> Origin | None:
    """This checkout, by the address that it came from and the version that git describes."""
    root = template_root()
    if not is_checkout() or asks_if_there(root, "rev-parse", "--show-prefix") != "":
        return None
    remote = asks_if_there(root, "remote", "get-url", "origin")
    address = for_copier(remote) if remote else str(root)
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


def _record(address: str, version: str | None) -> dict[str, str]:
    """The two answers."""
    return {"_src_path": without_password(address), **({"_commit": version} if version else {})}
