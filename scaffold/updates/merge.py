"""Update and change: one project rendered twice, and the difference merged into the user's own by git.

The template as it was, with the answers as they were, is the base; the newer template, or other answers, is one side;
the user's last commit is the other. All of it happens in a repository of ours that borrows the objects of the user's, so
that looking changes no byte of theirs; the user's files change in one step at the end (laststep.py), or not at all.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaffold.errors import BadAnswer, Refused
from scaffold.questions.answer_types import PACKAGE, PROJECT, type_of
from scaffold.questions.answers import Given, complete, gather
from scaffold.questions.form import Answers, Form
from scaffold.render.project import render
from scaffold.system.git import GitFailed, asks, call, git
from scaffold.system.locks import NoLocks, lock_file
from scaffold.system.shell import join
from scaffold.updates import answers_file as recorded
from scaffold.updates.answers_file import Lost, Recorded
from scaffold.updates.last_step import Change, Step, index_lines, left_behind, prepare, take, undo
from scaffold.updates.template_history import History, open_history

OURS = "yours"


class Conflicts(Refused):
    """Both the user and the template changed the same lines."""

    last_line = ""


@dataclass(frozen=True)
class Work:
    """A project that is being worked on: its folder, its place in the repository, a folder for what we need, the history
    of its template, and what happened to an update that was killed before."""

    project: Path
    top: Path
    prefix: str
    git_dir: Path
    space: Path
    recorded: Recorded
    history: History
    template: Path
    told: list[str]


# A file as git records it: its mode and the name of its content.
Entries = dict[str, tuple[str, str]]


@dataclass
class Merged:
    """What an update or a change would bring. The trees are of our repository, and of the project alone."""

    ours: str
    subject: str
    before: Answers
    after: Answers
    version: str
    lost: list[Lost]
    trees: tuple[str, str] = ("", "")
    changes: list[Change] = field(default_factory=list)
    files: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    unmerged: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether the project would stay as it is."""
        return not self.changes


@contextlib.contextmanager
def opened(folder: Path, *, trust: str = "", must_be_clean: bool = True) -> Iterator[Work]:
    """A project with what it takes to work on it, checked; everything that we put beside it goes away at the end. One
    that is only looked at, and need not be clean, is written to in nothing."""
    project = recorded.find(folder)
    top, git_dir, prefix = _repository(project)
    with _space(top, git_dir, to_write=must_be_clean) as (space, told):
        said = recorded.read(project)
        if trust:
            recorded.confirm_address(trust, said.address)
        recorded.check_address(said.address)
        if must_be_clean:
            _check_clean(project, prefix)
        history = open_history(said.address, said.version, space / "history", project)
        template = history.check_out(said.version, space / "template-before")
        recorded.check_answers(Form(template), said)
        yield Work(project, top, prefix, git_dir, space, said, history, template, told)


