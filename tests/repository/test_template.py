"""The template: small parts with one interface for each question, plain to read, and no program that runs by itself."""

import ast
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaffold import paths
from scaffold.questions.copier_yml import read
from scaffold.questions.form import Form
from scaffold.trials import pairwise, values
from scaffold.trials.cases import cases_of
from scaffold.trials.rendered import render_all
from tests.conftest import Run
from tests.generated.rendered import render_project

ROOT = paths.template_root()
PARTS = ROOT / "template" / "parts"
BINARY = re.compile(r"\.(npz|bz2)")
SOURCES = sorted(path for path in (ROOT / "template").rglob("*") if path.is_file() and not BINARY.search(path.name))
# The folders of parts that several choices share, and the choices that need no part.
SHARED = ("data", "sampler", "survey")
WITHOUT = {"license": {"none"}}

TAG = re.compile(r"\{%.*?%\}", re.DOTALL)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], Path, str]]:
    """A project for each choice of each question: its answers, its folder, its package."""
    form = Form(ROOT)
    tried = values.tried_values(form, values.facts(ROOT)["values"])
    rows = [pairwise.simplest(form, tried, {name: place}) for name in tried for place in range(len(tried[name]))]
    answers = {str(row.answers): row.answers for row in rows if row}
    cases = cases_of(form, list(answers.values()))
    folder = tmp_path_factory.mktemp("template")
    render_all(ROOT, cases, folder / "projects", jobs=min(2, os.cpu_count() or 1))
    assert [case.problems for case in cases if case.problems] == []
    return [(case.answers, folder / "projects" / case.name, case.answers["package_name"]) for case in cases]


@pytest.mark.parametrize(
    "some",
    # the first 30 hold every answer and 7 of 10 pairs
    [
        pytest.param(["--types", "30", "--train", "3"], id="types of some"),
        pytest.param(["--train", "25"], id="types of all", marks=pytest.mark.nightly),  # every answer is trained
    ],
)
def test_ruff_mypy_and_the_others_have_nothing_to_say_of_any_pair_and_a_few_train(
    scaffold: Run, mypy_cache: Path, monkeypatch: pytest.MonkeyPatch, some: list[str]
) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(mypy_cache))

    result = scaffold("smoke", "--pairs", *some)

    assert result.code == 0, result.out


def test_nothing_in_the_template_runs_when_it_is_used() -> None:
    settings, questions = read(ROOT)

    assert {name for name in settings if name in ("_tasks", "_migrations", "_jinja_extensions")} == set()
    assert questions


def test_every_file_of_the_project_is_a_template_or_data() -> None:
    files = [path for path in (ROOT / "template" / "project").rglob("*") if path.is_file()]

    plain = [path for path in files if path.suffix != ".jinja" and not BINARY.search(path.name)]
    # much of the engine is the same in every project
    assert [path.name for path in plain if path.suffix != ".py" or path.parent.name != "engine"] == []
    assert [path.name for path in plain if TAG.search(path.read_text())] == []
    assert [path.name for path in files if re.search(r'["|*<>?\\]', path.name)] == []


def test_every_choice_has_its_part_and_every_part_its_choice() -> None:
    questions = read(ROOT)[1]
    for folder in sorted(path for path in PARTS.iterdir() if path.is_dir()):
        found = {
            re.sub(r"(\.py|\.txt)?(\.jinja)?$", "", path.name)
            for path in folder.iterdir()
            if path.suffix not in (".options", ".yml")
        }
        if folder.name in SHARED:
            continue
        question = questions[folder.name]
        values = set(questions["shared_losses"].default) if question.name == "losses" else {*question.values}
        of_tasks = {
            path.name.partition(".")[0] for path in (ROOT / "template" / "tasks").glob(f"*/{folder.name}/*.yml")
        }
        values -= of_tasks if question.name == "model" else set()  # a task may have models that no other has
        assert found == values - WITHOUT.get(question.name, set()), folder.name
    tasks = {path.name: {file.name for file in path.iterdir()} for path in (ROOT / "template" / "tasks").iterdir()}
    assert tasks.keys() == {*questions["task"].values}
    assert all(files >= {"task.yml", "metrics.py", "predict.py.jinja"} for files in tasks.values()), tasks
    modes = {path.stem.removeprefix("processes_") for path in (ROOT / "template" / "engine").glob("processes_*.py")}
    assert modes == {*questions["distributed"].values}


