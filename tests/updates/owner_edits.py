"""Edits as the owner of a project makes them, drawn at random: a constant, a line, a function, a name, an option, a text.

Every line of the owner's holds a number of its own that no template has, by which it is found again after an update.
"""

from __future__ import annotations

import ast
import io
import random
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

MARK = re.compile(r"4217\d{3}")
OPTION = "    option_{mark}: float = 0.5  # a setting of the owner's\n"


@dataclass(frozen=True)
class Edit:
    """One edit: its file, what was done, and the mark of what it brought or the line that it took away."""

    file: str
    kind: str
    mark: str = ""
    gone: str = ""


class Owner:
    """Edits a project; the same dice make the same edits."""

    def __init__(self, project: Path, dice: random.Random) -> None:
        self.project = project
        self.dice = dice
        self.edits: list[Edit] = []

    def edit(self, file: str) -> Edit:
        """One edit of a file, of a kind that it takes."""
        kinds = {".py": [*PYTHON], ".md": ["line", "change", "delete"], ".toml": ["dependency", "table", "delete"]}
        path = self.project / file
        choice = kinds[path.suffix]
        if "\nclass Options" in path.read_text(encoding="utf-8"):
            choice = [*choice, "option", "option"]
        for kind in self.dice.sample(choice, len(choice)):
            mark = f"4217{len(self.edits):03d}"
            before = path.read_text(encoding="utf-8")
            after, gone = EDITS[path.suffix][kind](before, mark, self.dice)
            if after == before:
                continue
            if path.suffix == ".py":
                compile(after, file, "exec")
            path.write_text(after, encoding="utf-8")
            self.edits.append(Edit(file, kind, "" if gone else mark, gone))
            return self.edits[-1]
        raise AssertionError(f"{file} takes no edit")

    def lines(self, edit: Edit) -> list[str]:
        """The lines of the owner's that an edit has brought, as they are now."""
        text = (self.project / edit.file).read_text(encoding="utf-8")
        return [line for line in text.splitlines() if edit.mark and edit.mark in line]


def _functions(text: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]


def _mine(text: str, first: int, last: int) -> bool:
    return bool(MARK.search("\n".join(text.splitlines()[first - 1 : last])))


