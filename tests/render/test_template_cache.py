"""Templates that were compiled before give the same bytes, and a cache that is of no use does no harm."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2
import pytest

from scaffold.render import template_cache
from scaffold.render.rendering import render

Rendered = Callable[[str], dict[str, str]]


@pytest.fixture
def next_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Does what happens when one process ends and another begins."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)

    def ended() -> None:
        for save in at_exit:
            save()
        at_exit.clear()
        template_cache._kept.cache_clear()

    return ended


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where compiled templates are kept: nothing yet."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    template_cache._kept.cache_clear()
    yield tmp_path / "cache" / "torch-scaffold" / "compiled"
    template_cache._kept.cache_clear()


@pytest.fixture
def rendered(small_template: Path, tmp_path: Path, next_process: Callable[[], None]) -> Rendered:
    """What the small template comes to with an answer, in a process of its own."""

    def files(who: str) -> dict[str, str]:
        folder = tmp_path / f"made {len(list(tmp_path.iterdir()))}"
        render({"who": who}, folder, small_template)
        next_process()
        return {path.name: path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}

    return files


@pytest.fixture
def compilings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are compiled from here on."""
    seen: list[str] = []
    compile_ = jinja2.Environment.compile

    def counted(self: jinja2.Environment, source: object, *words: object) -> object:
        if isinstance(source, str):
            seen.append(source)
        return compile_(self, source, *words)  # type: ignore[call-overload]  # handed on as they are

    monkeypatch.setattr(jinja2.Environment, "compile", counted)
    return seen


def test_a_text_is_compiled_once(rendered: Rendered, cache: Path, compilings: list[str]) -> None:
    first = rendered("Ada")
    assert "{{ who }}\n" in compilings
    assert len(list(cache.iterdir())) == 1
    compilings.clear()

    assert rendered("Ada") == first
    assert rendered("Eve")["a.txt"] == "Eve\n"
    assert compilings == []


def test_a_changed_template_is_compiled_again(rendered: Rendered, small_template: Path) -> None:
    rendered("Ada")
    (small_template / "template" / "project" / "a.txt.jinja").write_text("not {{ who }}\n")

    assert rendered("Ada")["a.txt"] == "not Ada\n"


def test_other_settings_of_the_template_are_another_cache(rendered: Rendered, small_template: Path) -> None:
    rendered("Ada")
    config = small_template / "copier.yml"
    config.write_text(config.read_text() + '_envops: {variable_start_string: "[[", variable_end_string: "]]"}\n')

    assert rendered("Ada")["a.txt"] == "{{ who }}\n"


@pytest.mark.parametrize("cut", [0, 10, 32, 100, -1])
def test_a_torn_cache_is_no_error(rendered: Rendered, cache: Path, compilings: list[str], cut: int) -> None:
    first = rendered("Ada")
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:cut])
    compilings.clear()

    assert rendered("Ada") == first
    assert "{{ who }}\n" in compilings
    compilings.clear()
    assert rendered("Ada") == first
    assert compilings == []  # it was made anew


def test_a_flipped_bit_is_never_run(rendered: Rendered, cache: Path, compilings: list[str]) -> None:
    first = rendered("Ada")
    path = next(cache.iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    compilings.clear()

    assert rendered("Ada") == first
    assert "{{ who }}\n" in compilings


def test_a_cache_that_cannot_be_is_no_error(rendered: Rendered, cache: Path) -> None:
    cache.parent.parent.write_text("a file where the folder should be")

    assert rendered("Ada")["a.txt"] == "Ada\n"


def test_a_cache_does_not_grow_for_ever(
    rendered: Rendered,
    cache: Path,
    small_template: Path,
    compilings: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rendered("Ada")
    size = next(cache.iterdir()).stat().st_size
    monkeypatch.setattr(template_cache, "_MOST", size + 100)
    for number in range(5):
        (small_template / "template" / "project" / "a.txt.jinja").write_text(f"{{{{ who }}}} {number}\n")
        assert rendered("Ada")["a.txt"] == f"Ada {number}\n"
        assert next(cache.iterdir()).stat().st_size < size + 200
    compilings.clear()

    rendered("Ada")

    assert compilings == []
