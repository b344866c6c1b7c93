"""Is this project healthy? Its template, its code and its machine, each trouble with what to type."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer, Cancelled, CreateFailed, ScaffoldError
from scaffold.health import project_probe as probe
from scaffold.questions.answer_types import DISTRIBUTED, LAYER_GROUPS, PACKAGE, PRECISION
from scaffold.questions.form import Answers
from scaffold.render.project import list_files, render
from scaffold.system.git import asks
from scaffold.updates import answers_file
from scaffold.updates.merged import OURS
from scaffold.updates.work import opened, recover

_SECONDS = 60


@dataclass(frozen=True)
class Finding:
    """Something that was looked at: fine (ok), worth knowing (note), or to be put right (problem)."""

    part: str
    state: str
    message: str
    help: str = ""


def check(folder: Path, python: str = "") -> list[Finding]:
    """Everything there is to say about the project that a folder is in."""
    project = answers_file.find(folder)
    findings = _left(project)
    found_of_template, answers = _template(project)
    findings += found_of_template + _code(project)
    if answers is not None:
        found = _ask_python(project, answers, find_python(project, python))
        findings += _groups(found, answers) + _machine(project, found, answers)
    return findings


def find_python(project: Path, told: str = "") -> str:
    """The Python that the project runs with: as told, its own environment's, the active one, ours."""
    if told:
        if not Path(told).is_file():
            raise BadAnswer(f"there is no Python at {told}", at="--python")
        return os.path.abspath(told)
    name = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    for home in (str(project / ".venv"), os.environ.get("VIRTUAL_ENV", "")):
        if home and (Path(home) / name).is_file():
            return str(Path(home) / name)
    return sys.executable


def quick_tests(project: Path, python: str = "") -> None:
    """Run the project's quick tests in its own Python; CreateFailed where they fail."""
    command = [find_python(project, python), "-m", "pytest", "-q", "-m", "quick"]
    try:
        if subprocess.run(command, cwd=project, check=False).returncode == 0:
            return
        failed = CreateFailed("the update is done, and the quick tests of the project fail", help="pytest -m quick")
    except KeyboardInterrupt:
        failed = CreateFailed("the update is done, and the quick tests were stopped", help="pytest -m quick")
        failed.exit_code = Cancelled.exit_code
    failed.last_line = ""
    raise failed


# WHAT UPDATES LEFT


def _left(project: Path) -> list[Finding]:
    """What an update has left to be done: it was killed, its conflicts are not solved, it kept files beside."""
    try:
        findings = [Finding("project", "note", note) for note in recover(project)]
    except ScaffoldError:
        return []  # what is wrong with the repository is said where the template is looked at
    unmerged = _names(project, "ls-files", "--unmerged", "-z", "--", ".")
    unmerged = sorted({line.partition("\t")[2] for line in unmerged})
    if unmerged:
        message = f"an update is not finished: {_some(unmerged)} {_have(unmerged)} conflicts"
        findings.append(Finding("project", "problem", message, "edit them, then commit"))
    words = (
        "grep",
        "--basic-regexp",
        "-z",
        "-I",
        "--no-color",
        "--name-only",
        "--all-match",
        "-e",
        f"^<<<<<<< {OURS}",
        "-e",
        "^>>>>>>> template ",
    )
    marked = [name for name in _names(project, *words, "--", ".") if name not in unmerged]
    if marked:
        message = f"{_some(marked)} {_have(marked)} conflicts of an update in the text, as if they were solved"
        findings.append(Finding("project", "problem", message, f"look for   <<<<<<< {OURS}"))
    kept = _names(project, "ls-files", "-z", "--", "*.kept", "*.kept/*", "*.kept_", "*.kept_/*")
    if kept:
        message = f"an update kept {_some(kept)} for you"
        findings.append(Finding("project", "note", message, "take over what you need of it, then delete it"))
    return findings


def _names(project: Path, *words: str) -> list[str]:
    """The names that git lists."""
    return [name for name in (asks(project, *words) or "").split("\0") if name]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


# THE TEMPLATE


def _template(project: Path) -> tuple[list[Finding], Answers | None]:
    """What the answers file says, whether the template is known, what is newer, what was edited; and the answers."""
    try:
        said = answers_file.read(project)
    except ScaffoldError as error:
        return [_problem("project", error)], None
    try:
        with opened(project, must_be_clean=False) as work:
            findings = [
                Finding("project", "ok", "the answers file is as it was written"),
                Finding("project", "ok", f"made by template {said.version}"),
            ]
            newest = work.history.newest(said.version)
            if newest != said.version:
                findings.append(Finding("project", "note", f"template {newest} is out", "scaffold update"))
            fresh = work.space / "fresh"
            render(said.answers, fresh, work.template, said.origin)
            edited = [name for name in list_files(fresh) if not _same(fresh / name, project / name)]
            message = f"{len(edited)} of {len(list_files(fresh))} files edited: {', '.join(edited)}"
            findings.append(Finding("project", "ok", message if edited else "no generated file was edited"))
            return findings, said.answers
    except answers_file.Tampered as error:
        return [_problem("project", error)], None
    except ScaffoldError as error:
        return [Finding("project", "ok", "the answers file can be read"), _problem("project", error)], said.answers


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _problem(part: str, error: ScaffoldError) -> Finding:
    return Finding(part, "problem", error.message, error.help.splitlines()[0] if error.help else "")


