"""Whether the code of a project is whole, and its layer groups match its model."""

from pathlib import Path
from typing import Any

from scaffold.health.finding import Finding
from scaffold.health.references import References
from scaffold.questions.answer_types import LAYER_GROUPS, PACKAGE
from scaffold.questions.form import Answers
from scaffold.render.rendering import list_files


def of_code(project: Path) -> list[Finding]:
    """Whether every Python file can be compiled, no conflict is left, and what the code names is there."""
    files = [name for name in list_files(project) if not _is_foreign(name)]
    names = [name for name in files if name.endswith(".py")]
    code = References({name: (project / name).read_bytes() for name in names}, set(files))
    findings = []
    for name in names:
        if name in code.broken:
            error = code.broken[name]
            line = getattr(error, "lineno", None) or 1
            reason = "a conflict is not solved" if "<<<<<<< " in str(getattr(error, "text", "")) else error
            findings.append(Finding("code", "problem", f"{name}:{line} is not Python: {reason}"))
            continue
        for line, what in code.problems(name):
            findings.append(Finding("code", "problem", f"{name}:{line} needs {what}"))
    return findings or [
        Finding("code", "ok", f"{len(names)} Python files compile, and what they import of each other is there")
    ]


def _is_foreign(name: str) -> bool:
    return any(part.startswith(".") or part in ("venv", "node_modules", "run", "data") for part in name.split("/"))


def of_groups(found: dict[str, Any], answers: Answers) -> list[Finding]:
    """Whether the layer groups match the model, as the project's own Python found."""
    if "groups" in found:
        held = ", ".join(f"{name} {count} tensor{'s' * (count != 1)}" for name, count in found["groups"].items())
        findings = [Finding("code", "ok", f"every group matches the model: {held}")]
        recorded_names = [group["name"] for group in answers.get(LAYER_GROUPS.name, [])]
        if recorded_names and list(found["groups"]) != recorded_names:
            findings.append(
                Finding("code", "note", f"the project was made with the groups {', '.join(recorded_names)}")
            )
        return findings
    if "groups_error" in found:
        package = PACKAGE.of(answers)
        help = f"see {package}/optim.py, and   python -m {package}.train --plan"
        return [Finding("code", "problem", f"the groups do not match the model: {found['groups_error']}", help)]
    return []
