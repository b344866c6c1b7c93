"""YAML that holds no surprises, of whoever wrote it: short and flat enough to be read at once, and no reference in it."""

from pathlib import Path

LARGEST = 64_000  # bytes
_DEEPEST = 50  # brackets


class NotPlain(ValueError):
    """Why a file is not read as YAML."""


def read_plain(path: Path) -> str:
    """The text of a file; OSError or NotPlain where that cannot be."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise NotPlain("it is too long")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise NotPlain("it is no text") from None


def check_plain(text: str) -> None:
    """Refuse what takes long to be read, or becomes far more than it says, before it is read."""
    import yaml

    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, yaml.TagToken | yaml.AnchorToken | yaml.AliasToken | yaml.DirectiveToken):
            kind = type(token).__name__.removesuffix("Token").lower()
            raise NotPlain(f"it has a YAML {kind}")
        depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
        depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
        if depth > _DEEPEST:  # the time it takes grows with the square
            raise NotPlain("its brackets are too deep")
