"""Copier's copy with templates that were compiled before: compiling them anew is a quarter of the time of a rendering."""

import contextlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import copier
import jinja2
import platformdirs
from jinja2.bccache import Bucket


def run_copy(source: str, destination: Path, data: Mapping[str, Any]) -> None:
    """As `copier.run_copy`, to the same bytes, without the user's own settings, which would change what is rendered."""
    try:
        from copier._main import Worker
        from copier._settings import SettingsModel
    except ImportError:  # a Copier that is built otherwise: it does the same and takes longer
        copier.run_copy(
            source, destination, dict(data), defaults=True, overwrite=True, quiet=True, settings=copier.Settings()
        )
        return

    class CompiledWorker(Worker):
        @cached_property
        def jinja_env(self) -> Any:
            environment = super().jinja_env
            # the same text means something else to other versions and with other settings
            context = (copier.__version__, jinja2.__version__, sorted(self.template.envops.items()))
            environment.bytecode_cache = Cache(repr(context))
            return environment

    with CompiledWorker(
        src_path=source,
        dst_path=destination,
        data=dict(data),
        settings=SettingsModel(),
        defaults=True,
        overwrite=True,
        quiet=True,
    ) as worker:
        worker.run_copy()


class Cache(jinja2.FileSystemBytecodeCache):
    """Compiled templates in the user's cache folder. One that cannot be read or written is no error, just no help."""

    def __init__(self, context: str) -> None:
        self.context = context
        folder = platformdirs.user_cache_path("torch-scaffold") / "compiled"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        super().__init__(str(folder), "%s.cache")

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """By name and context: the file itself lies elsewhere each time. Whether its text is the same is looked at."""
        return super().get_cache_key(name, self.context)

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            super().load_bytecode(bucket)
        except Exception:  # noqa: BLE001  torn or foreign: unpickling has many words for it
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)
