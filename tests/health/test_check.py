"""`scaffold check` finds what an update, an editor or a mishap left in a project."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scaffold.health.finding import Finding
from scaffold.health.left_behind import left_behind
from scaffold.health.project_code import of_code
from scaffold.health.project_python import ask_python
from scaffold.health.references import References
from scaffold.health.template import of_gone
from scaffold.render.rendering import render
from scaffold.updates.template_history import open_history
from tests.conftest import ROOT, Run
from tests.generated.rendered import render_project
from tests.updates.updating import BUNDLE, SEED, History, append, commit, git, history, remove, replace

__all__ = ["history"]  # a fixture

MARKS = {
    "ours": ("yours", "template v2.0.0"),
    "of copier update": ("before updating", "after updating"),
    "of git merge": ("HEAD", "a-branch"),
}

VERSIONS = re.findall(r"refs/tags/(v\S+)", git(ROOT, "bundle", "list-heads", str(BUNDLE)))

# A net for nine features alone.
NET_OF_NINE = """import torch
from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self, num_targets: int) -> None:
        super().__init__()
        self.inner = nn.Linear(9, 4)
        self.outer = nn.Linear(4, num_targets)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.relu(self.inner(x))
        return self.outer(embedding), embedding
"""


@pytest.fixture
def project(history: History, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, to work in, whose Python is not asked."""
    made = history.make(here / "p", "v1.0.0", {"distributed": "ddp", "ci": "github", "license": "mit"})
    monkeypatch.chdir(made)
    monkeypatch.setattr("scaffold.health.check.ask_python", lambda *_: {"python": "3.13.0"})
    return made


def problems(findings: list[Finding]) -> list[str]:
    return [finding.message for finding in findings if finding.state == "problem"]


def looked(scaffold: Run) -> list[str]:
    """The problems that the command tells, with what to type."""
    result = scaffold("check", "--json")
    told = json.loads(result.out)
    assert result.code == (0 if told["healthy"] else 1)
    return [f"{found['message']} ({found['help']})" for found in told["findings"] if found["state"] == "problem"]


def test_a_project_as_it_was_made_has_no_problem(scaffold: Run, project: Path) -> None:
    assert looked(scaffold) == []


@pytest.mark.figure("A6 check finds", "marks of three tools in every file of the template")
@pytest.mark.parametrize("marks", MARKS)
def test_conflicts_in_the_text_are_found_in_every_file_of_the_template(
    project: Path, marks: str, record_property: Callable[[str, object], None]
) -> None:
    ours, theirs = MARKS[marks]
    names = [name for name in git(project, "ls-files").splitlines() if not name.endswith(".npz")]
    for name in names:
        append(name, f"\n<<<<<<< {ours}\nmine\n=======\ntheirs\n>>>>>>> {theirs}\n")(project)
    for _ in ("as it is", "committed"):
        found = problems(left_behind(project))[0].partition(" have conflicts")[0].split(", ")
        assert sorted(found) == sorted(names)
        commit(project)
    broken = {message.partition(":")[0] for message in problems(of_code(project))}
    assert broken == {name for name in names if name.endswith(".py")}
    record_property("tries", 2 * len(names))
    assert len(names) > 40


def test_a_conflict_that_is_not_solved_is_found(scaffold: Run, history: History, project: Path) -> None:
    replace("p/engine/seed.py", "import random", "import random  # mine")(project)
    commit(project)
    history.release(replace(SEED, "import random", "import random  # theirs"))
    assert scaffold("update", "--yes").code == 3

    assert "an update is not finished: p/engine/seed.py has conflicts (edit them, then commit)" in looked(scaffold)
    commit(project, "As it is")
    assert any("p/engine/seed.py has conflicts of an update in the text" in problem for problem in looked(scaffold))


