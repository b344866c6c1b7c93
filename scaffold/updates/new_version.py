"""What a newer template makes of a project."""

from scaffold.errors import BadAnswer, Refused
from scaffold.questions.form import Form
from scaffold.updates.carry import carry
from scaffold.updates.merge import merge
from scaffold.updates.merged import Merged
from scaffold.updates.work import Work


def update(work: Work, to: str = "") -> Merged:
    """The project with a newer template."""
    version = wanted(work, to)
    template = work.history.check_out(version, work.space / "template-after")
    answers, lost = carry(Form(template), work.recorded.answers)
    subject = f"Update the template from {work.recorded.version} to {version}"
    return merge(work, template, answers, version, subject, [answer for answer in lost if answer.asked])


def wanted(work: Work, to: str) -> str:
    """The version to update to: the one that was said, or the newest that was made from the project's own."""
    history, now = work.history, work.recorded.version
    if not to:
        newest = history.newest(now)
        last = history.releases()[-1:]
        if newest == now and last and history.is_newer(last[0], now):
            raise Refused(
                f"{last[0]} was not made from {now}, such as an upstream's version in a fork: what only {now} has would go",
                help=f"if you mean it   scaffold update --to {last[0].removeprefix('v')}",
            )
        return newest
    version = history.find(to)
    if version is None:
        raise BadAnswer(
            f"the template has no version {to}, nor a branch or a commit of that name",
            at="--to",
            help=f"there is   {', '.join(history.releases()) or 'none'}",
        )
    if history.commit(version) == history.commit(now):
        return now
    if history.comes_from(now, version) or history.is_newer(now, version):
        raise BadAnswer(
            f"{version} is older than the project's {now}", at="--to", help="an update is undone by git   git revert"
        )
    return version
