"""What `pyproject.toml` asks of a wheel besides its files: the template's history is in it compressed by xz.

A wheel would compress it by itself, to a sixth more.
"""

import lzma
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackedHistory(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is no part of what it promises
    """Puts `scaffold/template.bundle.xz` into a wheel, in place of `template.bundle`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        plain = Path(self.root, "scaffold", "template.bundle")
        self.folder = tempfile.mkdtemp(prefix="torch-scaffold-")
        if version == "standard" and plain.is_file():
            packed = Path(self.folder, "template.bundle.xz")
            packed.write_bytes(lzma.compress(plain.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
            build_data["force_include"][str(packed)] = "scaffold/template.bundle.xz"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self.folder)