@pytest.mark.figure("A6 check finds", "each module of the package deleted")
def test_a_module_that_is_gone_is_found_whichever_it_is(
    project: Path, record_property: Callable[[str, object], None]
) -> None:
    """Where it was deleted for good and nothing needs it, it is told, and no problem."""
    modules = [name for name in git(project, "ls-files", "p").splitlines() if name.endswith(".py")]
    needless = []
    for name in modules:
        kept = (project / name).read_bytes()
        remove(name)(project)
        needless += [name] if not problems(of_code(project)) else []
        (lost,) = of_gone(project, [name])
        assert (lost.state, lost.message) == ("problem", f"{name} is not there, and git still has it")
        git(project, "rm", "--quiet", "--cached", "--", name)
        (deleted,) = of_gone(project, [name])
        assert (deleted.state, deleted.message.partition(";")[0]) == ("note", f"you deleted {name}")
        git(project, "reset", "--quiet")
        subprocess.run(lost.help.split("to have it back   ")[1], shell=True, check=True, cwd=project)
        assert (project / name).read_bytes() == kept
    record_property("tries", len(modules))
    assert len(modules) > 25
    # those that a person starts, and those that are papers of a package
    ends = ("__init__.py", "__main__.py", "evaluate.py", "predict.py", "train.py")
    assert [name for name in needless if not name.endswith(ends)] == []


def test_a_module_that_is_gone_is_told_by_the_command(scaffold: Run, project: Path) -> None:
    remove("p/metrics.py")(project)

    assert looked(scaffold)[0].startswith(
        "p/metrics.py is not there, and git still has it (to have it back   git restore"
    )
    commit(project)
    assert "p/metrics.py, which is not there" in looked(scaffold)[0]


@pytest.mark.figure("A6 check finds", "each import of each module left out")
def test_an_import_that_is_missing_is_found_whichever_it_is(
    project: Path, record_property: Callable[[str, object], None]
) -> None:
    sources = {name: (project / name).read_bytes() for name in git(project, "ls-files").splitlines()}
    code = References({name: text for name, text in sources.items() if name.endswith(".py")}, set(sources))
    tried = 0
    for name in [name for name in code.sources if not name.endswith("__init__.py")]:
        assert list(code.problems(name)) == []
        for node in ast.parse(sources[name]).body:
            if not isinstance(node, ast.Import | ast.ImportFrom) or "__future__" in ast.unparse(node):
                continue
            lines = sources[name].splitlines(keepends=True)
            without = b"".join([*lines[: node.lineno - 1], *lines[node.end_lineno :]])
            code.put(name, without)
            found = list(code.problems(name))
            names = {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            assert {what.partition(",")[0] for _, what in found} >= names, (name, node.lineno, found)
            tried += 1
        code.put(name, sources[name])
    record_property("tries", tried)
    assert tried > 150


@pytest.mark.figure("A6 check finds", "imports and names in code of one's own")
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("from .nowhere import x", "p/mine.py:1 needs p/nowhere.py, which is not there"),
        ("import p.nowhere", "p/mine.py:1 needs p/nowhere.py, which is not there"),
        ("from p.options import Optoins", "p/mine.py:1 needs Optoins, which is not in p/options.py"),
        ("from .engine import nowhere", "p/mine.py:1 needs nowhere, which is not in p/engine/__init__.py"),
        ("def f():\n    return np.zeros(3)", "p/mine.py:2 needs np, which nothing in the file defines"),
        ("VALUE = math.pi", "p/mine.py:1 needs math, which nothing in the file defines"),
    ],
)
def test_what_is_needed_and_not_there_is_found_in_code_of_ones_own(project: Path, line: str, problem: str) -> None:
    append("p/mine.py", f"{line}\n")(project)

    assert problems(of_code(project)) == [problem]


