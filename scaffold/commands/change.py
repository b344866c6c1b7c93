"""`scaffold change`: other answers for a project."""

from typing import TYPE_CHECKING, Any

import click

from scaffold.commands.answer_options import AnswersCommand
from scaffold.commands.program import json_option, program
from scaffold.conversation.output import has_somebody, settings, show, use_colour
from scaffold.errors import BadAnswer

if TYPE_CHECKING:
    from scaffold.updates.merged import Merged
    from scaffold.updates.work import Work


@program.command(cls=AnswersCommand)
@click.option("--diff", "show_diff", is_flag=True, help="Show the difference, change nothing.")
@click.option("--trust", metavar="ADDRESS", default="", help="Take templates from this address, now and later.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before applying it.")
@json_option()
def change(show_diff: bool, trust: str, yes: bool, as_json: bool, **flags: Any) -> None:
    """Give a project other answers, with your edits kept.

    \b
      scaffold change --scheduler step
      scaffold change --distributed fsdp --diff
      scaffold change                      asks
    """
    from scaffold.commands.applying import Told, bring, project_here
    from scaffold.updates import new_answers
    from scaffold.updates.work import opened

    with opened(project_here(), trust=trust, must_be_clean=not show_diff) as work:
        told = Told(work, as_json=as_json)
        named = any(value not in (None, ()) for value in flags.values())
        merged = new_answers.change(work, flags) if named else ask_again(work)
        if merged.is_nothing:
            show("The project has these answers already.")
            told.end()
            return
        if not bring(told, work, merged, yes=yes, only_show=show_diff):
            told.end()
            return
    show("Changed, your edits kept.   Review: git show   Undo: git revert HEAD")
    told.end()


def ask_again(work: "Work") -> "Merged":
    """What a project becomes by the answers of a conversation in which each is proposed as it is."""
    from scaffold.questions.form import Form
    from scaffold.updates import new_answers

    if not has_somebody():
        raise BadAnswer(
            "no terminal to ask questions in, and no flag says what to change",
            help="for example   scaffold change --scheduler step",
        )
    from scaffold.conversation.terminal import look
    from scaffold.conversation.wizard import reconsider

    form = Form(work.template)
    screen = look(colour=use_colour(), plain=bool(settings.get("plain")))
    answers = reconsider(form, screen, new_answers.standing(form, work.recorded.answers))
    return new_answers.change_to(work, answers, [question.name for question in form.questions.values()])
