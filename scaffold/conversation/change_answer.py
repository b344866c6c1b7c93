"""One answer is given anew, and what cannot stand beside it is asked again."""

from scaffold.conversation.questions import ask
from scaffold.conversation.talk import Talk, as_text, select
from scaffold.conversation.terminal import BACK, Option
from scaffold.errors import BadAnswer
from scaffold.questions.answer_types import GROUPS_FROM, LAYER_GROUPS, PROJECT
from scaffold.questions.answers import Given


def change_answer(talk: Talk) -> None:
    """Ask one question again, and those that only its answer brings up."""
    context = talk.form.fill(talk.values, talk.name)
    asked = [question for question in talk.form.questions.values() if talk.form.is_asked(question, context)]
    if talk.target:
        asked = [question for question in asked if question.kind is not PROJECT]
    options = [
        Option(question.name, question.kind.label, as_text(talk, question, context[question.name], context))
        for question in asked
    ]
    name = select(talk, "Which answer?", options, None)
    if name is BACK:
        return
    given, said = Given(dict(talk.given.values), dict(talk.given.sources)), dict(talk.said)
    open_again = [name]
    if name == GROUPS_FROM.name and LAYER_GROUPS.name in talk.values:
        open_again.append(LAYER_GROUPS.name)
    for forgotten in open_again:
        talk.before[forgotten] = context[forgotten]
        talk.given.forget(forgotten)
        talk.said.pop(forgotten, None)
    question = talk.form.questions[name]
    if not ask(talk, question):
        talk.given, talk.said = given, said
        return
    after = talk.form.fill({key: value for key, value in talk.values.items() if key not in _dropped(talk)}, talk.name)
    for key in _dropped(talk):
        talk.given.forget(key)
        talk.said.pop(key, None)
    for follower in talk.form.questions.values():
        is_open = follower not in asked or follower.name in open_again
        due = is_open and follower.name not in talk.values and talk.form.is_asked(follower, after)
        if due and not ask(talk, follower):
            talk.given, talk.said = given, said
            return


def _dropped(talk: Talk) -> list[str]:
    """Answers that cannot stand beside the others any more."""
    dropped: list[str] = []
    while True:
        values = {name: value for name, value in talk.values.items() if name not in dropped}
        try:
            talk.form.fill(values, talk.name)
        except BadAnswer as error:
            if error.question not in values:
                raise
            dropped.append(error.question)
        else:
            return dropped
