"""One project rendered twice, and the difference merged into the user's own by git.

The template as it was, with the answers as they were, is the base; the newer template, or other answers, is one side;
the user's last commit is the other.
"""

from pathlib import Path

from scaffold.questions.answer_types import PACKAGE
from scaffold.questions.form import Answers
from scaffold.system.git import git
from scaffold.updates.carry import Lost
from scaffold.updates.last_step.step import Change
from scaffold.updates.merged import OURS, Merged
from scaffold.updates.moves import broken_imports, follow, moved_behind_links, package_at, told_moves, within
from scaffold.updates.obstacles import make_way, tell_of_shadows
from scaffold.updates.scratch import Scratch
from scaffold.updates.settle import settle
from scaffold.updates.work import Work

# The commits that are merged are seen by nobody.
_NOBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "torch-scaffold"), ("EMAIL", "torch-scaffold"))
}


def merge(work: Work, template: Path, answers: Answers, version: str, subject: str, lost: list[Lost]) -> Merged:
    """Merge what the template, or the answers, make otherwise into the user's last commit."""
    merged = Merged(
        git(work.top, "rev-parse", "HEAD"), " ".join(subject.split()), work.recorded.answers, answers, version, lost
    )
    scratch = Scratch.make(work)
    ours = scratch.of_user(merged.ours)
    base = scratch.rendered("before", work.recorded.answers, work.template, work.recorded.version)
    theirs = scratch.rendered("after", answers, template, version)
    before = dict(ours)
    package = work.prefix + str(work.recorded.answers.get(PACKAGE.name, ""))
    if place := package_at(package, base, ours):
        for entries in (base, theirs):
            follow(entries, package, place)
        merged.notes.append(f"you have moved {package} to {place}, and what the template has in it goes there")
        package = place
    for link, place in moved_behind_links(scratch, ours, base, theirs).items():
        there, now = ({name: each[name] for name in within(each, link)} for each in (base, theirs))
        if there != now:
            merged.notes.append(
                f"{link} is a link of yours to {place}, and what the template has changed there goes there"
            )
        for entries in (base, theirs):
            follow(entries, link, place)
    scratch.take_line_ends(merged.ours, ours, base, theirs)
    kept, links = make_way(work, merged, ours, base, theirs)
    trees = {
        name: scratch.write(name, entries) for name, entries in (("base", base), ("ours", ours), ("theirs", theirs))
    }
    commits = {name: scratch.git("commit-tree", tree, "-m", name, variables=_NOBODY) for name, tree in trees.items()}

    labels = {f"GITHEAD_{commits['ours']}": OURS, f"GITHEAD_{commits['theirs']}": f"template {version}"}
    scratch.git("read-tree", commits["ours"])
    # a file counts as renamed where most of it stayed; else it was one file that went and one that came
    words = ("--find-renames=70%", commits["base"], "--", commits["ours"], commits["theirs"])
    scratch.merge(*words, variables=labels)
    places = told_moves(template, package, theirs)
    settle(work, merged, scratch, base, ours, theirs, commits, kept, links, places)
    merged.notes += broken_imports(scratch, base, theirs, commits, places)

    after = scratch.entries()
    names = sorted({*before, *after})
    merged.changes = [
        Change(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name) or f"\t{name}\0" in merged.unmerged
    ]
    merged.trees = (scratch.write("user", before), scratch.write("merged", after))
    for line in scratch.git("diff-tree", "-r", "--numstat", "--no-renames", "-z", *merged.trees).split("\0"):
        if line:
            added, removed, name = line.split("\t", 2)
            merged.files.append((name, added, removed))
    tell_of_shadows(merged, before, base, theirs)
    return merged
