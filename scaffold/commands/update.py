"""`scaffold update`: a newer template for a project."""

import click

from scaffold.commands.program import json_option, program
from scaffold.conversation.output import show


@program.command()
@click.option("--to", metavar="VERSION", default="", help="Bring it to this version.  [default: the newest]")
@click.option("--check", is_flag=True, help="Say what a newer template brings, change nothing.")
@click.option("--diff", "show_diff", is_flag=True, help="Show the difference, change nothing.")
@click.option("--test", is_flag=True, help="Run the project's quick tests afterwards.")
@click.option("--trust", metavar="ADDRESS", default="", help="Take templates from this address, now and later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before applying it.")
@json_option()
def update(to: str, check: bool, show_diff: bool, test: bool, trust: str, yes: bool, as_json: bool) -> None:
    """Bring a project up to a newer template, with your edits kept.

    \b
      scaffold update --check       what is new
      scaffold update --diff        what it would change
      scaffold update               merges it, and commits
    """
    from scaffold.commands.applying import Told, bring, project_here
    from scaffold.updates import new_version
    from scaffold.updates.work import opened

    with opened(project_here(), trust=trust, must_be_clean=not (check or show_diff)) as work:
        before, version = work.recorded.version, new_version.wanted(work, to)
        told = Told(work, as_json=as_json)
        news = work.history.news(before, version)
        told.result |= {
            "from": before,
            "to": version,
            "news": [{"version": release, "lines": lines} for release, lines in news],
        }
        if version == before:
            show(f"The project is at {before}, and the template has nothing newer.")
            told.end()
            return
        told.line(f"{before} -> {version}")
        for release, lines in news:
            if len(news) > 1 or release != version:
                told.line(f"{release}")
            for line in _first(lines):
                told.line(f"  {line}")
        if check or not bring(told, work, new_version.update(work, version), yes=yes, only_show=show_diff):
            told.end()
            return
    show(f"Updated to {version}, your edits kept.   Review: git show   Undo: git revert HEAD")
    told.end()
    if test:
        from scaffold.health.project_python import quick_tests

        quick_tests(work.project)


def _first(lines: list[str]) -> list[str]:
    """Of the news of a release that are under several headings, those under the first, and what the others are."""
    heads = [place for place, line in enumerate(lines) if line.startswith("### ")]
    if len(heads) < 2:
        return lines
    others = ", ".join(lines[place][4:] for place in heads[1:])
    return [*(line.removeprefix("### ") for line in lines[: heads[1]]), f"… and more: {others}"]
