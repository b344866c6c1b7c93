"""A repository of ours, in which files of the user's and of the template are merged."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scaffold.questions.form import Answers
from scaffold.render.rendering import render
from scaffold.system.git import GitFailed, asks, call, git
from scaffold.updates.work import Work

# A file as git records it: its mode and the name of its content.
Entries = dict[str, tuple[str, str]]
# Of a file that is not merged: the one before both, the user's, and the template's, by the numbers that git has for them.
Versions = dict[int, tuple[str, str]]


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
        above = ["", *(f"{parent}/" for parent in parents(work.prefix.rstrip("/")))] if work.prefix else []
        return cls(
            work,
            tree,
            [word for driver in drivers for word in ("-c", driver)],
            [f"{at}.gitattributes" for at in above],
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
        known = self._variables(index, folder or self.tree)
        return git(folder or self.tree, *words, text=text, variables={**known, **(variables or {})}, allowed=allowed)

    def _variables(self, index: str, folder: Path) -> dict[str, str]:
        return {
            "GIT_DIR": str(self.tree / ".git"),
            "GIT_WORK_TREE": str(folder),
            "GIT_INDEX_FILE": str(self.tree / ".git" / index),
            "GIT_LITERAL_PATHSPECS": "1",
        }

    def merge(self, *words: str, variables: Mapping[str, str]) -> None:
        """Merge in it. That git ends with 1 where there are conflicts, and it names them, is no failure."""
        known = {**self._variables("index", self.tree), **variables, "GIT_MERGE_VERBOSITY": "2"}
        done = call(self.tree, *self.drivers, "merge-recursive", *words, variables=known)
        if done.returncode and (done.returncode != 1 or "CONFLICT" not in done.stdout):
            raise GitFailed(f"git merge-recursive failed: {done.stderr.strip() or done.returncode}")

    def entries(self, index: str = "index") -> Entries:
        """The files of an index, without those that are not merged."""
        return read_entries(self.git("ls-files", "--stage", "-z", index=index))

    def of_user(self, commit: str) -> Entries:
        """The project's files in a commit of the user's."""
        where = ["--", self.work.prefix, *self.attributes] if self.work.prefix else []
        return read_entries(git(self.work.top, "ls-tree", "-r", "-z", "--full-tree", commit, *where))

    def rendered(self, name: str, answers: Answers, template: Path, version: str) -> Entries:
        """The project's files as they are generated."""
        folder = self.work.space / name
        project = folder / self.work.prefix
        project.parent.mkdir(parents=True, exist_ok=True)
        render(answers, project, template, {"_src_path": self.work.recorded.address, "_commit": version})
        self.git("add", "--all", "--force", "--", ".", index=name, folder=folder)
        return self.entries(name)

    def take_line_ends(self, commit: str, ours: Entries, base: Entries, theirs: Entries) -> None:
        """Give the template's files the line ends that the user has committed, where every line of a file ends in
        CR LF: so lines are merged by what they say, and end as they did."""
        edited = [name for name, entry in ours.items() if is_file(entry) and name in base and entry != base[name]]
        if not edited:
            return
        words = ("grep", "-z", "-I", "--basic-regexp", "--name-only", "--no-color", "-e", "\r$", commit, "--", *edited)
        for line in self.git(*words, allowed=(0, 1)).split("\0"):
            name = line.removeprefix(f"{commit}:")
            text = self._blob(ours[name]) if name in ours else ""
            if not text or text.count("\n") != text.count("\r\n"):
                continue
            for entries in (base, theirs):
                if is_file(entries.get(name)) and "\r" not in (other := self._blob(entries[name])):
                    to = self.git("hash-object", "-w", "--no-filters", "--stdin", text=other.replace("\n", "\r\n"))
                    entries[name] = entries[name][0], to

    def _blob(self, entry: tuple[str, str]) -> str:
        """The content of a file, to its last line break."""
        done = call(self.tree, "cat-file", "blob", entry[1])
        if done.returncode:
            raise GitFailed(f"git cat-file failed: {done.stderr.strip()}")
        return done.stdout

    def write(self, name: str, entries: Entries) -> str:
        """The tree of these files."""
        lines = "".join(f"{mode} {blob}\t{path}\0" for path, (mode, blob) in entries.items())
        self.git("update-index", "-z", "--index-info", text=lines, index=f"{name}.index")
        return self.git("write-tree", "--missing-ok", index=f"{name}.index")


def read_entries(listing: str) -> Entries:
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


def parents(name: str) -> list[str]:
    """The folders that a path is in."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def is_file(entry: tuple[str, str] | None) -> bool:
    """Whether it is a regular file, rather than a link, a submodule or nothing."""
    return entry is not None and entry[0].startswith("100")
