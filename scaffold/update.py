"""Update and change: one project rendered twice, and the difference merged into the user's own by git.

The template as it was, with the answers as they were, is the base; the newer template, or other answers, is one side;
the user's last commit is the other. All of it happens in a worktree inside `.git`, and the user's files change in one
call of git at the end, or not at all.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaffold import recorded
from scaffold.answers import Given, complete, gather
from scaffold.errors import BadAnswer, Refused
from scaffold.git import asks, call, git
from scaffold.history import History, open_history
from scaffold.locks import NoLocks, lock_file
from scaffold.project import render
from scaffold.questions import Answers, Form
from scaffold.recorded import Lost, Recorded
from scaffold.shell import join
from scaffold.signals import signals_wait

OURS = "yours"


class Conflicts(Refused):
    """Both the user and the template changed the same lines."""

    last_line = ""


@dataclass(frozen=True)
class Work:
    """A project that is being worked on: its folder, its place in the repository, a folder for what we need, and the
    history of its template."""

    project: Path
    top: Path
    prefix: str
    space: Path
    recorded: Recorded
    history: History
    template: Path


@dataclass
class Merged:
    """What an update or a change would bring."""

    ours: str
    tree: str
    subject: str
    before: Answers
    after: Answers
    version: str
    lost: list[Lost]
    files: list[tuple[str, str, str]] = field(default_factory=list)
    kept: list[tuple[str, str, str]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unmerged: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether the project would stay as it is."""
        return not self.files