def _repository(project: Path) -> tuple[Path, Path, str]:
    """The top of the repository that a project is in, its folder of git, and the project's place in it."""
    found = call(project, "rev-parse", "--show-toplevel")
    if "safe.directory" in found.stderr:
        raise Refused(
            "git does not trust the repository, because it belongs to somebody else",
            help="if you do   " + found.stderr[found.stderr.find("git config") :].strip(),
        )
    prefix = asks(project, "rev-parse", "--show-prefix")
    git_dir = asks(project, "rev-parse", "--absolute-git-dir")
    if prefix is None or git_dir is None or asks(project, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise Refused(
            "the project has no commit yet, so there would be no way back",
            help='make one   git init && git add -A && git commit -m "Start"',
        )
    return Path(found.stdout.removesuffix("\n")), Path(git_dir), prefix


def _check_clean(project: Path, prefix: str) -> None:
    # what is edited inside a submodule is between the user and that
    flags = ("--untracked-files=normal", "--ignore-submodules=dirty", "--no-renames")
    status = [line for line in git(project, "status", "--porcelain", "-z", *flags, "--", ".").split("\0") if line]
    if not status:
        return
    count = f"{len(status)} file{'s' if len(status) > 1 else ''}"
    unmerged = [line for line in status if "U" in line[:2] or line[:2] in ("AA", "DD")]
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
    quoted = f'"{subject}"' if re.fullmatch(r"[\w .,:=/+-]*", subject) else join([subject])
    return f"git add -A{_only(prefix)} && git commit -m {quoted}{_only(prefix)}"


def _give_up(prefix: str) -> str:
    return f"git restore --source=HEAD --staged --worktree{_only(prefix)}" if prefix else "git reset --hard"


@contextlib.contextmanager
def _space(top: Path, git_dir: Path, *, to_write: bool) -> Iterator[tuple[Path, list[str]]]:
    """A folder of ours, empty at first and gone at the end, and what happened to an update that was killed before: in
    `.git` where that is to be written to, since what a kill leaves there can be found again."""
    home = git_dir / "torch-scaffold"
    told: list[str] = []
    if not to_write:
        if left_behind(top, git_dir):
            with _locked(home) as is_ours:
                told = _end_what_was_left(top, git_dir, is_ours)
                if is_ours is False:
                    told = ["another update of this project is running"]
        with tempfile.TemporaryDirectory(prefix="torch-scaffold-", ignore_cleanup_errors=True) as folder:
            yield Path(folder), told
        return
    home.mkdir(exist_ok=True)
    with _locked(home) as is_ours:
        if is_ours is False:
            raise Refused("another update of this project is running", help="wait for it")
        told = _end_what_was_left(top, git_dir, is_ours)
        space = Path(tempfile.mkdtemp(prefix="work-", dir=home))
        try:
            yield space, told
        finally:
            if space not in [step.space for step in left_behind(top, git_dir)]:
                shutil.rmtree(space, ignore_errors=True)


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[bool | None]:
    """Whether we alone work in a folder; None where nothing can be locked. Who is at its last step is waited for."""
    with (home / "lock").open("a") as lock:
        try:
            is_ours: bool | None = lock_file(lock.fileno())
            until = time.monotonic() + _WAIT
            while not is_ours and time.monotonic() < until:
                time.sleep(0.05)
                is_ours = lock_file(lock.fileno())
        except NoLocks:
            is_ours = None
        yield is_ours


def recover(project: Path) -> list[str]:
    """End what an update that was killed has left in a project, before anything of it is read."""
    top, git_dir, _ = _repository(project)
    with _space(top, git_dir, to_write=False) as (_, told):
        return told


def _end_what_was_left(top: Path, git_dir: Path, is_ours: bool | None) -> list[str]:
    """Undo what an update that was killed has half done, and remove what it left; what happened, in a line for each.
    Where it cannot be known whose a thing is, only after the time that a last step takes at most."""
    if is_ours is False:
        return []
    told = []
    for step in left_behind(top, git_dir):
        if is_ours or time.time() - step.space.stat().st_mtime > _LONGEST:
            what = f"'{step.subject}'" if step.subject else "an update"
            told.append(f"{what} was killed {_KILLED[undo(step)]}")
            shutil.rmtree(step.space, ignore_errors=True)
    for left in (git_dir / "torch-scaffold").glob("work-*") if is_ours else ():
        if (left / "tree" / ".git").is_file():  # a worktree, as versions before 0.3.6 made them
            shutil.rmtree(left / "tree", ignore_errors=True)
            asks(top, "worktree", "remove", "--force", "--force", left / "tree")
        shutil.rmtree(left, ignore_errors=True)
    return told


_WAIT, _LONGEST = 2, 60  # seconds
_KILLED = {
    "nothing": "before it changed anything",
    "undone": "while it changed files; it is undone, and the project is as it was",
    "edited": "while it changed files; it is undone, but for what was edited since (git status)",
    "left": "while it changed files, and there is a commit since: what it had changed stays",
    "done": "at its end, and it is done",
}


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
    for name, value in said.values.items():
        type_of(name).clear(given, value)
    given.values.update(said.values)
    given.sources.update(said.sources)
    return change_to(work, complete(form, given, PROJECT.or_else(work.recorded.answers)), said.values)


def change_to(work: Work, answers: Answers, said: Iterable[str]) -> Merged:
    """The project with these answers to the same template, of which the user named some."""
    names = [name for name in answers if answers[name] != work.recorded.answers.get(name) and name in said]
    subject = "Change " + (", ".join(f"{name} to {_shown(answers[name])}" for name in names) or "nothing")
    return _merge(work, work.template, answers, work.recorded.version, subject, [])


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
            given.put(name, before[name], recorded.NAME)
    return given


def _merge(work: Work, template: Path, answers: Answers, version: str, subject: str, lost: list[Lost]) -> Merged:
    """Merge what the template, or the answers, make otherwise into the user's last commit."""
    merged = Merged(
        git(work.top, "rev-parse", "HEAD"), " ".join(subject.split()), work.recorded.answers, answers, version, lost
    )
    scratch = Scratch.make(work)
    ours = scratch.of_user(merged.ours)
    base = scratch.rendered("before", work.recorded.answers, work.template, work.recorded.version)
    theirs = scratch.rendered("after", answers, template, version)
    before = dict(ours)
    kept = _make_way(work, merged, ours, base, theirs)
    trees = {
        name: scratch.write(name, entries) for name, entries in (("base", base), ("ours", ours), ("theirs", theirs))
    }
    commits = {name: scratch.git("commit-tree", tree, "-m", name, variables=_NOBODY) for name, tree in trees.items()}

    labels = {f"GITHEAD_{commits['ours']}": OURS, f"GITHEAD_{commits['theirs']}": f"template {version}"}
    scratch.git("read-tree", commits["ours"])
    # a file counts as renamed where most of it stayed; else it was one file that went and one that came
    words = ("--find-renames=70%", commits["base"], "--", commits["ours"], commits["theirs"])
    scratch.git(*scratch.drivers, "merge-recursive", *words, variables=labels, allowed=(0, 1))
    _settle(work, merged, scratch, base, ours, theirs, commits, kept, _told_moves(template, answers, work.prefix))

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
    _tell_of_shadows(merged, before, base, theirs)
    return merged


# The commits that are merged are seen by nobody.
_NOBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "torch-scaffold"), ("EMAIL", "torch-scaffold"))
}