@pytest.mark.figure("A6 check finds", "code in which nothing is wrong")
@pytest.mark.parametrize(
    "code",
    [
        "from math import *\nprint(pi)\n",
        "def f():\n    global x\n    x = 1\n\n\ndef g():\n    return x\n",
        "try:\n    import fast as np\nexcept ImportError as error:\n    np = error\nprint(np, __file__, __name__)\n",
        "import p.engine.seed\nfrom p import engine\nfrom .engine import seed, run\nprint([i for i in seed.x], p)\n",
        "class A:\n    one = 1\n    two = [1 for _ in '12']\n\n    def f(self):\n        return super().f, __class__, A\n",
        "match 1:\n    case [a, *b] | {'x': a, **b}:\n        print(a, b)\n    case c:\n        print(c)\n",
        "for i, (j, k) in []:\n    pass\nwith open('') as f, open('') as (g, h):\n    print(i, j, k, f, g, h, (n := 1), n)\n",
        "def f[T](x: T) -> T:\n    return x\n\n\ntype A = list[int]\nprint(A)\n",
        "# -*- coding: latin-1 -*-\nx = '\u00fc'\nprint(x)\n",
        "import matplotlib.pyplot as plt\nfrom torch.nn import functional as F\nprint(plt, F.nothing)\n",
    ],
)
def test_what_is_there_is_no_problem(project: Path, code: str) -> None:
    try:
        ast.parse(code)
    except SyntaxError:
        pytest.skip("of a newer Python")
    (project / "p" / "mine.py").write_bytes(code.encode("latin-1" if "latin" in code else "utf-8"))

    assert problems(of_code(project)) == []


@pytest.mark.figure("A6 check finds", "files kept beside, committed or not")
@pytest.mark.parametrize("leave", [commit, lambda folder: git(folder, "add", "--all"), lambda _: None])
@pytest.mark.parametrize("name", ["p/options.py.kept", "tools.kept/a", "a b.kept_"])
def test_a_file_that_was_kept_is_found_committed_or_not(
    scaffold: Run, project: Path, leave: Callable[[Path], object], name: str
) -> None:
    append(name, "mine\n")(project)
    leave(project)

    assert [problem.partition(" (")[0] for problem in looked(scaffold)] == [f"an update kept {name} for you"]
    remove(name)(project)
    assert looked(scaffold) == []


@pytest.mark.parametrize(
    "flags",
    [
        {"task": "language_model"},
        {"task": "regression", "data": "features"},
        {"task": "detection"},
        {"data": "arrays", "model": "mlp"},
        {"data": "own_set.data:Set", "model": "own_net.net:Net"},
    ],
    ids=["language_model", "features", "detection", "arrays", "own"],
)
def test_the_groups_of_a_project_as_it_was_made_match_its_model_whatever_its_data_are(
    here: Path, flags: dict[str, str]
) -> None:
    made = render_project(here / "p", **flags)

    assert "groups" in (found := ask_python(made, {"package_name": "p"}, sys.executable)), found


@pytest.mark.parametrize(
    "version",
    [
        version if version in ("v0.3.6", "v0.4.0") else pytest.param(version, marks=pytest.mark.nightly)
        for version in VERSIONS
    ],
)
def test_the_groups_of_a_project_of_every_version_match_its_model(version: str, here: Path) -> None:
    template = open_history(str(BUNDLE), "v0.1.0", here / "history").check_out(version, here / "template")
    render({}, here / "p", template, {"_src_path": "x", "_commit": version})

    assert "groups" in (found := ask_python(here / "p", {"package_name": "p"}, sys.executable)), found


def test_a_model_is_built_for_the_data_of_the_newest_run(here: Path) -> None:
    made = render_project(here / "p", task="regression", data="features", model="p_net.net:Net")
    (made / "p_net/net.py").write_text(NET_OF_NINE)
    facts = {"features": 9, "targets": ["one", "two"]}
    (made / "run/1").mkdir(parents=True)
    (made / "run/1/options.json").write_text(json.dumps({"facts": facts}))
    (made / "run/2").mkdir()
    (made / "run/2/options.json").write_text("damaged")

    assert "groups" in (found := ask_python(made, {"package_name": "p"}, sys.executable)), found
