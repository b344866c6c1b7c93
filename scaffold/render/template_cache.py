"""The code of templates, kept in the user's cache folder: compiling it anew was a quarter of the time of a project."""

import atexit
import contextlib
import hashlib
import marshal
import sys
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2
import platformdirs

from scaffold.system.files import write_whole

_MOST = 4 << 20  # bytes of a file; one that would be larger keeps only what was used last


def remember(environment: jinja2.Environment, context: object) -> None:
    """Let an environment take the code of a template from the cache if its text was compiled before.

    The context is all that gives the same text another meaning, such as delimiters and extensions.
    """
    kept = _kept(repr((context, jinja2.__version__, sys.implementation.cache_tag)))
    compiled = environment.compile

    def from_cache(source: Any, name: Any = None, filename: Any = None, raw: bool = False, *rest: Any) -> Any:
        if raw or rest or not isinstance(source, str):
            return compiled(source, name, filename, raw, *rest)  # type: ignore[call-overload]  # handed on as they are
        key = hashlib.sha256(f"{name}\0{source}".encode()).digest()
        if key not in kept.codes:
            kept.codes[key], kept.grown = compiled(source, name, filename), True
        else:
            environment.preprocess(source, name, filename)  # extensions are told of every text
        kept.used.add(key)
        return kept.codes[key]

    environment.compile = from_cache  # type: ignore[assignment,method-assign]  # what Jinja's own cache does, for every text


class Kept:
    """The codes of one context, by the hash of their text. A file that cannot be read or written is just no help."""

    def __init__(self, path: Path) -> None:
        self.path, self.codes = path, dict[bytes, CodeType]()
        self.used, self.grown = set[bytes](), False  # in this process
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
            data = path.read_bytes()
            if data[:32] == hashlib.sha256(data[32:]).digest():  # never code from a torn file
                self.codes = marshal.loads(data[32:])
        atexit.register(self.save)

    def save(self) -> None:
        """Writes the file if there is something new: whole, by a rename."""
        if not self.grown:
            return
        data = marshal.dumps(self.codes)
        if len(data) > _MOST:
            data = marshal.dumps({key: self.codes[key] for key in self.used})
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, hashlib.sha256(data).digest() + data)


@cache
def _kept(context: str) -> Kept:
    name = hashlib.sha256(context.encode()).hexdigest()[:16]
    return Kept(platformdirs.user_cache_path("torch-scaffold") / "compiled" / name)
