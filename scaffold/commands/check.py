"""`scaffold check`: whether a project is healthy."""

import click

from scaffold.commands.applying import project_here
from scaffold.commands.program import json_option, program
from scaffold.conversation.output import as_json_text
from scaffold.errors import printable


@program.command()
@click.option(
    "--python", metavar="FILE", default="", help="The project's Python.  [default: .venv, else the active one]"
)
@json_option()
def check(python: str, as_json: bool) -> None:
    """Say whether a project is healthy, and what to type where it is not.

    \b
      scaffold check       in the project's folder
    """
    from dataclasses import asdict

    from scaffold.health.check import check as look

    findings = look(project_here(), python)
    problems = sum(finding.state == "problem" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    if as_json:
        click.echo(as_json_text({"healthy": not problems, "findings": [asdict(finding) for finding in findings]}))
    else:
        signs = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
        for finding in findings:
            help = f"   ({printable(finding.help)})" if finding.help else ""
            click.echo(f"{finding.part:<8} {signs[finding.state]}  {printable(finding.message)}{help}")
        click.echo(f"{problems} problem{'s' * (problems != 1)}, {notes} note{'s' * (notes != 1)}")
    click.get_current_context().exit(1 if problems else 0)