def test_every_part_is_included_somewhere() -> None:
    text = "\n".join(path.read_text() for path in SOURCES if path.suffix == ".jinja")
    patterns = []
    text += (ROOT / "copier.yml").read_text()
    for expression in re.findall(r"('template/[^},%\]]*)", text):
        pieces = re.split(r"\s*~\s*", expression.split(" ignore")[0].strip())
        patterns.append("".join(re.escape(piece[1:-1]) if piece[0] == "'" else "[a-z0-9_./-]+" for piece in pieces))
    folders = (PARTS, ROOT / "template" / "engine", ROOT / "template" / "tasks")
    names = [path.relative_to(ROOT).as_posix() for one in folders for path in one.rglob("*") if path.is_file()]

    orphans = [name for name in names if not any(re.match(pattern, name) for pattern in patterns)]

    assert len(patterns) > 12
    assert orphans == []


def test_options_belong_to_parts() -> None:
    for path in PARTS.rglob("*.options"):
        assert list(path.parent.glob(f"{path.stem}.py*")), path


def test_every_tag_has_a_line_of_its_own() -> None:
    crowded = []
    for path in SOURCES:
        page = path.name == "README.md.jinja" or (path.name.endswith(".md.jinja") and PARTS in path.parents)
        if path.suffix != ".jinja" or page or path.parent.name == "macros":
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if "{%-" in line or "-%}" in line:
                crowded.append(f"{path.name}:{number} trims spaces")
            elif TAG.search(line) and not re.fullmatch(r"\s*(\{%.*?%\})", line):
                crowded.append(f"{path.name}:{number} {line.strip()}")

    # a list of names in one line, each of which may be left out
    assert [line for line in crowded if "for name in (" not in line] == []


class Package:
    """The modules of a project, by their names within its package, and what each of them makes."""

    def __init__(self, folder: Path) -> None:
        self.trees: dict[str, ast.Module] = {}
        self.packages: set[str] = set()
        for path in folder.rglob("*.py"):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            if name.endswith(".__init__"):
                name = name.removesuffix(".__init__")
                self.packages.add(name)
            self.trees[name] = ast.parse(path.read_text())
        # what modules ask of each other's objects; how processes help themselves is their own affair
        self.used = {
            node.attr
            for name, tree in self.trees.items()
            if not name.startswith("engine.process")
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
        }

    def imports(self, user: str) -> Iterator[tuple[str, str]]:
        """The names that a module imports from others of the package, each with its module."""
        folders = user.split(".") if user in self.packages else user.split(".")[:-1]
        for node in ast.walk(self.trees[user]):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = folders[: len(folders) - node.level + 1]
                module = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    if f"{module}.{alias.name}".lstrip(".") not in self.trees:
                        yield module, alias.name

    def find(self, module: str, name: str) -> tuple[str, ast.stmt] | None:
        """The module that makes a name, which another may only hand on, and how."""
        for node in self.trees[module].body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return module, node
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return module, node
        source = next((source for source, imported in self.imports(module) if imported == name), None)
        return self.find(source, name) if source else None

    def meaning(self, module: str, node: ast.stmt) -> str:
        """How a name may be used: a function's arguments, a class's methods."""
        if isinstance(node, ast.FunctionDef):
            return f"({_arguments(node)}) -> {ast.unparse(node.returns) if node.returns else ''}"
        if isinstance(node, ast.ClassDef):
            return " ".join(f"{name}({words})" for name, words in sorted(self.methods(module, node).items()))
        return "constant"

    def methods(self, module: str, node: ast.ClassDef) -> dict[str, str]:
        """The methods of a class that others use, its bases' too, with their arguments."""
        found: dict[str, str] = {}
        for base in node.bases:
            place = self.find(module, base.id) if isinstance(base, ast.Name) else None
            if place and isinstance(place[1], ast.ClassDef):
                found |= self.methods(place[0], place[1])
        for item in node.body:
            if not isinstance(item, ast.FunctionDef) or item.name.startswith("_") or item.name in OPTIONAL:
                continue
            if item.name in self.used:
                found[item.name] = re.sub(r"^(self|cls)(, |$)", "", _arguments(item))
        return found


