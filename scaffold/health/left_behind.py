"""What updates left to be done in a project."""

import os
from pathlib import Path

from scaffold.errors import ScaffoldError
from scaffold.health.finding import Finding
from scaffold.system.git import asks
from scaffold.updates.merged import OURS
from scaffold.updates.work import recover


def left_behind(project: Path) -> list[Finding]:
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
    marks = ("-e", "^<<<<<<< ", "-e", "^>>>>>>> ")
    words = ("-c", "grep.fullName=false", "grep", "--untracked", "--basic-regexp", "-z", "-I", "--no-color")
    marked = _names(project, *words, "--name-only", "--all-match", *marks, "--", ".")
    marked = [name for name in marked if name not in unmerged]
    if marked:
        message = f"{', '.join(marked)} {_have(marked)} conflicts of an update in the text, as if they were solved"
        findings.append(Finding("project", "problem", message, f"look for   <<<<<<< {OURS}"))
    kept = ("--cached", "--others", "--exclude-standard", "--deduplicate")
    beside = _names(project, "ls-files", "-z", *kept, "--", "*.kept", "*.kept/*", "*.kept_", "*.kept_/*")
    beside = [name for name in beside if os.path.lexists(project / name)]
    if beside:
        message = f"an update kept {_some(beside)} for you"
        findings.append(Finding("project", "problem", message, "take over what you need of it, then delete it"))
    return findings


def _names(project: Path, *words: str) -> list[str]:
    """The names that git lists."""
    return [name for name in (asks(project, *words) or "").split("\0") if name]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