@dataclass(frozen=True)
class Scratch:
    """A repository of ours that borrows the objects of the user's. In it are the project's files, at their place, and
    of the rest of the repository what says how files are merged."""

    work: Work
    tree: Path
    drivers: list[str]
    attributes: list[str]

    @classmethod
    def make(cls, work: Work) -> "Scratch":
        """An empty one. Files are taken byte for byte, as no filter and no line ending of the user's changes them."""
        tree = work.space / "merge"
        kind = asks(work.top, "rev-parse", "--show-object-format")
        git(work.space, "init", "--quiet", *([f"--object-format={kind}"] if kind else []), tree)
        objects = git(work.top, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        quoted = "".join({"\\": "\\\\", '"': '\\"', "\n": "\\n"}.get(sign, sign) for sign in objects)
        info = tree / ".git" / "info"
        info.mkdir(exist_ok=True)
        (tree / ".git" / "objects" / "info" / "alternates").write_bytes(os.fsencode(f'"{quoted}"\n'))
        (info / "attributes").write_text("* -text -filter -ident -working-tree-encoding\n")
        said = asks(work.top, "config", "--null", "--get-regexp", r"^merge\..*\.(name|driver|recursive)$") or ""
        drivers = [line.replace("\n", "=", 1) for line in said.split("\0") if "\n" in line]
        parents = ["", *(f"{parent}/" for parent in _parents(work.prefix.rstrip("/")))] if work.prefix else []
        return cls(
            work,
            tree,
            [word for driver in drivers for word in ("-c", driver)],
            [f"{at}.gitattributes" for at in parents],
        )

    def git(
        self,
        *words: str | Path,
        text: str = "",
        index: str = "index",
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
        allowed: tuple[int, ...] = (0,),
    ) -> str:
        """What git answers in it, with an index of that name, and its files in that folder."""
        known = {
            "GIT_DIR": str(self.tree / ".git"),
            "GIT_WORK_TREE": str(folder or self.tree),
            "GIT_INDEX_FILE": str(self.tree / ".git" / index),
            "GIT_LITERAL_PATHSPECS": "1",
        }
        return git(folder or self.tree, *words, text=text, variables={**known, **(variables or {})}, allowed=allowed)

    def entries(self, index: str = "index") -> Entries:
        """The files of an index, without those that are not merged."""
        return _entries(self.git("ls-files", "--stage", "-z", index=index))

    def of_user(self, commit: str) -> Entries:
        """The project's files in a commit of the user's."""
        where = ["--", self.work.prefix, *self.attributes] if self.work.prefix else []
        return _entries(git(self.work.top, "ls-tree", "-r", "-z", "--full-tree", commit, *where))

    def rendered(self, name: str, answers: Answers, template: Path, version: str) -> Entries:
        """The project's files as they are generated."""
        folder = self.work.space / name
        project = folder / self.work.prefix
        project.parent.mkdir(parents=True, exist_ok=True)
        render(answers, project, template, {"_src_path": self.work.recorded.address, "_commit": version})
        self.git("add", "--all", "--force", "--", ".", index=name, folder=folder)
        return self.entries(name)

    def write(self, name: str, entries: Entries) -> str:
        """The tree of these files."""
        lines = "".join(f"{mode} {blob}\t{path}\0" for path, (mode, blob) in entries.items())
        self.git("update-index", "-z", "--index-info", text=lines, index=f"{name}.index")
        return self.git("write-tree", "--missing-ok", index=f"{name}.index")


def _entries(listing: str) -> Entries:
    """What `git ls-files --stage -z` and `git ls-tree -r -z` say; of what is not merged, nothing."""
    entries = {}
    for line in listing.split("\0"):
        if line:
            what, name = line.split("\t", 1)
            mode, *middle, last = what.split()
            if middle[0] in ("blob", "commit"):
                entries[name] = mode, last
            elif last == "0":
                entries[name] = mode, middle[0]
    return entries


def _parents(name: str) -> list[str]:
    """The folders that a path is in."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _is_file(entry: tuple[str, str] | None) -> bool:
    """Whether it is a regular file, rather than a link, a submodule or nothing."""
    return entry is not None and entry[0].startswith("100")


def _make_way(work: Work, merged: Merged, ours: Entries, base: Entries, theirs: Entries) -> dict[str, str]:
    """Move aside what the user has where the template brings a folder, or a file; and leave a link that the user has
    put in the place of a file as it is. So git is never asked to merge things of two kinds. Returns where things went."""
    new = [name for name in theirs if name not in base]
    folders = {folder for name in ours for folder in _parents(name)}
    moved: dict[str, str] = {}

    def move(name: str, by: str, to: str = "") -> None:
        if name in moved or ours[name] == base.get(name):  # a file of the template's own goes as it came
            return
        if ours[name][0] == "160000":
            raise Refused(
                f"{by} comes with the template, and your submodule {name} is in the way",
                help=f"move it away   {join(['git', 'mv', name, f'{name}.mine'])}, and commit",
            )
        moved[name] = to or _free_name(work, name, ours, base, theirs)
        if not to:
            merged.notes.append(f"{by} comes with the template, and you have {name}; yours is kept as {moved[name]}")

    for name in new:
        for parent in _parents(name):
            if parent in ours:
                move(parent, name)
        if name in ours and not _is_file(ours[name]):
            move(name, name)
        inside = [other for other in ours if other.startswith(f"{name}/")] if name in folders else []
        if any(ours[other] != base.get(other) for other in inside):
            to = _free_name(work, name, ours, base, theirs)
            merged.notes.append(f"{name} comes with the template, and you have a folder {name}; yours is kept as {to}")
            for other in inside:
                move(other, name, to + other.removeprefix(name))
    for name, to in moved.items():
        ours[to] = ours.pop(name)
        base.pop(name, None)
    for name in [name for name in theirs if name in base and name in ours and not _is_file(ours[name])]:
        if theirs[name] != base[name] and name != f"{work.prefix}{recorded.NAME}":
            merged.notes.append(f"{name} has changed in the template; you have a link there, and it stays so")
            theirs[name] = base[name]
    return {to: name for name, to in moved.items()}


def _free_name(work: Work, name: str, *known: Entries) -> str:
    """A name beside that is nobody's, neither in git nor in the folder."""
    taken = {other for entries in known for path in entries for other in (path, *_parents(path))}
    kept = f"{name}.kept"
    while kept in taken or os.path.lexists(work.top / kept):
        kept += "_"
    return kept


def _settle(
    work: Work,
    merged: Merged,
    scratch: Scratch,
    base: Entries,
    ours: Entries,
    theirs: Entries,
    commits: Mapping[str, str],
    moved: Mapping[str, str],
    places: Mapping[str, str],
) -> None:
    """Settle what git left open: what the user deleted stays deleted, what the template deleted although the user had
    edited it is kept beside, the answers are the new ones; all else is a conflict for the user."""
    stages: dict[str, dict[int, tuple[str, str]]] = {}
    for line in scratch.git("ls-files", "--unmerged", "-z").split("\0"):
        if line:
            what, name = line.split("\t", 1)
            mode, blob, stage = what.split()
            stages.setdefault(name, {})[int(stage)] = mode, blob
    answers = f"{work.prefix}{recorded.NAME}"
    stages.pop(answers, None)
    settled: dict[str, tuple[str, str] | None] = {answers: theirs[answers]}
    open_ = []
    for name, versions in stages.items():
        if 2 not in versions and 1 in versions:
            settled[name] = None
            if 3 in versions:
                shown = name if name in theirs else name.rpartition("~")[0]  # as some git calls it beside a folder
                merged.notes.append(f"{shown} has changed in the template; you had deleted it, and it stays so")
        elif 3 not in versions:
            if name in base:
                kept = _free_name(work, name, ours, base, theirs)
                settled[name], settled[kept] = None, versions[2]
                to = places.get(name) or _moved_to(scratch, name, commits)
                where = f"goes to {to}" if to else "goes away"
                merged.notes.append(f"{name} {where}, and you had edited it; yours is kept as {kept}")
            else:  # the user's own name for it
                settled[name] = versions[2]
                if name not in moved:
                    merged.notes.append(f"the template has no {name} any more; yours stays, for you to keep or delete")
        else:
            open_.append(name)
    scratch.git("update-index", "-z", "--index-info", text=_settling(settled, len(merged.ours)))
    scratch.git("update-index", "--add", "-z", "--stdin", text="".join(f"{name}\0" for name in open_))
    for name in open_:
        merged.conflicts += _places(scratch.tree, name)
        merged.unmerged += f"0 {'0' * len(merged.ours)}\t{name}\0"
        merged.unmerged += "".join(
            f"{mode} {blob} {stage}\t{name}\0" for stage, (mode, blob) in sorted(stages[name].items())
        )


def _settling(settled: Mapping[str, tuple[str, str] | None], length: int) -> str:
    """The lines that settle these paths: all that git has of them goes, and one version comes."""
    gone = [f"0 {'0' * length}\t{name}\0" for name in settled]
    return "".join([*gone, *(f"{entry[0]} {entry[1]}\t{name}\0" for name, entry in settled.items() if entry)])


def _told_moves(template: Path, answers: Answers, prefix: str) -> dict[str, str]:
    """Where files of the package went in newer versions, as the template tells it in template/moved.yml."""
    import yaml

    path = template / "template" / "moved.yml"
    if not path.is_file():  # an older template, or a fork
        return {}
    package = f"{prefix}{PACKAGE.of(answers)}"
    told: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        f"{package}/{name}": " and ".join(f"{package}/{place}" for place in to.split(" and "))
        for name, to in told.items()
    }


