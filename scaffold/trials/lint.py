"""Whether rendered projects are code that one would have written by hand: parsed, linted, typed, with nothing dead."""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaffold.questions.answer_types import type_of

# What is wrong, by the name of the project's folder.
Found = dict[str, list[str]]


def parse(folder: Path) -> list[str]:
    """What does not parse, of every file in a language that has a parser, and what is left of Jinja."""
    return [
        f"{path.relative_to(folder).as_posix()}: {problem}"
        for path in sorted(path for path in folder.rglob("*") if path.is_file())
        for problem in _not_parsed(path.suffix, path.read_bytes())
    ]


@functools.cache  # most files are the same in many projects
def _not_parsed(suffix: str, content: bytes) -> list[str]:
    import yaml

    if b"\0" in content:  # an image, numbers: no text
        return []
    parsers: dict[str, Any] = {
        ".py": ast.parse,
        ".toml": _parse_toml,
        ".yml": yaml.safe_load,
        ".json": json.loads,
        ".sh": _parse_shell,
    }
    problems = []
    text = content.decode(errors="replace")
    try:
        content.decode()
        parsers.get(suffix, str)(text)
    except Exception as error:  # noqa: BLE001  # each parser has errors of its own
        problems.append(str(error))
    # `${{ ... }}` is GitHub's, `{{` alone a brace in an f-string
    jinja = re.search(r"\{%|\{#|(?<!\$)\{\{ |\.jinja\b", text)
    if jinja:
        problems.append(f"Jinja was left behind: {jinja[0]}")
    if suffix in (".py", ".toml", ".yml", ".sh", ".md") and text and not text.endswith("\n"):
        problems.append("no line break at the end")
    return problems


def _parse_toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # which mypy brings along

    content: dict[str, Any] = tomllib.loads(text)
    return content


def _parse_shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())


def ruff(root: Path, *words: str) -> Found:
    """What ruff would change in the projects below a folder."""
    command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--quiet", "--output-format", "concise", "."]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    found = _by_project(done.stdout.splitlines())
    if done.returncode and not found:
        found["ruff"].append(done.stderr.strip())
    return found


def _by_project(lines: Sequence[str]) -> Found:
    """Lines that begin with a path, sorted by its first folder."""
    found: Found = defaultdict(list)
    for line in lines:
        if "/" in line:
            project, _, rest = line.removeprefix("./").partition("/")
            found[project].append(rest)
    return found


def types(projects: Mapping[Path, str], scratch: Path) -> Found:
    """What mypy says of projects (folders, each with the name of its package), with the settings of their own.

    Projects with equal settings are read in one go: their packages differ by name, and their tests get a package each.
    """
    alike: dict[str, list[Path]] = defaultdict(list)
    for folder in projects:
        settings = _parse_toml((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
        settings.pop("files", None)
        alike[json.dumps(settings, sort_keys=True)].append(folder)
    # mypy's own variable keeps what it knows of torch from run to run
    cache = os.environ.get("MYPY_CACHE_DIR") or str(scratch / "mypy-cache")
    found: Found = defaultdict(list)
    for number, folders in enumerate(alike.values()):
        place = scratch / f"types-{number}"
        names: dict[str, tuple[str, str]] = {}
        for folder in folders:
            package = projects[folder]
            for source in sorted(path for path in folder.iterdir() if path.is_dir() and list(path.rglob("*.py"))):
                name = f"{package}_tests" if source.name == "tests" else source.name
                names[name] = (folder.name, source.name)
                shutil.copytree(source, place / name, dirs_exist_ok=True, ignore=lambda _, files: _no_code(files))
        shutil.copy(folders[0] / "pyproject.toml", place)
        command = [sys.executable, "-m", "mypy", "--explicit-package-bases", "--namespace-packages"]
        command += ["--cache-dir", cache, "--no-error-summary", "--hide-error-context", *names]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        for line in [*done.stdout.splitlines(), *(done.stderr.splitlines() if done.returncode > 1 else [])]:
            top, _, rest = line.partition("/")
            project, source_name = names.get(top, ("mypy", top))
            found[project].append(f"{source_name}/{rest}")
    return found


def _no_code(names: list[str]) -> set[str]:
    return {name for name in names if "." in name and not name.endswith(".py")} | {"__pycache__"} & {*names}


def dead(folder: Path, package: str) -> list[str]:
    """Code of a project that nothing uses: names, by vulture, and modules that nobody imports."""
    from vulture import Vulture

    finder = Vulture()
    finder.scavenge([str(folder / package), str(folder / "tests")])
    problems = [
        f"{Path(item.filename).relative_to(folder).as_posix()}:{item.first_lineno}: {item.message}"
        for item in finder.get_unused_code(min_confidence=61)
    ]
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((folder / package).rglob("*.py"))}
    imported = {name for path, text in sources.items() for name in _imports(path, ast.parse(text), folder)}
    for path, text in sources.items():
        name = _module(path, folder)
        if name not in imported and name != package and '__name__ == "__main__"' not in text:
            problems.append(f"{path.relative_to(folder).as_posix()}: no module imports it")
    return problems


def _module(path: Path, folder: Path) -> str:
    return ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, tree: ast.Module, folder: Path) -> Iterator[str]:
    """The modules that a module imports, and every `from package import name`, which may be one."""
    package = _module(path, folder).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def traces(folder: Path, answers: Mapping[str, Any], words: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Words in the code of a project that belong to choices that were not made."""
    foreign: dict[str, str] = {}
    own: set[str] = set()
    for question, by_choice in words.items():
        chosen = type_of(question).chosen(answers.get(question))
        for choice, of_choice in by_choice.items():
            if choice in chosen:
                own.update(of_choice)
            else:
                foreign.update(dict.fromkeys(of_choice, f"{question} {choice}"))
    problems = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".toml", ".sh")):
        text = path.read_text(encoding="utf-8")
        for word in [word for word in foreign if word not in own]:
            if word in text and re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", text):
                name = path.relative_to(folder).as_posix()
                problems.append(f"{name}: {word!r} belongs to {foreign[word]}, which was not chosen")
    return problems
