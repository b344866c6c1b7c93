"""What other answers to the same template make of a project."""

from collections.abc import Iterable, Mapping
from typing import Any

from scaffold.errors import BadAnswer
from scaffold.questions.answer_types import GROUPS_FROM, LAYER_GROUPS, MODEL, PACKAGE, PROJECT, type_of
from scaffold.questions.answer_types.own_class import OWN
from scaffold.questions.answers import Given, complete, gather
from scaffold.questions.form import Answers, Form
from scaffold.questions.layer_groups import write_groups
from scaffold.system.shell import join
from scaffold.updates import answers_file
from scaffold.updates.merge import merge
from scaffold.updates.merged import Merged
from scaffold.updates.summary import shown
from scaffold.updates.work import Work


def change(work: Work, flags: Mapping[str, Any]) -> Merged:
    """The project with other answers to the same template. An answer that was the default of the others follows it."""
    form = Form(work.template)
    for name, value in flags.items():
        if name not in form.questions and value not in (None, ()):
            raise BadAnswer(
                f"template {work.recorded.version}, which made the project, does not ask '{name}'",
                help="bring it up to date first   scaffold update",
            )
    known = {name: value for name, value in flags.items() if name in form.questions}
    try:
        said = gather(form, known, preset=None, answers_file=None)
        given = standing(form, work.recorded.answers)
        for name, value in said.values.items():
            type_of(name).clear(given, value)
        given.values.update(said.values)
        given.sources.update(said.sources)
        answers = complete(form, given, PROJECT.or_else(work.recorded.answers))
    except BadAnswer as error:
        newest = work.history.newest(work.recorded.version)
        if newest != work.recorded.version:  # what there is now may be more
            newer = f"{work.recorded.version} made the project; to have what {newest} has   scaffold update"
            error.help = f"{error.help}\n{newer}" if error.help else newer
        raise
    merged = change_to(work, answers, said.values)
    merged.notes += unchecked_groups(form, answers, said.values)
    return merged


def unchecked_groups(form: Form, answers: Answers, said: Mapping[str, Any]) -> list[str]:
    """A note where another model keeps the layer groups of the one before, and its layers are not known here."""
    if MODEL.name not in said or LAYER_GROUPS.name in said or answers.get(GROUPS_FROM.name) != OWN:
        return []
    name, model, has_head = MODEL.known(form.fill(answers, PROJECT.of(answers)))
    words = [] if model else write_groups(LAYER_GROUPS.of(answers), name, model, has_head)
    if words in ([], ["rest=1"]):
        return []
    flags = join([word for group in words for word in (LAYER_GROUPS.flag, group)])
    return [f"the layer groups stay as they were; whether they fit   scaffold inspect {name} {flags}"]


def change_to(work: Work, answers: Answers, said: Iterable[str]) -> Merged:
    """The project with these answers to the same template, of which the user named some."""
    names = [name for name in answers if answers[name] != work.recorded.answers.get(name) and name in said]
    subject = "Change " + (", ".join(f"{name} to {shown(answers[name])}" for name in names) or "nothing")
    return merge(work, work.template, answers, work.recorded.version, subject, [])


def standing(form: Form, before: Answers) -> Given:
    """The answers of a project that were no mere defaults of the others."""
    given = Given()
    context: Answers = {"_folder_name": PROJECT.of(before)}
    for question in form.questions.values():
        name = question.name
        default = form.default(question, context)
        context[name] = before.get(name, default)
        # a name that is given up would rename the package under the user's own imports
        if name in before and (before[name] != default or name in (PROJECT.name, PACKAGE.name)):
            given.put(name, before[name], answers_file.NAME)
    return given
