"""A run of Copier, with the code of templates from the cache."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from scaffold.render.template_cache import remember


def run_copy(source: str, destination: Path, data: Mapping[str, Any]) -> None:
    """As `copier.run_copy`, to the same bytes, without the user's own settings, which would change what is rendered."""
    import copier

    try:
        from copier._main import Worker
        from copier._settings import SettingsModel
    except ImportError:  # a Copier that is built otherwise: the public way does the same and takes longer
        copier.run_copy(
            source, destination, dict(data), defaults=True, overwrite=True, quiet=True, settings=copier.Settings()
        )
        return

    class CompiledWorker(Worker):
        @cached_property
        def jinja_env(self) -> Any:
            environment = super().jinja_env
            remember(environment, ("copier", copier.__version__, sorted(self.template.envops.items())))
            return environment

        def _sync_git_index_executable_bit(self, dst_relpath: Path, src_mode: int) -> None:
            """Nothing: Copier would write modes into the index of whatever repository is around, and ask git for
            every file."""

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
