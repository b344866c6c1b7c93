"""Where the template is: beside the package in a checkout, inside it when installed."""

from pathlib import Path

# The folder of torch-scaffold's own code.
PACKAGE = Path(__file__).resolve().parent


def template_root() -> Path:
    """The folder that holds copier.yml, template/ and presets/."""
    packaged = PACKAGE / "_template"
    return packaged if packaged.is_dir() else PACKAGE.parent


def presets() -> dict[str, Path]:
    """The files of answers that come along, by name."""
    return {path.stem: path for path in sorted((template_root() / "presets").glob("*.yml"))}


def is_checkout() -> bool:
    """Whether this runs from a checkout of the repository."""
    return (template_root() / "pyproject.toml").is_file()
