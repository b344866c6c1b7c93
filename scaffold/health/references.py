"""Whether what the code of a project names is there: the modules that it imports, and the names that it uses."""

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import decode_source
from pathlib import PurePosixPath

_GIVEN = {*dir(builtins), "__file__", "__path__", "__builtins__", "__annotations__", "__module__", "__qualname__"}


class References:
    """The Python files of a project by name, and what each of them is made of."""

    def __init__(self, sources: Mapping[str, bytes], files: set[str]) -> None:
        self.sources: dict[str, bytes] = {}
        self.nodes: dict[str, list[ast.AST]] = {}
        self.names: dict[str, set[str]] = {}
        self.broken: dict[str, SyntaxError | ValueError] = {}
        self.files = files
        self.folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
        for name, source in sources.items():
            try:
                self.put(name, source)
            except (SyntaxError, ValueError) as error:
                self.broken[name] = error

    def put(self, name: str, source: bytes) -> None:
        """Read a file."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the user writes
            tree = ast.parse(source)
        self.sources[name], self.names[name] = source, _names_of(tree)
        self.nodes[name] = list(ast.walk(tree))

    def problems(self, name: str) -> Iterator[tuple[int, str]]:
        """What a file names that is not there, by line."""
        found = [*self._of_imports(name), *self._of_names(name)]
        yield from dict.fromkeys(sorted(found))

    def _of_imports(self, name: str) -> Iterator[tuple[int, str]]:
        package = name.split("/")[:-1]
        for node in self.nodes[name]:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._missing(node.lineno, alias.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                start = package[: len(package) + 1 - node.level] if node.level else []
                path = [*start, *(node.module.split(".") if node.module else [])]
                missing = list(self._missing(node.lineno, path, is_ours=node.level > 0))
                yield from missing
                for alias in node.names if not missing else ():
                    if not self._has(path, alias.name, is_ours=node.level > 0):
                        yield node.lineno, f"{alias.name}, which is not in {self._file(path) or '/'.join(path)}"

    def _missing(self, line: int, path: list[str], *, is_ours: bool = False) -> Iterator[tuple[int, str]]:
        """A module of the project's that is not there; of others it cannot be known here."""
        if path and (is_ours or self._is_ours(path[0])) and not self._file(path) and "/".join(path) not in self.folders:
            yield line, f"{'/'.join(path)}.py, which is not there"

    def _is_ours(self, top: str) -> bool:
        """Whether a name that is imported is a module of the project's, rather than one that is installed."""
        return f"{top}.py" in self.files or f"{top}/__init__.py" in self.files

    def _file(self, path: list[str]) -> str:
        place = "/".join(path)
        return next((name for name in (f"{place}/__init__.py", f"{place}.py") if name in self.files), "")

    def _has(self, path: list[str], wanted: str, *, is_ours: bool) -> bool:
        """Whether a module has a name; of one that is installed, or makes its names when it runs, it is taken as so."""
        if wanted == "*" or not (path and (is_ours or self._is_ours(path[0]))):
            return True
        if self._file([*path, wanted]) or "/".join([*path, wanted]) in self.folders:
            return True
        names = self.names.get(self._file(path))
        return names is None or not names.isdisjoint({wanted, "*", "__getattr__"})

    def _of_names(self, name: str) -> Iterator[tuple[int, str]]:
        """Names that are used in a file, and that nothing in it makes: an import is missing."""
        if "*" in self.names[name]:
            return
        table = symtable.symtable(decode_source(self.sources[name]), name, "exec")
        unknown = _used(table) - _GIVEN - self.names[name]
        if "annotations" in self.names[name]:  # which then are not looked up, and in no table
            unknown |= _annotated(self.nodes[name]) - _GIVEN - self.names[name]
        if unknown and (unknown := unknown - _declared(table)):
            lines: dict[str, int] = {}
            for node in self.nodes[name]:
                if isinstance(node, ast.Name) and node.id in unknown:
                    lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
            for used in unknown:
                yield lines.get(used, 1), f"{used}, which nothing in the file defines"


def _names_of(tree: ast.Module) -> set[str]:
    """What a module has at its top: what it imports, assigns and defines; `*` where it takes over all of another."""
    names: set[str] = set()
    open_: list[ast.AST] = list(tree.body)
    while open_:
        node = open_.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        elif isinstance(node, ast.Lambda):
            continue
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        open_ += ast.iter_child_nodes(node)
    return names


def _annotated(nodes: list[ast.AST]) -> set[str]:
    """Names in annotations, but for those that anything in the file makes."""
    used: set[str] = set()
    made: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            used |= {part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            made |= {node.name, *(kind.name for kind in getattr(node, "type_params", []))}
            if node.returns:
                used |= {part.id for part in ast.walk(node.returns) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.ClassDef):
            made |= {node.name, *(kind.name for kind in getattr(node, "type_params", []))}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            made |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
    return used - made


def _declared(table: symtable.SymbolTable) -> set[str]:
    """Names that functions put among those of the module, by `global`."""
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_declared_global() and symbol.is_assigned()}
    return own.union(*(_declared(child) for child in table.get_children()))


def _used(table: symtable.SymbolTable) -> set[str]:
    """Names that are looked up in the module."""
    own = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
    }
    return own.union(*(_used(child) for child in table.get_children()))
