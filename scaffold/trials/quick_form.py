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
        self._rendered: dict[tuple[str, str], tuple[Any, list[Any]]] = {}

    def _render(self, text: Any, context: Mapping[str, Any]) -> Any:
        names = self._reads(text)
        if names is None:
            return super()._render(text, context)
        read = [context.get(name, ...) for name in names]
        # facts are long, and read once: which object it is says enough, as long as it is kept
        key = text, repr([id(value) if isinstance(value, dict | list) else value for value in read])
        if key not in self._rendered:
            self._rendered[key] = super()._render(text, context), read
        return self._rendered[key][0]

    def _reads(self, text: Any) -> list[str] | None:
        """The answers that a text reads; None if it is none, or includes a file, which can read any."""
        if not isinstance(text, str) or "{" not in text:
            return None
        if text not in self._names:
            from jinja2 import meta, nodes

            tree = self._jinja.parse(text)
            self._names[text] = None if tree.find(nodes.Include) else sorted(meta.find_undeclared_variables(tree))
        return self._names[text]
