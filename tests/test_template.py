"""The template: small parts with one interface for each question, plain to read, and no program that runs by itself."""

import ast
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from scaffold import pairs, paths
from scaffold.questions import Form, read
from scaffold.smoke import cases_of, render_all
from tests.conftest import Run

ROOT = paths.template_root()
PARTS = ROOT / "template" / "parts"
SOURCES = sorted(path for path in (ROOT / "template").rglob("*") if path.is_file() and path.suffix != ".npz")
# The folders of parts that follow another question than the one of their name, and the choices that need no part.
FOLLOWS = {"metrics": "task", "predict": "task", "sampler": "losses", "state": "distributed"}
WITHOUT = {"logger": {"none"}, "license": {"none"}}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], Path, str]]:
    """A project for each choice of each question: its answers, its folder, its package."""
    form = Form(ROOT)
    tried = pairs.tried_values(form, pairs.facts(ROOT)["values"])
    rows = [pairs.simplest(form, tried, {name: place}) for name in tried for place in range(len(tried[name]))]
    answers = {str(row.answers): row.answers for row in rows if row}
    cases = cases_of(form, list(answers.values()))
    folder = tmp_path_factory.mktemp("template")
    render_all(ROOT, cases, folder / "projects", jobs=min(2, os.cpu_count() or 1))
    assert [case.problems for case in cases if case.problems] == []
    return [(case.answers, folder / "projects" / case.name, case.answers["package_name"]) for case in cases]


def test_ruff_mypy_and_the_others_have_nothing_to_say_of_any_pair_and_a_few_train(
    scaffold: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "mypy"))

    result = scaffold("smoke", "--pairs", "--train", "5")

    assert result.code == 0, result.out


def test_nothing_in_the_template_runs_when_it_is_used() -> None:
    settings, questions = read(ROOT)

    assert {name for name in settings if name in ("_tasks", "_migrations", "_jinja_extensions")} == set()
    assert questions


def test_every_file_of_the_project_is_a_template_or_data() -> None:
    files = [path for path in (ROOT / "template" / "project").rglob("*") if path.is_file()]

    assert [path.name for path in files if path.suffix not in (".jinja", ".npz")] == []
    assert [path.name for path in files if re.search(r'["|*<>?\\]', path.name)] == []


def test_every_choice_has_its_part_and_every_part_its_choice() -> None:
    questions = read(ROOT)[1]
    for folder in sorted(path for path in PARTS.iterdir() if path.is_dir()):
        found = {
            re.sub(r"(\.py|\.txt)?(\.jinja)?$", "", path.name) for path in folder.iterdir() if path.suffix != ".options"
        }
        if folder.name in FOLLOWS and folder.name not in ("metrics", "predict"):
            continue
        question = questions[FOLLOWS.get(folder.name, folder.name)]
        values = set(Form(ROOT).loss_choices) if question.name == "losses" else {*question.values}
        assert found == values - WITHOUT.get(question.name, set()), folder.name


def test_every_part_is_included_somewhere() -> None:
    text = "\n".join(path.read_text() for path in SOURCES if path.suffix == ".jinja")
    patterns = []
    for expression in re.findall(r"'(template/parts/[^}%]*)", text):
        pieces = re.split(r"\s*~\s*", expression.split(" ignore")[0].strip())
        patterns.append("".join(re.escape(piece[1:-1]) if piece[0] == "'" else "[a-z0-9_.-]+" for piece in pieces))
    names = [path.relative_to(ROOT).as_posix() for path in PARTS.rglob("*") if path.is_file()]

    orphans = [name for name in names if not any(re.match(pattern, name) for pattern in patterns)]

    assert patterns
    assert orphans == []


def test_options_belong_to_parts() -> None:
    for path in PARTS.rglob("*.options"):
        assert list(path.parent.glob(f"{path.stem}.py*")), path


TAG = re.compile(r"\{%.*?%\}", re.DOTALL)


def test_every_tag_has_a_line_of_its_own() -> None:
    crowded = []
    for path in SOURCES:
        if path.suffix != ".jinja" or path.name == "README.md.jinja" or path.parent.name == "macros":
            continue
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if "{%-" in line or "-%}" in line:
                crowded.append(f"{path.name}:{number} trims spaces")
            elif TAG.search(line) and not re.fullmatch(r"\s*(\{%.*?%\})", line):
                crowded.append(f"{path.name}:{number} {line.strip()}")

    # a list of names in one line, each of which may be left out
    assert [line for line in crowded if "for name in (" not in line] == []


def public(tree: ast.Module) -> dict[str, str]:
    """What other modules may use of a module: functions with their arguments, classes with their methods, constants."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns) if node.returns else ''}"
        elif isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            found[node.name] = " ".join(
                sorted(f"{item.name}({ast.unparse(item.args)})" for item in methods if not item.name.startswith("_"))
            )
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: "constant" for target in targets if isinstance(target, ast.Name)}
    return found


# What another part of the same question makes, under a name of its own.
VARIES = {"Choice", "SeveralPerClass", "ResumableSampler"}


def test_the_parts_of_a_question_have_one_interface(projects: list[tuple[dict[str, Any], Path, str]]) -> None:
    meanings: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for _, folder, package in projects:
        modules = {path.stem: ast.parse(path.read_text()) for path in (folder / package).glob("*.py")}
        names = {name: public(tree) for name, tree in modules.items()}
        for user, tree in modules.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module in modules:
                    for alias in node.names:
                        used = f"{node.module}.{alias.name}"
                        assert alias.name in names[node.module], f"{user} of {folder.name} uses {used}"
                        if alias.name not in VARIES:
                            meanings[node.module][alias.name].add(names[node.module][alias.name])

    several = {
        f"{module}.{name}": sorted(kinds)
        for module in ("distributed", "metrics", "model", "optimizer", "scheduler", "state", "losses", "predict")
        for name, kinds in meanings[module].items()
        if len(kinds) > 1
    }
    assert {*meanings} >= {"distributed", "metrics", "model", "optimizer", "scheduler", "state"}
    assert several == {}