def _own(node: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function, at any depth, without its docstring and without functions in it."""
    found: list[ast.stmt] = []
    todo = [*node.body]
    while todo:
        at = todo.pop(0)
        found.append(at)
        if not isinstance(at, ast.FunctionDef | ast.ClassDef):
            todo += [child for child in ast.iter_child_nodes(at) if isinstance(child, ast.stmt)]
    return [at for at in found if not (isinstance(at, ast.Expr) and isinstance(at.value, ast.Constant))]


def _constant(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """Another number in the place of one."""
    lines = text.splitlines(keepends=True)
    numbers = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.NUMBER and not MARK.search(token.line) and token.string[:2] not in ("0x", "0b")
    ]
    if not numbers:
        return text, ""
    token = dice.choice(numbers)
    (row, begin), (_, end) = token.start, token.end
    line = lines[row - 1]
    new = f"0.{mark}" if "." in token.string or "e" in token.string else mark
    lines[row - 1] = line[:begin] + new + line[end:]
    return "".join(lines), ""


def _line(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """A statement more in a function."""
    places = [at for node in _functions(text) for at in _own(node) if not _is_elif(text, at)]
    if not places:
        return text, ""
    at = dice.choice(places)
    lines = text.splitlines(keepends=True)
    new = dice.choice([f'print("here {mark}", flush=True)', f"value_{mark} = 1", f"# looked at on day {mark}"])
    lines.insert(at.lineno - 1, " " * at.col_offset + new + "\n")
    return "".join(lines), ""


def _is_elif(text: str, at: ast.stmt) -> bool:
    """Whether nothing can stand before a statement on a line of its own."""
    line = text.splitlines()[at.lineno - 1]
    return bool(line[: at.col_offset].strip()) or line.lstrip().startswith(("elif ", "else:", "@"))


def _function(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """A function more, after another one or at the end."""
    new = (
        f"\n\ndef mine_{mark}(value: float) -> float:\n"
        f'    """A function of the owner\'s ({mark})."""\n    return value + {mark}\n'
    )
    lines = text.splitlines(keepends=True)
    ends = [node.end_lineno for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    at = dice.choice([*ends, len(lines)])
    return "".join([*lines[:at], new, *lines[at:]]), ""


def _delete(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """A statement of one line less."""
    lines = text.splitlines(keepends=True)
    simple = ast.Expr | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Assert
    found = [
        at
        for node in _functions(text)
        for block in (node, *(inner for inner in _own(node) if isinstance(inner, ast.If | ast.For | ast.With)))
        for at in block.body
        if isinstance(at, simple) and at.lineno == at.end_lineno and len(block.body) > 1 and at in _own(node)
    ]
    found = [at for at in found if lines.count(lines[at.lineno - 1]) == 1 and not _mine(text, at.lineno, at.lineno)]
    if not found:
        return text, ""
    gone = lines.pop(dice.choice(found).lineno - 1)
    return "".join(lines), gone.rstrip("\n")


def _rename(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """Another name for a variable of a function."""
    found = []
    for node in _functions(text):
        names = [at for at in ast.walk(node) if isinstance(at, ast.Name)]
        hidden = {
            at.id for joined in ast.walk(node) if isinstance(joined, ast.JoinedStr)
            for at in ast.walk(joined) if isinstance(at, ast.Name)
        }  # fmt: skip
        shared = {
            name
            for at in ast.walk(node)
            for name in (
                at.names if isinstance(at, ast.Nonlocal | ast.Global) else [at.arg] if isinstance(at, ast.arg) else []
            )
        }
        stored = {at.id for at in names if isinstance(at.ctx, ast.Store)} - hidden - shared
        found += [(names, name) for name in sorted(stored) if not MARK.search(name)]
    if not found:
        return text, ""
    names, name = dice.choice(found)
    lines = text.splitlines(keepends=True)
    uses = sorted({(at.lineno, at.col_offset) for at in names if at.id == name}, reverse=True)
    for row, column in uses:
        begin = len(lines[row - 1].encode()[:column].decode())
        lines[row - 1] = f"{lines[row - 1][:begin]}{name}_{mark}{lines[row - 1][begin + len(name) :]}"
    return "".join(lines), ""


def _docstring(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """Another first line of a docstring."""
    tree = ast.parse(text)
    kinds = ast.FunctionDef | ast.ClassDef | ast.Module
    rows = [
        node.body[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, kinds)
        and ast.get_docstring(node)
        and not _mine(text, node.body[0].lineno, node.body[0].lineno)
    ]
    if not rows:
        return text, ""
    lines = text.splitlines(keepends=True)
    row = dice.choice(rows)
    lines[row - 1] = lines[row - 1].replace('"""', f'"""({mark}) ', 1)
    return "".join(lines), ""


def _option(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    """A setting more."""
    node = next(at for at in ast.parse(text).body if isinstance(at, ast.ClassDef) and at.name == "Options")
    fields = [at for at in node.body if isinstance(at, ast.AnnAssign)]
    at = dice.choice([fields[-1], dice.choice(fields)])
    lines = text.splitlines(keepends=True)
    lines.insert(int(at.end_lineno or 0), OPTION.format(mark=mark))
    return "".join(lines), ""


def _text_line(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    lines.insert(dice.choice([len(lines), dice.randrange(len(lines) + 1)]), f"\nWe found this on day {mark}.\n")
    return "".join(lines), ""


def _text_change(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    at = dice.choice([row for row, line in enumerate(lines) if line.strip() and not MARK.search(line)])
    lines[at] = lines[at].rstrip("\n") + f" ({mark})\n"
    return "".join(lines), ""


def _text_delete(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    rows = [row for row, line in enumerate(lines) if len(line) > 20 and lines.count(line) == 1]
    rows = [row for row in rows if not MARK.search(lines[row]) and not lines[row].startswith(("[", "#"))]
    return (text, "") if not rows else _without(lines, dice.choice(rows))


def _without(lines: list[str], row: int) -> tuple[str, str]:
    return "".join(lines[:row] + lines[row + 1 :]), lines[row].rstrip("\n")


def _dependency(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    begin = lines.index("dependencies = [\n") + 1
    end = lines.index("]\n", begin)
    lines.insert(dice.randint(begin, end), f'    "mine{mark}",\n')
    return "".join(lines), ""


def _table(text: str, mark: str, dice: random.Random) -> tuple[str, str]:
    return text + f"\n[tool.mine{mark}]\nvalue = {mark}\n", ""


PYTHON = {
    "constant": _constant,
    "line": _line,
    "function": _function,
    "delete": _delete,
    "rename": _rename,
    "docstring": _docstring,
}
EDITS = {
    ".py": {**PYTHON, "option": _option},
    ".md": {"line": _text_line, "change": _text_change, "delete": _text_delete},
    ".toml": {"dependency": _dependency, "table": _table, "delete": _text_delete},
}
