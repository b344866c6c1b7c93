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
    """The version to update to: the one that was said, or the newest."""
    now = work.recorded.version
    if not to:
        newest = work.history.newest(now)
        if not work.history.comes_from(newest, now):
            raise Refused(
                f"{newest} was not made from {now}, such as an upstream's version in a fork: what only {now} has would go",
                help=f"if you mean it   scaffold update --to {newest.removeprefix('v')}",
            )
        return newest
    releases = work.history.releases()
    version = next((release for release in releases if release.removeprefix("v") == to.removeprefix("v")), None)
    if version is None:
        raise BadAnswer(
            f"the template has no version {to}", at="--to", help=f"there is   {', '.join(releases) or 'none'}"
        )
    if version != now and not work.history.is_newer(version, now):
        raise BadAnswer(
            f"{version} is older than the project's {now}", at="--to", help="an update is undone by git   git revert"
        )
    return version