@contextlib.contextmanager
def opened(folder: Path, *, trust: str = "", must_be_clean: bool = True) -> Iterator[Work]:
    """A project with what it takes to work on it, checked; everything that we put beside it goes away at the end."""
    project = recorded.find(folder)
    said = recorded.read(project)
    if trust:
        recorded.confirm_address(trust, said.address)
    recorded.check_address(said.address)
    found = call(project, "rev-parse", "--show-toplevel")
    if "safe.directory" in found.stderr:
        raise Refused(
            "git does not trust the repository, because it belongs to somebody else",
            help="if you do   " + found.stderr[found.stderr.find("git config") :].strip(),
        )
    top = found.stdout.removesuffix("\n")
    if found.returncode or asks(project, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise Refused(
            "the project has no commit yet, so there would be no way back",
            help='make one   git init && git add -A && git commit -m "Start"',
        )
    prefix = git(project, "rev-parse", "--show-prefix")
    if must_be_clean:
        _check_clean(project, prefix)
    common = Path(git(project, "rev-parse", "--path-format=absolute", "--git-common-dir"))
    with _space(common / "torch-scaffold", Path(top)) as space:
        history = open_history(said.address, said.version, space / "history")
        template = history.check_out(said.version, space / "template-before")
        recorded.check_answers(Form(template), said)
        yield Work(project, Path(top), prefix, space, said, history, template)


def _check_clean(project: Path, prefix: str) -> None:
    status = git(project, "status", "--porcelain", "--", ".").splitlines()
    if not status:
        return
    count = f"{len(status)} file{'s' if len(status) > 1 else ''}"
    unmerged = [line for line in status if line[:2] in ("UU", "AA", "DU", "UD", "AU", "UA")]
    if unmerged:
        raise Refused(
            f"an earlier update is not finished: {unmerged[0][3:]} has conflicts",
            help=f"when they are solved   {_commit_all(prefix, 'Update the template')}\n"
            f"to give it up          {_give_up(prefix)}",
        )
    raise Refused(
        f"{count} with changes that are not committed ({status[0][3:]}{', …' if len(status) > 1 else ''})",
        help=f"commit them          {_commit_all(prefix, 'Before the update')}\n"
        f"or put them aside    git stash --include-untracked{_only(prefix)}",
    )


# What to type. A repository may hold more than the project, and the rest of it is none of our business.


def _only(prefix: str) -> str:
    return " -- " + join([f":(top,literal){prefix}"]) if prefix else ""


def _commit_all(prefix: str, subject: str) -> str:
    return f'git add -A{_only(prefix)} && git commit -m "{subject}"{_only(prefix)}'


def _give_up(prefix: str) -> str:
    return f"git restore --source=HEAD --staged --worktree{_only(prefix)}" if prefix else "git reset --hard"


@contextlib.contextmanager
def _space(folder: Path, top: Path) -> Iterator[Path]:
    """A folder of ours in `.git`, empty at first and gone at the end; what a run that was killed left goes too."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            if not lock_file(lock.fileno()):
                raise Refused("another update of this project is running", help="wait for it")
            for left in folder.glob("work-*"):
                _clear(top, left)
        except NoLocks:
            pass  # whose the left-overs are cannot be known
        space = Path(tempfile.mkdtemp(prefix="work-", dir=folder))
        try:
            yield space
        finally:
            _clear(top, space)


def _clear(top: Path, space: Path) -> None:
    """Remove a folder of ours with its worktree. Not by `git worktree prune`: that would also forget the user's own
    worktrees that are on a disk which is away."""
    shutil.rmtree(space / "tree", ignore_errors=True)  # git would not take half of one for a worktree
    asks(top, "worktree", "remove", "--force", "--force", space / "tree")
    shutil.rmtree(space, ignore_errors=True)


# WHAT WOULD COME


def update(work: Work, to: str = "") -> Merged:
    """The project with a newer template."""
    version = wanted(work, to)
    template = work.history.check_out(version, work.space / "template-after")
    answers, lost = recorded.carry(Form(template), work.recorded.answers)
    subject = f"Update the template from {work.recorded.version} to {version}"
    return _merge(work, template, answers, version, subject, [answer for answer in lost if answer.asked])


def wanted(work: Work, to: str) -> str:
    """The version to update to: the one that was said, or the newest."""
    now = work.recorded.version
    if not to:
        return work.history.newest(now)
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
    said = gather(form, known, preset=None, answers_file=None)
    given = standing(form, work.recorded.answers)
    if "model" in said.values:
        given.forget("model_class")
    if said.values.get("groups_from", "own") != "own":
        given.forget("layer_groups")
    given.values.update(said.values)
    given.sources.update(said.sources)
    return change_to(work, complete(form, given, str(work.recorded.answers["project_name"])), said.values)


def change_to(work: Work, answers: Answers, said: Iterable[str]) -> Merged:
    """The project with these answers to the same template, of which the user named some."""
    names = [name for name in answers if answers[name] != work.recorded.answers.get(name) and name in said]
    subject = "Change " + (", ".join(f"{name} to {_shown(answers[name])}" for name in names) or "nothing")
    return _merge(work, work.template, answers, work.recorded.version, subject, [])


def standing(form: Form, before: Answers) -> Given:
    """The answers of a project that were no mere defaults of the others."""
    given = Given()
    context: Answers = {"_folder_name": before["project_name"]}
    for question in form.questions.values():
        name = question.name
        default = form.default(question, context)
        context[name] = before.get(name, default)
        # a name that is given up would rename the package under the user's own imports
        if name in before and (before[name] != default or name in ("project_name", "package_name")):
            given.values[name], given.sources[name] = before[name], recorded.NAME
    return given


def _merge(work: Work, template: Path, answers: Answers, version: str, subject: str, lost: list[Lost]) -> Merged:
    """Merge what the template, or the answers, make otherwise into the user's last commit, in a worktree."""
    base = _commit_of(work, "before", work.recorded.answers, work.template, work.recorded.version)
    theirs = _commit_of(work, "after", answers, template, version)
    ours = git(work.top, "rev-parse", "HEAD")
    tree = work.space / "tree"
    git(work.top, "worktree", "add", "--quiet", "--detach", tree, ours)
    labels = {f"GITHEAD_{ours}": OURS, f"GITHEAD_{theirs}": f"template {version}"}
    # a file counts as renamed where most of it stayed; else it was one file that went and one that came
    git(tree, "merge-recursive", "--find-renames=70%", base, "--", ours, theirs, variables=labels, allowed=(0, 1))

    merged = Merged(ours, "", subject, work.recorded.answers, answers, version, lost)
    _settle(work, merged, tree, base, theirs)
    merged.tree = git(tree, "write-tree")
    for line in git(tree, "diff", "--numstat", "--no-renames", "-z", ours, merged.tree).split("\0"):
        if line:
            added, removed, name = line.split("\t", 2)
            merged.files.append((name, added, removed))
    return merged


def _commit_of(work: Work, name: str, answers: Answers, template: Path, version: str) -> str:
    """A commit of the project as it is generated, at its place in the repository."""
    folder = work.space / name
    (folder / work.prefix).parent.mkdir(parents=True, exist_ok=True)
    render(answers, folder / work.prefix, template, {"_src_path": work.recorded.address, "_commit": version})
    index = {"GIT_INDEX_FILE": str(work.space / f"{name}.index")}
    git(work.top, f"--work-tree={folder}", "add", "--all", "--force", "--", ".", variables=index)
    tree = git(work.top, "write-tree", variables=index)
    return git(work.top, "commit-tree", tree, "-m", name, variables=_NOBODY)


# The commits of the two renderings are seen by nobody.
_NOBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "torch-scaffold"), ("EMAIL", "torch-scaffold"))
}


