"""A form that is filled in some ten thousand times."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaffold.questions.form import Form


class QuickForm(Form):
    """Renders a text once for all answers that agree in what the text reads."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._names: dict[str, list[str] | None] = {}
        self._rendered: dict[tuple[str, str], Any] = {}

    def _render(self, text: Any, context: Mapping[str, Any]) -> Any:
        names = self._reads(text)
        if names is None:
            return super()._render(text, context)
        key = text, repr([context.get(name, ...) for name in names])
        if key not in self._rendered:
            self._rendered[key] = super()._render(text, context)
        return self._rendered[key]

    def _reads(self, text: Any) -> list[str] | None:
        """The answers that a text reads; None if it is none, or includes a file, which can read any."""
        if not isinstance(text, str) or "{" not in text:
            return None
        if text not in self._names:
            from jinja2 import meta, nodes

            tree = self._jinja.parse(text)
            self._names[text] = None if tree.find(nodes.Include) else sorted(meta.find_undeclared_variables(tree))
        return self._names[text]
