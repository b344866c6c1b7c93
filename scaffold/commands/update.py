"""`scaffold update`: a newer template for a project."""

import click

from scaffold.commands.program import program
from scaffold.conversation.output import show
from scaffold.errors import printable


@program.command()
@click.option("--to", metavar="VERSION", default="", help="Bring it to this version.  [default: the newest]")
@click.option("--check", is_flag=True, help="Say what a newer template brings, change nothing.")
@click.option("--diff", "show_diff", is_flag=True, help="Show the difference, change nothing.")
@click.option("--test", is_flag=True, help="Run the project's quick tests afterwards.")
@click.option("--trust", metavar="ADDRESS", default="", help="Take templates from this address, now and later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before applying it.")
def update(to: str, check: bool, show_diff: bool, test: bool, trust: str, yes: bool) -> None:
    """Bring a project up to a newer template, with your edits kept.

    \b
      scaffold update --check       what is new
      scaffold update --diff        what it would change
      scaffold update               merges it, and commits
    """
    from pathlib import Path

    from scaffold.commands.applying import apply, tell_of
    from scaffold.updates import new_version
    from scaffold.updates.summary import diff
    from scaffold.updates.work import opened

    with opened(Path.cwd(), trust=trust, must_be_clean=not (check or show_diff)) as work:
        before, version = work.recorded.version, new_version.wanted(work, to)
        tell_of(work)
        if version == before:
            show(f"The project is at {before}, and the template has nothing newer.")
            return
        for release, lines in work.history.news(before, version):
            click.echo(f"{before} -> {release}")
            for line in lines:
                click.echo(f"  {printable(line)}")
        if check:
            return
        merged = new_version.update(work, version)
        if show_diff:
            click.echo(diff(work, merged))
            return
        apply(work, merged, yes=yes)
    show(f"Updated to {version}, your edits kept.   Review: git show   Undo: git revert HEAD")
    if test:
        from scaffold.health.project_python import quick_tests

        quick_tests(work.project)