def _settle(work: Work, merged: Merged, tree: Path, base: str, theirs: str) -> None:
    """Settle what git left open: what the user deleted stays deleted, what the template deleted although the user had
    edited it is kept beside, the answers are the new ones; all else is a conflict for the user."""
    answers = f"{work.prefix}{recorded.NAME}"
    git(tree, "checkout", theirs, "--", answers)
    stages: dict[str, dict[int, str]] = {}
    for entry in git(tree, "ls-files", "--unmerged", "-z").split("\0"):
        if entry:
            what, name = entry.split("\t", 1)
            mode, blob, stage = what.split()
            stages.setdefault(name, {})[int(stage)] = f"{mode} {blob} {stage}\t{name}"
    for name, versions in stages.items():
        if 2 not in versions and 1 in versions:
            git(tree, "rm", "--quiet", "--force", "--ignore-unmatch", "--", name)
            merged.gone.append(name)
        elif 3 not in versions:
            _keep_beside(merged, tree, name, base, theirs)
        else:
            merged.conflicts += _places(tree, name)
            merged.unmerged += f"0 {'0' * 40}\t{name}\n" + "".join(f"{line}\n" for line in versions.values())
            git(tree, "add", "--force", "--all", "--", name)


def _keep_beside(merged: Merged, tree: Path, name: str, base: str, theirs: str) -> None:
    """Keep the user's version of a file that the template has no more, under a name that nothing imports."""
    if asks(tree, "cat-file", "-e", f"{base}:{name}") is None:  # the user's own name for it: it stays
        git(tree, "add", "--force", "--", name)
        merged.kept.append((name, name, ""))
        return
    kept = f"{name}.kept"
    while (tree / kept).exists():
        kept += "_"
    os.rename(tree / name, tree / kept)
    git(tree, "add", "--force", "--all", "--", name, kept)
    renames = git(tree, "diff", "--name-status", "--find-renames=40%", "--diff-filter=R", base, theirs).splitlines()
    moved = next((line.split("\t")[2] for line in renames if line.split("\t")[1] == name), "")
    merged.kept.append((name, kept, moved))


def _places(tree: Path, name: str) -> list[str]:
    """Where the conflicts of a file are, each as file:line."""
    path = tree / name
    if path.is_symlink() or not path.is_file():
        return [name]
    lines = path.read_bytes().splitlines()
    mark = b"<<<<<<< " + OURS.encode()
    return [f"{name}:{number}" for number, line in enumerate(lines, 1) if line.startswith(mark)] or [name]


