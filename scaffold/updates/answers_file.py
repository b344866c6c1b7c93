"""What a project says of itself in `.copier-answers.yml`: read as a file that anyone may have edited."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer
from scaffold.questions.form import Answers
from scaffold.questions.plain_yaml import NotPlain, check_plain, read_plain
from scaffold.updates.addresses import VERSION, as_recorded

NAME = ".copier-answers.yml"


class Tampered(BadAnswer):
    """The answers of a project are not as torch-scaffold wrote them."""

    last_line = "Nothing was changed."

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message, at=NAME, help=help or f"the last good one   git log --oneline -- {NAME}")


@dataclass(frozen=True)
class Recorded:
    """The template's address, its version, and the answers that were given to it."""

    address: str
    version: str
    answers: Answers

    @property
    def origin(self) -> dict[str, str]:
        """The address and version, as they are recorded."""
        return {"_src_path": self.address, "_commit": self.version}


def find(folder: Path, command: str = "check") -> Path:
    """The project that a folder is in, for a command that is to work on it."""
    folder = folder.absolute()
    for place in (folder, *folder.parents):
        if (place / NAME).is_symlink() or (place / NAME).exists():
            return place
    raise BadAnswer(
        f"{folder} is in no project of torch-scaffold: there is no {NAME}",
        help=f"go to the folder of the project, or name it   scaffold -C FOLDER {command}",
    )


def read(project: Path) -> Recorded:
    """What is recorded; Tampered where it cannot be what torch-scaffold or Copier wrote."""
    content = _load(_text(project / NAME))
    address, version = content.pop("_src_path", None), content.pop("_commit", None)
    private = [str(name) for name in content if not isinstance(name, str) or name.startswith("_")]
    if private:
        raise Tampered(f"it has a line '{private[0]}', which torch-scaffold does not write")
    if not isinstance(address, str) or not address:
        raise Tampered("it does not say where the template is (_src_path)")
    address = as_recorded(address)
    if version is None:
        raise Tampered(
            "it does not say which version of the template made the project (_commit), as when that had changes of its"
            " own that were not committed"
        )
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise Tampered(f"'{version}' is no version of a template (_commit)")
    return Recorded(address, version, content)


def _text(path: Path) -> str:
    if path.is_symlink():
        raise Tampered("it is a link")
    if not path.is_file():
        raise Tampered("it is no file")
    try:
        return read_plain(path)
    except NotPlain as problem:
        raise Tampered(str(problem)) from None


def _load(text: str) -> dict[str, Any]:
    """The content of plain YAML: one document, without tags, anchors and names given twice."""
    import yaml

    try:
        check_plain(text)
        root = yaml.compose(text)
        content = yaml.safe_load(text)
    except NotPlain as problem:
        raise Tampered(f"{problem}, which torch-scaffold does not write") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Tampered("it is not YAML of one document") from None
    if not isinstance(content, dict) or not isinstance(root, yaml.MappingNode):
        raise Tampered("it holds no answers")
    names = [key.value for key, _ in root.value]
    for name in names:
        if names.count(name) > 1:
            raise Tampered(f"it answers '{name}' twice")
    return content