# THE CODE


def _code(project: Path) -> list[Finding]:
    """Whether every Python file can be compiled, and no conflict is left."""
    names = [name for name in list_files(project) if name.endswith(".py") and not _is_foreign(name)]
    findings = []
    for name in names:
        try:
            ast.parse((project / name).read_bytes())
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            reason = "a conflict is not solved" if f"<<<<<<< {OURS}" in str(getattr(error, "text", "")) else error
            findings.append(Finding("code", "problem", f"{name}:{line} is not Python: {reason}"))
    return findings or [Finding("code", "ok", f"{len(names)} Python files compile")]


def _is_foreign(name: str) -> bool:
    return any(part.startswith(".") or part in ("venv", "node_modules", "run", "data") for part in name.split("/"))


def _ask_python(project: Path, answers: Answers, python: str) -> dict[str, Any]:
    """What the project's own Python has and says of the groups; `failed` where it does not answer."""
    words = [str(question.of(answers)) for question in (PACKAGE, DISTRIBUTED, PRECISION)]
    try:
        done = subprocess.run(
            [python, str(Path(probe.__file__).resolve()), *words],
            cwd=project,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"{python} said nothing in {_SECONDS} seconds"}
    except OSError as error:
        return {"failed": f"{python} cannot be run: {error.strerror}"}
    for line in done.stdout.splitlines():
        if line.startswith(probe.MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(probe.MARK))
            return found
    said = done.stderr.strip().splitlines()
    return {"failed": f"{python} ended with {done.returncode}: {said[-1] if said else 'nothing said'}"}


def _groups(found: dict[str, Any], answers: Answers) -> list[Finding]:
    if "groups" in found:
        held = ", ".join(f"{name} {count} tensors" for name, count in found["groups"].items())
        findings = [Finding("code", "ok", f"every group matches the model: {held}")]
        recorded_names = [group["name"] for group in LAYER_GROUPS.of(answers)]
        if list(found["groups"]) != recorded_names:
            findings.append(
                Finding("code", "note", f"the project was made with the groups {', '.join(recorded_names)}")
            )
        return findings
    if "groups_error" in found:
        package = PACKAGE.of(answers)
        help = f"see {package}/optim.py, and   python -m {package}.train --plan"
        return [Finding("code", "problem", f"the groups do not match the model: {found['groups_error']}", help)]
    return []


# THE MACHINE


def _machine(project: Path, found: dict[str, Any], answers: Answers) -> list[Finding]:
    """Whether the Python, torch and devices fit what was chosen."""
    if "failed" in found:
        return [Finding("machine", "problem", found["failed"], "name another   scaffold check --python PATH")]
    findings = [_at_least("Python", found["python"], _wanted(project, r'requires-python = ">=([\d.]+)"'))]
    if "torch" in found:
        findings.append(_at_least("torch", found["torch"], _wanted(project, r'"torch>=([\d.]+)')))
        devices = found["devices"]
        findings.append(
            Finding("machine", "ok", f"{len(devices)} GPUs: {', '.join(devices)}" if devices else "CPU only")
        )
    if "missing" in found:
        findings.append(Finding("machine", "problem", found["missing"], 'pip install -e ".[dev]"'))
    if "backends" in found:
        needed = "nccl" if found["devices"] else "gloo"
        good = needed in found["backends"]
        message = (
            f"{needed} is there for {DISTRIBUTED.of(answers)}"
            if good
            else (f"{DISTRIBUTED.of(answers)} was chosen, and this torch has no {needed}")
        )
        findings.append(
            Finding(
                "machine",
                "ok" if good else "problem",
                message,
                "" if good else "another build of torch   https://pytorch.org/get-started",
            )
        )
    if found.get("bf16") is False:
        findings.append(Finding("machine", "note", "this GPU has no bf16", f"scaffold change {PRECISION.flag} fp32"))
    return findings


def _wanted(project: Path, pattern: str) -> str:
    """The least version that pyproject.toml asks for."""
    path = project / "pyproject.toml"
    match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    return match[1] if match else "0"


def _at_least(what: str, found: str, wanted: str) -> Finding:
    good = _numbers(found) >= _numbers(wanted)
    return Finding(
        "machine",
        "ok" if good else "problem",
        f"{what} {found}" + ("" if good else f", and the project needs {wanted}"),
        "" if good else 'pip install -e ".[dev]"' if what == "torch" else f"an environment with {what} {wanted}",
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
