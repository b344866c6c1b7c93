"""Is this project healthy? Its template, its code and its machine, each trouble with what to type."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scaffold.health.finding import Finding
from scaffold.health.left_behind import left_behind
from scaffold.health.machine import of_machine
from scaffold.health.project_code import of_code, of_groups
from scaffold.health.project_python import ask_python, find_python
from scaffold.health.template import of_template


def check(project: Path, python: str = "") -> list[Finding]:
    """Everything there is to say about a project."""
    findings = left_behind(project)
    found_of_template, answers = of_template(project)
    findings += found_of_template
    if answers is None:
        return findings + of_code(project)
    with ThreadPoolExecutor(1) as beside:  # the code is read while the project's Python imports torch
        asked = beside.submit(ask_python, project, answers, find_python(project, python))
        findings += of_code(project)
        found = asked.result()
    return findings + of_groups(found, answers) + of_machine(project, found, answers)
