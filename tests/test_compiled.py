"""Templates that were compiled before give the same bytes, and a cache that is of no use does no harm."""

from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from scaffold.project import render

Rendered = Callable[[str], dict[str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled templates are kept: nothing yet."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "torch-scaffold" / "compiled"


@pytest.fixture
def rendered(small_template: Path, tmp_path: Path) -> Rendered:
    """What the small template comes to with an answer."""

    def files(who: str) -> dict[str, str]:
        folder = tmp_path / f"made {len(list(tmp_path.iterdir()))}"
        render({"who": who}, folder, small_template)
        return {path.name: path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}

    return files


@pytest.fixture
def compilings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the template files that are compiled from here on."""
    seen: list[str] = []
    compiled = jinja2.Environment.compile

    def counted(self: jinja2.Environment, source: str, name: str | None = None, *words: object) -> object:
        if name:
            seen.append(name)
        return compiled(self, source, name, *words)  # type: ignore[call-overload]  # handed on as they are

    monkeypatch.setattr(jinja2.Environment, "compile", counted)
    return seen


def test_a_template_is_compiled_once(rendered: Rendered, cache: Path, compilings: list[str]) -> None:
    first = rendered("Ada")
    assert compilings
    assert list(cache.glob("*.cache"))
    compilings.clear()

    second = rendered("Ada")

    assert compilings == []
    assert second == first
    assert rendered("Eve")["a.txt"] == "Eve\n"


def test_a_changed_template_is_compiled_again(rendered: Rendered, small_template: Path) -> None:
    rendered("Ada")
    (small_template / "template" / "project" / "a.txt.jinja").write_text("not {{ who }}\n")

    assert rendered("Ada")["a.txt"] == "not Ada\n"


def test_other_settings_of_the_template_are_another_cache(rendered: Rendered, small_template: Path) -> None:
    rendered("Ada")
    config = small_template / "copier.yml"
    config.write_text(config.read_text() + '_envops: {variable_start_string: "[[", variable_end_string: "]]"}\n')

    assert rendered("Ada")["a.txt"] == "{{ who }}\n"


@pytest.mark.parametrize("damage", [b"", b"j2 and more", bytes(200)])
def test_a_torn_cache_is_no_error(rendered: Rendered, cache: Path, damage: bytes) -> None:
    first = rendered("Ada")
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:20] + damage)

    assert rendered("Ada") == first


def test_a_cache_that_cannot_be_is_no_error(rendered: Rendered, cache: Path) -> None:
    cache.parent.parent.write_text("a file where the folder should be")

    assert rendered("Ada")["a.txt"] == "Ada\n"