def _moved_to(scratch: Scratch, name: str, commits: Mapping[str, str]) -> str:
    """Where the template has moved a file, if it seems to have."""
    words = ("-r", "-z", "--name-status", "--find-renames=40%", "--diff-filter=R", commits["base"], commits["theirs"])
    said = scratch.git("diff-tree", *words).split("\0")
    return next((said[at + 2] for at in range(0, len(said) - 2, 3) if said[at + 1] == name), "")


def _places(tree: Path, name: str) -> list[str]:
    """Where the conflicts of a file are, each as file:line."""
    path = tree / name
    if path.is_symlink() or not path.is_file():
        return [name]
    lines = path.read_bytes().splitlines()
    mark = b"<<<<<<< " + OURS.encode()
    return [f"{name}:{number}" for number, line in enumerate(lines, 1) if line.startswith(mark)] or [name]


def _tell_of_shadows(merged: Merged, ours: Entries, base: Entries, theirs: Entries) -> None:
    """Say where Python would find a folder of the one instead of a file of the other."""
    for mine, other, whose in ((ours, theirs, "yours"), (theirs, ours, "the template's")):
        packages = {parent for name in other if name.endswith(".py") for parent in _parents(name)}
        old = {parent for name in base for parent in _parents(name)} | set(base)
        for name in mine:
            folder = name.removesuffix(".py")
            if name.endswith(".py") and name not in other and folder in packages and not {name, folder} & old:
                merged.notes.append(f"{name} is {whose}, and Python imports the folder {folder} instead")


