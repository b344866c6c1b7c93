"""What a project records of its template."""

from pathlib import Path

from scaffold.errors import ScaffoldError
from scaffold.health.finding import Finding
from scaffold.questions.form import Answers
from scaffold.render.rendering import list_files, render
from scaffold.updates import answers_file
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
