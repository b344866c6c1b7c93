"""Rehearse a release on this machine: the steps of .github/workflows/release.yml, each job in a clone of its own.

    tools/release_rehearsal            all but the job that runs the tests
    tools/release_rehearsal --tests    that one too

What needs GitHub or PyPI (attesting, publishing, the release itself) is named and left out, and a home without any settings
stands for GitHub's machine. A step that fails ends its job; the others go on, and the exit status says so. What was built is in
the folder that the last line names. It needs git, bash and the registries that pip uses.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tools.lint_workflows import complaints

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ".github/workflows/release.yml"
# What an action does on this machine; the others need GitHub.
CHECKOUT, PYTHON, UPLOAD, DOWNLOAD = "checkout", "setup-python", "upload-artifact", "download-artifact"


def rehearse_job(job: dict[str, Any], folder: Path, tag: str, kept: Path) -> bool:
    """Run the steps of a job; was every one that can run here a success?"""
    work, home = folder / "work", folder / "home"
    work.mkdir(parents=True)
    home.mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "PYTHON"))}
    variables |= {"HOME": str(home), "GITHUB_REF_NAME": tag}
    for step in job["steps"]:
        assert {*step} <= {"uses", "with", "run", "env"}, f"what is to be done here with {step}?"
        action = re.sub(r".*/|@.*", "", step.get("uses", ""))
        said = step.get("run") or f"{action} {step.get('with', {}).get('name', '')}".strip()
        if action == CHECKOUT:
            clone(work, tag)
        elif action == PYTHON:
            subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
            variables["PATH"] = f"{folder / 'python' / 'bin'}{os.pathsep}{variables['PATH']}"
        elif action == UPLOAD:
            shutil.copytree(work / step["with"]["path"], kept / step["with"]["name"], dirs_exist_ok=True)
        elif action == DOWNLOAD:
            if not (kept / step["with"]["name"]).is_dir():
                print(f"    failed: {said}: nothing was kept under that name")
                return False
            shutil.copytree(kept / step["with"]["name"], work / step["with"]["path"])
        elif action or "env" in step:
            print(f"    only on GitHub: {said}")
            continue
        else:
            print(f"    {said}", flush=True)
            if subprocess.run(
                ["bash", "-eo", "pipefail", "-c", step["run"]], cwd=work, env=variables, check=False
            ).returncode:
                print(f"    failed: {said}")
                return False
    return True


def clone(work: Path, tag: str) -> None:
    """The commit that is checked out here, as GitHub would have it after a push to main and of the tag."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), "."], cwd=work, check=True)
    subprocess.run(["git", "update-ref", f"refs/tags/{tag}", "HEAD"], cwd=work, check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", tag], cwd=work, check=True)
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=work, check=True)


def main(words: list[str]) -> int:
    version = re.search(
        r'^__version__ = "(.*)"', (ROOT / "scaffold/__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert version
    tag = f"v{version[1]}"
    jobs: dict[str, Any] = yaml.safe_load((ROOT / WORKFLOW).read_text(encoding="utf-8"))["jobs"]
    place = Path(tempfile.mkdtemp(prefix="release-"))
    failed = []
    for name, job in jobs.items():
        print(f"{name}: {job['name']}", flush=True)
        if name == "test" and "--tests" not in words:
            print("    left out; --tests runs it")
        elif not rehearse_job(job, place / name, tag, place / "kept"):
            failed.append(name)
    print("lint: what zizmor and actionlint say of the workflows")
    found = complaints(ROOT / ".github")
    print("".join(f"    {line}\n" for line in found), end="")
    failed += ["lint"] if found else []
    print(f"{tag}: {'failed: ' + ', '.join(failed) if failed else 'rehearsed'}; what was built is in {place / 'kept'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