def diff(work: Work, merged: Merged, *, colour: bool = False) -> str:
    """The difference that it would make, as git shows it."""
    paint = ["-c", "color.ui=always"] if colour else []
    return git(work.top, *paint, "diff", merged.ours, merged.tree)


# WHAT IS DONE ABOUT IT


def apply(work: Work, merged: Merged) -> None:
    """Bring it into the user's files by one call of git: a commit, or, with Conflicts, changes to finish."""
    if git(work.top, "rev-parse", "HEAD") != merged.ours:
        raise Refused("the project has got another commit meanwhile", help="the same command, once more")
    for name in git(
        work.top, "diff", "--name-only", "--no-renames", "--diff-filter=A", "-z", merged.ours, merged.tree
    ).split("\0"):
        if name and os.path.lexists(work.top / name):
            raise Refused(
                f"{name} comes with the template, and you have a file of that name that git ignores",
                help=f"move it away   mv {name} {name}.mine",
            )
    if merged.conflicts:
        # one program, so that no conflict is ever taken for solved, whatever happens to us
        unmerged = work.space / "unmerged"
        unmerged.write_text(merged.unmerged, encoding="utf-8", errors="surrogateescape", newline="")
        steps = f"git read-tree -m -u {merged.ours} {merged.tree} && git update-index --index-info"
        _to_its_end(work.top, "-c", f'alias.both=!f() {{ {steps} <"$1"; }}; f', "both", unmerged)
        count = f"{len(merged.conflicts)} conflict{'s' if len(merged.conflicts) > 1 else ''}"
        raise Conflicts(
            f"{count}, between <<<<<<< {OURS} and >>>>>>> template {merged.version}",
            at=", ".join(merged.conflicts),
            help=f"edit, then    {_commit_all(work.prefix, merged.subject)}\nor give up    {_give_up(work.prefix)}",
        )
    if asks(work.top, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT") is None:
        raise Refused(
            "git does not know your name, which a commit needs",
            help='git config --global user.name "Your Name"\ngit config --global user.email you@example.org',
        )
    commit = git(work.top, "commit-tree", merged.tree, "-p", merged.ours, "-m", merged.subject)
    _to_its_end(work.top, "merge", "--quiet", "--ff-only", commit)


def _to_its_end(folder: Path, *words: str | Path) -> None:
    """Run git where it changes the user's files. Who presses ctrl-c now comes too late: it is done."""
    done = False
    try:
        with signals_wait():
            git(folder, *words, alone=True)
            done = True
    except KeyboardInterrupt:
        if not done:
            raise


def summary(merged: Merged) -> list[str]:
    """What it would change, in lines: files, answers, and whatever the user should know before."""
    width = max((len(name) for name, _, _ in merged.files), default=0)
    lines = [f"  ~ {name:<{width}}  {_counted(added, removed)}" for name, added, removed in merged.files]
    for name in {**merged.before, **merged.after}:
        before, after = merged.before.get(name), merged.after.get(name)
        if before != after:
            lines.append(f"  {name}: {_shown(before)} -> {_shown(after)}")
    for lost in merged.lost:
        lines.append(f"note: the answer {lost.name}: {_shown(lost.before)} is given up: {lost.why}")
    for name, kept, moved in merged.kept:
        if kept == name:
            lines.append(f"note: the template has no {name} any more; yours stays, for you to keep or delete")
        else:
            where = f"goes to {moved}" if moved else "goes away"
            lines.append(f"note: {name} {where}, and you had edited it; yours is kept as {kept}")
    for name in merged.gone:
        lines.append(f"note: {name} has changed in the template; you had deleted it, and it stays so")
    return lines


def _counted(added: str, removed: str) -> str:
    return "binary" if added == "-" else f"+{added} -{removed}"


def _shown(value: Any) -> str:
    """An answer in a line."""
    if isinstance(value, list):
        return " ".join(
            f"{element['name']}={element.get('lr', element.get('weight'))}"
            if isinstance(element, dict)
            else str(element)
            for element in value
        )
    return "none" if value is None else str(value)
