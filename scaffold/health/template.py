"""What a project records of its template."""

import os
from pathlib import Path

from scaffold.errors import ScaffoldError
from scaffold.health.finding import Finding
from scaffold.questions.answer_types import PACKAGE
from scaffold.questions.form import Answers
from scaffold.render.rendering import list_files, render
from scaffold.system.git import asks
from scaffold.system.shell import join
from scaffold.updates import answers_file
from scaffold.updates.moves import package_at
from scaffold.updates.work import opened


def of_template(project: Path) -> tuple[list[Finding], Answers | None]:
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
            names = list_files(fresh)
            package = PACKAGE.of(said.answers)
            place = package_at(package, names, list_files(project)) if not (project / package).exists() else ""
            if place:
                findings.append(Finding("project", "ok", f"the package {package} is at {place}"))
                (fresh / place).parent.mkdir(parents=True, exist_ok=True)
                (fresh / package).rename(fresh / place)
                names = list_files(fresh)
            gone = [name for name in names if not os.path.lexists(project / name)]
            findings += of_gone(project, gone)
            edited = [name for name in names if name not in gone and not _same(fresh / name, project / name)]
            message = f"{len(edited)} of {len(names)} files edited: {', '.join(edited)}"
            findings.append(Finding("project", "ok", message if edited else "no generated file was edited"))
            return findings, said.answers
    except answers_file.Tampered as error:
        return [_problem("project", error)], None
    except ScaffoldError as error:
        return [Finding("project", "ok", "the answers file can be read"), _problem("project", error)], said.answers


def of_gone(project: Path, gone: list[str]) -> list[Finding]:
    """What to say of files that are generated and not there: whether they were deleted for good, or by a mishap."""
    if not gone:
        return []
    known = set((asks(project, "ls-files", "-z") or "").split("\0"))
    lost = [name for name in gone if name in known]
    findings = []
    if lost:
        message = f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} not there, and git still has {'it' if len(lost) == 1 else 'them'}"
        findings.append(
            Finding("project", "problem", message, f"to have it back   {join(['git', 'restore', '--', *lost])}")
        )
    deleted = [name for name in gone if name not in known]
    if deleted:
        findings.append(Finding("project", "note", f"you deleted {', '.join(deleted)}; an update brings no news of it"))
    return findings


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _problem(part: str, error: ScaffoldError) -> Finding:
    return Finding(part, "problem", error.message, error.help.splitlines()[0] if error.help else "")