def _arguments(node: ast.FunctionDef) -> str:
    """What a function takes; what targets are called is their task's affair."""
    return re.sub(r"\b(labels|targets): .*?(?=, \w+: |$)", "targets", ast.unparse(node.args))


# What metrics may have, and `evaluate` asks for.
OPTIONAL = ("report", "pictures")
# The modules of which there is one for each choice of a question.
CHOSEN = ("engine", "engine.processes", "engine.state", "losses", "metrics", "model", "optim")


def test_the_parts_of_a_question_have_one_interface(projects: list[tuple[dict[str, Any], Path, str]]) -> None:
    meanings: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for _, folder, package in projects:
        modules = Package(folder / package)
        for user in modules.trees:
            for module, name in modules.imports(user):
                found = modules.find(module, name)
                assert found, f"{user} of {folder.name} uses {module}.{name}"
                assert found[0] == module or module in modules.packages, f"{user} gets {name} from {module}"
                meanings[module][name].add(modules.meaning(*found))

    several = {
        f"{module}.{name}": sorted(kinds)
        for module in CHOSEN
        for name, kinds in meanings[module].items()
        if len(kinds) > 1
    }
    assert {*meanings} >= {*CHOSEN}
    assert "sync_gradients(model: nn.Module, now: bool)" in str(meanings["engine"]["Process"])
    assert several == {}


def test_the_engine_knows_nothing_of_the_owner_s_rooms(projects: list[tuple[dict[str, Any], Path, str]]) -> None:
    for _, folder, package in projects:
        for path in sorted((folder / package / "engine").glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert node.level < 2, f"{path.name} imports {node.module}"
                    assert (node.module or "").split(".")[0] != package, path.name
                elif isinstance(node, ast.Import):
                    assert not [alias for alias in node.names if alias.name.split(".")[0] == package], path.name


ROOMS = ("train", "options", "data", "model", "metrics", "optim", "evaluate", "predict")
# The most lines that an owner reads, and that the engine has: of the default project, and of any. A detector has most:
# its loss and its average precision are written out.
CEILINGS = {"default": (613, 3031), "any": (822, 3336)}


def lines(*paths: Path) -> int:
    """How many lines these files have."""
    return sum(len(path.read_text().splitlines()) for path in paths)


def test_a_project_stays_under_its_ceiling(projects: list[tuple[dict[str, Any], Path, str]], tmp_path: Path) -> None:
    default = render_project(tmp_path / "digits")
    for kind, folder, package in [("default", default, "digits"), *(("any", *project[1:]) for project in projects)]:
        rooms = [folder / package / f"{name}.py" for name in ROOMS]
        read = lines(*rooms, *(folder / package / "losses").glob("*.py"))
        engine = lines(*(folder / package / "engine").glob("*.py"))
        train = next(
            node
            for node in ast.parse(rooms[0].read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name == "train"
        )

        assert read <= CEILINGS[kind][0], f"{folder.name}: an owner reads {read} lines"
        assert engine <= CEILINGS[kind][1], f"{folder.name}: the engine has {engine} lines"
        assert lines(rooms[0]) <= 100, folder.name
        assert train.end_lineno
        assert train.end_lineno - train.lineno < 50, folder.name
        assert lines(folder / "AGENTS.md") <= 60, folder.name


def test_the_engine_knows_no_option_of_the_owner(projects: list[tuple[dict[str, Any], Path, str]]) -> None:
    for _, folder, package in projects[:12]:
        engine = folder / package / "engine"
        options = next(
            node
            for node in ast.parse((engine / "options.py").read_text()).body
            if isinstance(node, ast.ClassDef) and node.name == "RunOptions"
        )
        known = {
            item.target.id
            for item in options.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        for path in sorted(engine.glob("*.py")):
            used = {
                node.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("opt", "self.opt")
            }
            assert used <= known, f"{path.name} of {folder.name} reads {used - known}"