def diff(work: Work, merged: Merged, *, colour: bool = False) -> str:
    """The difference that it would make, as git shows it."""
    flags = ("--no-ext-diff", "--color=always" if colour else "--color=never")
    return git(work.space / "merge", "diff", *flags, *merged.trees)


# WHAT IS DONE ABOUT IT


def apply(work: Work, merged: Merged) -> None:
    """Bring it into the user's files in one step: a commit, or, with Conflicts, changes to finish."""
    if git(work.top, "rev-parse", "HEAD") != merged.ours:
        raise Refused("the project has got another commit meanwhile", help="the same command, once more")
    for name, what in (("MERGE_HEAD", "merge"), ("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")):
        if (work.git_dir / name).exists():
            raise Refused(f"a {what} in the repository is not finished", help=f"git {what} --continue, or --abort")
    if not merged.conflicts and (asks(work.top, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT") is None):
        raise Refused(
            "git does not know your name, which a commit needs",
            help='git config --global user.name "Your Name"\ngit config --global user.email you@example.org',
        )
    take(_prepared(work, merged))
    if merged.conflicts:
        count = f"{len(merged.conflicts)} conflict{'s' if len(merged.conflicts) > 1 else ''}"
        raise Conflicts(
            f"{count}, between <<<<<<< {OURS} and >>>>>>> template {merged.version}",
            at=", ".join(merged.conflicts),
            help=f"edit, then    {_commit_all(work.prefix, merged.subject)}\nor give up    {_give_up(work.prefix)}",
        )


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
    lines += [f"note: {note}" for note in merged.notes]
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
