"""The last step of an update: the user's files, the index and the commit, all prepared aside before the first of them
changes. What it is about to do stands in a journal, so that a step which was killed is undone by the next command."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scaffold.errors import CreateFailed, Refused
from scaffold.system.git import GitFailed, call, git
from scaffold.system.signals import signals_wait

# A file as git records it, mode and name of its content; None where there is none.
Entry = tuple[str, str] | None

# What a step is about to do; by another name once it is done.
_JOURNAL, _DONE = "journal.json", "done.json"


@dataclass(frozen=True)
class Change:
    """What becomes of one path."""

    name: str
    old: Entry
    new: Entry


@dataclass(frozen=True)
class Step:
    """The changes of some paths from one commit to another; to no commit where conflicts are left, which the index
    shows as git does. In the folder `space` lie the old files, the new ones, and the new index."""

    top: Path
    git_dir: Path
    space: Path
    ours: str
    commit: str
    subject: str
    changes: list[Change]
    unmerged: str = ""

    def target(self, change: Change) -> Path:
        """Where a path is in the user's tree."""
        return self.top / change.name

    def old(self, change: Change) -> Path:
        """The user's file as it was."""
        return self.space / "old" / change.name

    def new(self, change: Change) -> Path:
        """The file as it is to be."""
        return self.space / "new" / change.name

    @property
    def lock(self) -> Path:
        """What keeps every git from writing the index meanwhile."""
        return self.git_dir / "index.lock"


def index_lines(changes: Iterable[Change], *, back: bool = False) -> str:
    """What `git update-index -z --index-info` takes to make these changes; what goes comes first, since it may be in
    the way of the rest."""
    ends = [(change.name, change.old if back else change.new, change.new if back else change.old) for change in changes]
    names = [(name, known) for name, entry, known in ends if entry is None and known is not None]
    gone = [f"0 {'0' * len(known[1])}\t{name}\0" for name, known in names]
    return "".join([*gone, *(f"{entry[0]} {entry[1]}\t{name}\0" for name, entry, _ in ends if entry is not None)])


def _write_index(step: Step, name: str, lines: str) -> None:
    git(step.top, "update-index", "-z", "--index-info", text=lines, variables=_index(step.space / name))


def _index(path: Path) -> dict[str, str]:
    return {"GIT_INDEX_FILE": str(path)}


# BEFORE


def prepare(step: Step) -> None:
    """Put the old files and the new ones aside, and see that nothing is in the way; nothing of the user's changes."""
    _refuse_in_the_way(step)
    names = "".join(f"{change.name}\0" for change in step.changes if change.new)
    prefix = f"--prefix={step.space}/new/"
    git(step.top, "checkout-index", "-z", "--stdin", prefix, text=names, variables=_index(step.space / "after.index"))
    for change in step.changes:
        if change.old and os.path.lexists(step.target(change)):
            _copy(step.target(change), step.old(change))
        if change.old and change.new and change.old[0] == change.new[0] != "120000":
            with contextlib.suppress(FileNotFoundError):  # what was set for the file, such as its group's right
                shutil.copymode(step.old(change), step.new(change))
    # an index of these files alone, without the marks by which the user's own may pass over a file
    _write_index(step, "before.index", index_lines(Change(change.name, None, change.old) for change in step.changes))
    call(step.top, "update-index", "-q", "--refresh", variables=_index(step.space / "before.index"))
    changed = git(step.top, "diff-files", "--name-only", "-z", variables=_index(step.space / "before.index")).split(
        "\0"
    )
    if changed[0]:
        raise Refused(
            f"{changed[0]} is not as in your last commit",
            help="commit it, or put it back; a file that git passes over (git update-index --no-assume-unchanged,\n"
            "--no-skip-worktree, git sparse-checkout disable) has to be there as well",
        )


def _refuse_in_the_way(step: Step) -> None:
    """Refuse where a new file, or a folder for it, would come upon something that git does not keep."""
    going = {change.name for change in step.changes if change.new is None}
    for change in step.changes:
        if change.old or not change.new:
            continue
        parts = change.name.split("/")
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            path = step.top / name
            if not os.path.lexists(path):
                break
            if path.is_dir() and not path.is_symlink():
                found = _first_other(step, path, going) if depth == len(parts) else ""
            elif any(_is_same_place(step.top / other, path) for other in _alike(going, name)):
                break
            else:
                found = name
            if found:
                kind = "link" if (step.top / found).is_symlink() else "file"
                if found == change.name:
                    what = f"a {kind} of that name that git ignores"
                elif depth == len(parts):
                    what = f"a folder of that name with {found} in it, which git ignores"
                else:
                    what = f"a {kind} {found} that git ignores"
                raise Refused(
                    f"{change.name} comes with the template, and you have {what}",
                    help=f"move it away   {_move_away(path)}",
                )


