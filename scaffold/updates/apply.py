"""What was merged is brought into the user's files: in one step, with a commit, or with conflicts to finish."""

from scaffold.errors import Refused
from scaffold.system.git import GitFailed, asks, call, git
from scaffold.updates.last_step.prepare import prepare
from scaffold.updates.last_step.step import Step, index_lines
from scaffold.updates.last_step.take import take
from scaffold.updates.merged import OURS, Merged
from scaffold.updates.moves import listed
from scaffold.updates.what_to_type import commit_all, give_up, to_see_edits, to_see_theirs
from scaffold.updates.work import Work

# What git keeps while something is not finished, among which a commit of ours would be lost or mixed up.
_BEGUN = {
    "MERGE_HEAD": ("merge", "git merge --continue, or --abort"),
    "CHERRY_PICK_HEAD": ("cherry-pick", "git cherry-pick --continue, or --abort"),
    "REVERT_HEAD": ("revert", "git revert --continue, or --abort"),
    "rebase-merge": ("rebase", "git rebase --continue, or --abort"),
    "rebase-apply": ("rebase or am", "git rebase --continue, or --abort   (git am --continue, or --abort)"),
    "BISECT_LOG": ("bisect", "git bisect reset"),
}


class Conflicts(Refused):
    """Both the user and the template changed the same lines."""

    last_line = ""


def apply(work: Work, merged: Merged) -> None:
    """Bring it into the user's files in one step: a commit, or, with Conflicts, changes to finish."""
    if git(work.top, "rev-parse", "HEAD") != merged.ours:
        raise Refused("the project has got another commit meanwhile", help="the same command, once more")
    for name, (what, help) in _BEGUN.items():
        if (work.git_dir / name).exists():
            raise Refused(f"a {what} in the repository is not finished", help=help)
    if not merged.conflicts and (asks(work.top, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT") is None):
        raise Refused(
            "git does not know your name, which a commit needs",
            help='git config --global user.name "Your Name"\ngit config --global user.email you@example.org',
        )
    take(_prepared(work, merged))
    if merged.conflicts:
        raise Conflicts(
            _told(merged),
            at=", ".join(merged.conflicts),
            help=f"edit, then    {commit_all(work.prefix, merged.subject)}\nor give up    {give_up(work.prefix)}"
            + to_see_edits(merged.unmerged, merged.unmarked)
            + to_see_theirs(merged.unmarked),
        )


def _told(merged: Merged) -> str:
    """What is to be solved, as it is in the files: between marks, or a file of which there are two."""
    count = len(merged.conflicts) - len(merged.unmarked)
    marked = f"{count} conflict{'s' if count > 1 else ''}, between <<<<<<< {OURS} and >>>>>>> template {merged.version}"
    whole = (
        f"you and the template have changed {listed(merged.unmarked)}, which git cannot merge by lines; yours is there"
    )
    return "; ".join([*([marked] if count else []), *([whole] if merged.unmarked else [])])


def _prepared(work: Work, merged: Merged) -> Step:
    """The last step, ready to be taken."""
    # what was merged, and what conflicts are between, becomes the user's
    blobs = [change.new[1] for change in merged.changes if change.new and change.new[0] != "160000"]
    blobs += [line.split()[1] for line in merged.unmerged.split("\0") if line and not line.startswith("0 ")]
    names = "".join(f"{blob}\n" for blob in blobs)
    pack = call(work.space / "merge", "pack-objects", "--quiet", "--stdout", text=names)  # to the last byte
    if pack.returncode:
        raise GitFailed(f"git pack-objects failed: {pack.stderr.strip()}")
    git(work.top, "unpack-objects", "-q", text=pack.stdout)
    after = {"GIT_INDEX_FILE": str(work.space / "after.index")}
    git(work.top, "read-tree", merged.ours, variables=after)
    git(work.top, "update-index", "-z", "--index-info", text=index_lines(merged.changes), variables=after)
    commit = ""
    if not merged.conflicts:
        tree = git(work.top, "write-tree", variables=after)
        commit = git(work.top, "commit-tree", tree, "-p", merged.ours, "-m", merged.subject)
    step = Step(
        work.top, work.git_dir, work.space, merged.ours, commit, merged.subject, merged.changes, merged.unmerged
    )
    prepare(step)
    return step