def _alike(names: set[str], name: str) -> list[str]:
    """Names that a file system may take for this one."""
    return [other for other in names if other == name or other.casefold() == name.casefold()]


def _is_same_place(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _first_other(step: Step, folder: Path, going: set[str]) -> str:
    """The first thing in a folder that would not go away with the update."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = (Path(place) / name).relative_to(step.top).as_posix()
            if path not in going:
                return path
    return ""


def _move_away(path: Path) -> str:
    """The command that moves something away, from where the user is."""
    from scaffold.system.shell import join

    try:
        shown = os.path.relpath(path)
    except (OSError, ValueError):
        shown = str(path)
    return join(["mv", "--", shown, f"{shown}.mine"] if shown.startswith("-") else ["mv", shown, f"{shown}.mine"])


# THE STEP


def take(step: Step) -> None:
    """Make the changes: all, or none where one of them fails. Who presses ctrl-c now comes too late: it is done."""
    done = False
    try:
        with signals_wait():
            _take(step)
            done = True
    except KeyboardInterrupt:
        if not done:
            raise


def _take(step: Step) -> None:
    _take_lock(step)
    try:
        shutil.copyfile(step.git_dir / "index", step.space / "index")
        _write_index(step, "index", index_lines(step.changes) + step.unmerged)
        own_git = Path(git(step.top, "--exec-path"), "git")  # found once, so that no search for it can fail
        said = step.space / "failed"
        code = _by_itself(lambda: _change(step, str(own_git) if own_git.is_file() else "git"), said)
    except BaseException:
        undo(step)
        raise
    if code:
        outcome = undo(step)
        if outcome != "done":
            reason = said.read_text(encoding="utf-8", errors="replace") if said.is_file() else f"ended with {code}"
            failed = CreateFailed(f"the files could not be changed: {reason}")
            failed.last_line = _TOLD[outcome]
            raise failed
    # so that git need not read every file that we wrote when it is asked next
    call(step.top, "update-index", "-q", "--refresh", alone=True)


def _by_itself(work: Callable[[], None], said: Path) -> int:
    """Run something in a process of its own, which comes to its end when ours is killed; its exit status."""
    if not hasattr(os, "fork"):
        work()
        return 0
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setsid()
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001  # whatever it is, the process that waits has to tell it
            with contextlib.suppress(OSError):
                said.write_text(getattr(error, "message", None) or str(error), encoding="utf-8", errors="replace")
        finally:
            os._exit(code)
    return os.waitpid(process, 0)[1]


def _change(step: Step, own_git: str) -> None:
    """What takes the project from before to after. The commit, or the index where there is none, makes it so."""
    changes = [(change.name, change.old, change.new) for change in step.changes]
    journal = {"ours": step.ours, "commit": step.commit, "subject": step.subject, "changes": changes}
    (step.space / "journal").write_text(json.dumps(journal), encoding="utf-8")
    os.replace(step.space / "journal", step.space / _JOURNAL)
    for change in step.changes:
        if change.new is None:
            _check_as_it_was(step, change)
            _remove(step, change)
    for change in step.changes:
        if change.new is not None:
            _check_as_it_was(step, change)
            _place(step, step.new(change), change)
    os.replace(step.space / "index", step.git_dir / "index")
    if step.commit:
        moved = call(
            step.top, "update-ref", "-m", f"scaffold: {step.subject}", "HEAD", step.commit, step.ours, program=own_git
        )
        if moved.returncode:
            raise GitFailed(f"git update-ref failed: {moved.stderr.strip()}")
    os.replace(step.space / _JOURNAL, step.space / _DONE)
    release(step)


def _check_as_it_was(step: Step, change: Change) -> None:
    target = step.target(change)
    if not _same(target, step.old(change)) if change.old else _is_thing(target):
        raise Refused(f"{change.name} was changed meanwhile")


def _is_thing(path: Path) -> bool:
    """Whether something is there that is more than an empty folder."""
    if path.is_dir() and not path.is_symlink():
        return any(
            files or any((Path(place) / name).is_symlink() for name in folders)
            for place, folders, files in os.walk(path)
        )
    return os.path.lexists(path)


def _same(one: Path, other: Path) -> bool:
    """Whether two are the same file, or the same link."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        os.symlink(os.readlink(source), target)
    elif source.is_file():
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def _place(step: Step, source: Path, change: Change) -> None:
    """Put a file in its place, whole, by a rename."""
    target = step.target(change)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        for place, _, _ in os.walk(target, topdown=False):
            os.rmdir(place)
    beside = target.parent / f".{step.space.name}"
    beside.unlink(missing_ok=True)
    _copy(source, beside)
    os.replace(beside, target)


def _remove(step: Step, change: Change) -> None:
    """Remove a file, and the folders that are empty without it."""
    target = step.target(change)
    target.unlink()
    for folder in target.parents:
        if folder == step.top:
            break
        try:
            folder.rmdir()
        except OSError:
            break


# THE LOCK


def _mark(step: Step) -> str:
    return f"torch-scaffold {step.space.name}\n"


def _take_lock(step: Step) -> None:
    mark = step.space / "lock"
    mark.write_text(_mark(step), encoding="utf-8")
    try:
        try:
            os.link(mark, step.lock)
        except FileExistsError:
            raise
        except OSError:  # a file system without such links
            with step.lock.open("x", encoding="utf-8") as file:
                file.write(_mark(step))
    except FileExistsError:
        raise Refused(
            "another git is working in the repository, or was killed there",
            help=f"wait for it, or, where none runs   rm {step.lock}",
        ) from None


def _has_lock(step: Step) -> bool:
    try:
        return step.lock.read_text(encoding="utf-8", errors="replace") == _mark(step)
    except OSError:
        return False


def release(step: Step) -> None:
    """Give the index back to git, if it was ours."""
    if _has_lock(step):
        step.lock.unlink()


# AFTER A KILL

_TOLD = {
    "nothing": "Nothing was changed.",
    "undone": "The project is as it was.",
    "edited": "The project is as it was, but for what was edited meanwhile.",
    "left": "What was changed stays, because there is a commit since.",
}


def left_behind(top: Path, git_dir: Path) -> list[Step]:
    """The steps that were begun in a worktree and not ended, or whose lock is still there."""
    found = []
    for space in sorted((git_dir / "torch-scaffold").glob("work-*")):
        step = Step(top, git_dir, space, "", "", "", [])
        if (space / _JOURNAL).is_file():
            said = json.loads((space / _JOURNAL).read_text(encoding="utf-8"))
            changes = [
                Change(name, *(tuple(entry) if entry else None for entry in (old, new)))
                for name, old, new in said.pop("changes")
            ]
            found.append(Step(top, git_dir, space, **said, changes=changes))
        elif _has_lock(step):
            found.append(step)
    return found


def undo(step: Step) -> str:
    """End a step that was begun: undo it unless it had come to its end. Returns what was done about it."""
    if not (step.space / _JOURNAL).is_file():
        release(step)
        return "done" if (step.space / _DONE).is_file() else "nothing"
    head = git(step.top, "rev-parse", "HEAD")
    outcome = "done" if head == step.commit else "left"
    if head == step.ours:
        outcome = "undone" if _put_back(step) else "edited"
    release(step)
    if head == step.ours:
        _put_index_back(step)
    os.replace(step.space / _JOURNAL, step.space / _DONE)
    return outcome


def _put_back(step: Step) -> bool:
    """Put the files back as they were; whether that is all, since what somebody edited meanwhile stays."""
    whole = True
    for change in step.changes:
        with contextlib.suppress(OSError):
            (step.target(change).parent / f".{step.space.name}").unlink()
    for change in step.changes:
        target = step.target(change)
        if not change.old and os.path.lexists(target):
            if _same(target, step.new(change)):
                _remove(step, change)
            elif _is_thing(target) and not target.is_dir():
                whole = False
    for change in step.changes:
        target = step.target(change)
        if not change.old or _same(target, step.old(change)):
            continue
        if _is_thing(target) and not (change.new and _same(target, step.new(change))):
            whole = False
            continue
        try:
            _place(step, step.old(change), change)
        except (FileExistsError, NotADirectoryError):  # something is now where its folder was
            whole = False
    return whole


def _put_index_back(step: Step) -> None:
    """Let the index say of these files what it said, where it says what we wrote."""
    said: dict[str, list[tuple[str, str, str]]] = {}
    for line in git(step.top, "ls-files", "--stage", "-z").split("\0"):
        if line:
            what, name = line.split("\t", 1)
            mode, blob, stage = what.split()
            said.setdefault(name, []).append((mode, blob, stage))
    changes = []
    for change in step.changes:
        found = said.get(change.name, [])
        if found == ([(*change.new, "0")] if change.new else []) or any(stage != "0" for _, _, stage in found):
            changes.append(change)
    if changes:
        git(step.top, "update-index", "-z", "--index-info", text=index_lines(changes, back=True), alone=True)
        call(step.top, "update-index", "-q", "--refresh", alone=True)
