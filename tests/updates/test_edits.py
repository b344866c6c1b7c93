"""What an update makes of the edits of an owner: from every release, by random edits, and with a run that goes on."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Run, tree
from tests.updates.owner_edits import Edit, Owner
from tests.updates.updating import History, commit, copier, git, own_answers, releases

__all__ = ["releases"]  # a fixture

NEWEST = "v1000.0.0"
ANSWERS: dict[str, dict[str, Any]] = {
    "default": {},
    "retrieval": {
        "task": "metric_learning",
        "losses": [{"name": "triplet", "weight": 1.0}, {"name": "cross_entropy", "weight": 0.5}],
        "model": "vit",
        "distributed": "fsdp",
        "precision": "bf16",
    },
    "ddp": {
        "optimizer": "sgd",
        "scheduler": "multistep",
        "ema": True,
        "clip": 1.0,
        "accumulate": 2,
        "distributed": "ddp",
        "package_name": "digits",
    },
    "resnet": {"model": "resnet18", "weights": "imagenet", "logger": "none", "ci": "github", "license": "mit"},
}


# WHERE AN EDIT IS AFTERWARDS

FATES = {"merged": "merged", "conflict": "in conflicts", "kept": "kept beside", "lost": "lost"}

Parts = dict[str, tuple[list[str], list[str]]]


def parts(project: Path) -> Parts:
    """The lines of every file that are settled, and those that stand between the marks of a conflict."""
    found: Parts = {}
    for name, content in tree(project).items():
        settled: list[str] = []
        open_: list[str] = []
        into = settled
        for line in content.decode(errors="replace").splitlines():
            if line.startswith(("<<<<<<< ", ">>>>>>> ")):
                into = open_ if line.startswith("<") else settled
            else:
                into.append(line)
        found[name] = settled, open_
    return found


@dataclass
class Outcome:
    """What became of the edits of a project: `fates` in the order of the edits, and what is wrong."""

    fates: list[tuple[Edit, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    committed: bool = False

    def has(self, fate: str) -> bool:
        return any(each == fate for _, each in self.fates)


def fate(edit: Edit, lines: list[str], after: Parts, said: str) -> tuple[str, str]:
    """What became of an edit - merged, conflict, kept or lost - and the file that it is in."""
    if edit.gone:
        beside = [name for name in after if name.startswith(f"{edit.file}.kept")]
        if beside:
            return "kept", beside[0]
        moved = re.search(rf"note: {re.escape(edit.file)} goes to (\S+), and your edits with it", said)
        home = moved[1] if moved else edit.file
        settled, open_ = after.get(home, ([], []))
        if open_:  # the template may have the line elsewhere in the file now
            return "conflict", home
        return ("lost" if edit.gone in settled or home not in after else "merged"), home
    worst, where = "merged", edit.file
    for line in lines:
        homes = [name for name, (settled, _) in after.items() if line in settled]
        if any(line in open_ for _, open_ in after.values()):
            found, home = "conflict", next(name for name, (_, open_) in after.items() if line in open_)
        elif not homes:
            return "lost", edit.file
        else:
            found, home = ("kept" if ".kept" in homes[0] else "merged"), homes[0]
        if ["merged", "kept", "conflict"].index(found) >= ["merged", "kept", "conflict"].index(worst):
            worst, where = found, home
    return worst, where


def updated(scaffold: Run, project: Path, owner: Owner) -> Outcome:
    """Updates a project that was edited and committed; what became of the edits."""
    lines = {edit: owner.lines(edit) for edit in owner.edits}
    os.chdir(project)
    result = scaffold("update", "--yes")
    os.chdir(project.parent)
    after = parts(project)
    outcome = Outcome(committed=result.code == 0)
    if result.code not in (0, 3):
        outcome.wrong.append(f"ended with {result.code}: {result.err}")
    for edit in owner.edits:
        what, where = fate(edit, lines[edit], after, result.err)
        outcome.fates.append((edit, what))
        if what == "lost":
            outcome.wrong.append(f"{edit} is lost")
        if what == "kept" and f"{edit.file} goes " not in result.err:
            outcome.wrong.append(f"{edit}: not told where {edit.file} went")
        if what != "kept" and where != edit.file and f"note: {edit.file} goes to {where}, " not in result.err:
            outcome.wrong.append(f"{edit}: not told that it is in {where} now")
    if (result.code == 3) != any(open_ for _, open_ in after.values()):
        outcome.wrong.append(f"conflicts, and exit status {result.code}: {result.err}")
    return outcome


# FROM EVERY RELEASE


def owned(project: Path) -> list[str]:
    """The files that an owner edits."""
    names = git(project, "ls-files").splitlines()
    return [name for name in names if name.endswith((".py", ".md", ".toml")) and (project / name).stat().st_size > 200]


def make(releases: History, folder: Path, version: str, answers: dict[str, Any]) -> Path:
    return releases.make(folder / "p", version, {"project_name": "p", **answers})


@pytest.mark.parametrize(
    "all_answers", [pytest.param(False, id="one"), pytest.param(True, id="all", marks=pytest.mark.nightly)]
)
def test_from_every_release_no_edit_is_lost_and_every_move_is_told(
    scaffold: Run, releases: History, tmp_path: Path, all_answers: bool
) -> None:
    """Every file of a project has an edit."""
    wrong: dict[str, list[str]] = {}
    fates: Counter[str] = Counter()
    for number, version in enumerate(releases.versions):
        for name in [*ANSWERS] if all_answers else [[*ANSWERS][number % len(ANSWERS)]]:
            project = make(releases, tmp_path / version / name, version, ANSWERS[name])
            owner = Owner(project, random.Random(f"{version} {name}"))
            for file in owned(project):
                owner.edit(file)
            commit(project)
            outcome = updated(scaffold, project, owner)
            fates.update(what for _, what in outcome.fates)
            if outcome.wrong:
                wrong[f"{version} {name}"] = outcome.wrong
            shutil.rmtree(project)

    assert wrong == {}
    assert min(fates["merged"], fates["conflict"], fates["kept"]) > 0
    if all_answers:
        count = len(releases.versions) * len(ANSWERS)
        said = f"From {releases.versions[0]} to {releases.versions[-1]}, {count} projects with an edit in every file"
        merged, conflict, kept, lost = (fates[what] for what in FATES)
        write_figures(
            "every release",
            f"{said}: of {fates.total()} edits {merged} merged, {conflict} in conflicts, {kept} kept beside, {lost} lost.",
        )


@pytest.mark.parametrize(
    "all_of_them", [pytest.param(False, id="sample"), pytest.param(True, id="all", marks=pytest.mark.nightly)]
)
def test_plain_copier_makes_of_an_unedited_project_what_a_new_one_is(
    releases: History, tmp_path: Path, all_of_them: bool
) -> None:
    pairs = [(version, name) for version in releases.versions for name in ANSWERS]
    wrong = []
    for version, name in pairs if all_of_them else [pairs[0], pairs[-3]]:
        project = make(releases, tmp_path / version / name, version, ANSWERS[name])
        result = copier("update", "--defaults", folder=project)
        fresh = releases.fresh(tmp_path / version / name / "fresh", NEWEST, own_answers(project))
        if result.returncode or tree(project) != fresh:
            wrong.append((version, name, result.stderr[-500:], differing(tree(project), fresh)))
    assert wrong == []


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


# BY RANDOM EDITS


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.nightly)])
def test_random_edits_are_merged_or_in_a_conflict_or_kept_beside(
    scaffold: Run, releases: History, tmp_path: Path, count: int
) -> None:
    """1 to 6 edits of an owner; plain Copier gets the same, and drops those in files that went."""
    base = make(releases, tmp_path / "base", "v0.3.6", {})
    by_scaffold: list[Outcome] = []
    by_copier: list[Outcome] = []
    for seed in range(count):
        project = tmp_path / str(seed) / "p"
        shutil.copytree(base, project)
        dice = random.Random(seed)
        owner = Owner(project, dice)
        for _ in range(dice.randint(1, 6)):
            owner.edit(dice.choice(owned(project)))
        commit(project)
        by_scaffold.append(updated(scaffold, project, owner))
        if count == 60 or seed == 0:
            git(project, "reset", "--quiet", "--hard", "HEAD~1" if by_scaffold[-1].committed else "HEAD")
            by_copier.append(updated_by_copier(project, owner))
        shutil.rmtree(project)

    assert {seed: outcome.wrong for seed, outcome in enumerate(by_scaffold) if outcome.wrong} == {}
    assert not any(outcome.has("lost") for outcome in by_scaffold)
    assert {seed: outcome.wrong for seed, outcome in enumerate(by_copier) if outcome.wrong} == {}
    if count == 60:
        write_figures("random edits", table(by_scaffold, by_copier))


def updated_by_copier(project: Path, owner: Owner) -> Outcome:
    """The same by plain Copier."""
    lines = {edit: owner.lines(edit) for edit in owner.edits}
    result = copier("update", "--defaults", folder=project)
    after = parts(project)
    outcome = Outcome([(edit, fate(edit, lines[edit], after, "")[0]) for edit in owner.edits])
    if result.returncode:
        outcome.wrong.append(result.stderr)
    return outcome


def table(by_scaffold: list[Outcome], by_copier: list[Outcome]) -> str:
    """What became of projects and of edits, by the one and by the other."""

    def row(title: str, counts: list[int], of: int) -> str:
        return f"| {title} | {' | '.join(f'{count} ({count / of:.0%})' for count in counts)} |\n"

    both = [by_scaffold, by_copier]
    projects = len(by_scaffold)
    edits = sum(len(outcome.fates) for outcome in by_scaffold)
    text = f"| {projects} projects of v0.3.6, {edits} edits | `scaffold update` | `copier update` |\n|---|---:|---:|\n"
    clean = [sum(all(what == "merged" for _, what in outcome.fates) for outcome in each) for each in both]
    text += row("projects in which every edit is merged", clean, projects)
    having = {"conflict": "with conflicts", "kept": "with a file kept beside", "lost": "that lose an edit"}
    for what, title in having.items():
        text += row(f"projects {title}", [sum(outcome.has(what) for outcome in each) for each in both], projects)
    for what, title in FATES.items():
        counts = [sum(found == what for outcome in each for _, found in outcome.fates) for each in both]
        text += row(f"edits {title}", counts, edits)
    return text


# A RUN GOES ON


@pytest.mark.parametrize(
    "version", [pytest.param(v, marks=pytest.mark.nightly) for v in ("v0.1.0", "v0.3.2")] + ["v0.3.6"]
)
def test_a_run_of_the_old_project_goes_on_in_the_updated_one(
    scaffold: Run, releases: History, tmp_path: Path, version: str
) -> None:
    """On the digits: stopped after an epoch, updated, and the same command; then one epoch more."""
    project = make(releases, tmp_path, version, {})
    code, said = trained(project, "--epochs", "2", stop_after="epoch 1/2 ")
    assert code == 128 + signal.SIGTERM, said
    stopped = re.search(r"the same command goes on after step (\d+)", said)
    assert stopped, said
    os.chdir(project)
    assert scaffold("update", "--yes").code == 0

    code, said = trained(project, "--epochs", "2")

    assert code == 0, said
    assert f"going on after step {stopped[1]}, 1 of 2 epochs done" in said
    assert ("an older version of the template began this run" in said) == (version != "v0.3.6")
    assert "is not used" not in said
    rows = [json.loads(line) for line in (project / "run" / "1" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row["kind"] == "val"] == [0, 1]

    code, said = trained(project, "--run", "1", "--epochs", "3")

    assert code == 0, said
    assert "--epochs was 2 and is 3 from here on" in said
    assert "epoch 3/3 " in said
    assert not (project / "run" / "2").exists()


def trained(project: Path, *words: str, stop_after: str = "") -> tuple[int, str]:
    """The exit status of a training and all that it said; it is asked to stop after a line with these words."""
    command = [sys.executable, "-m", "p.train", "--num-workers", "0", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = ""
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if stop_after and stop_after in line:
                process.send_signal(signal.SIGTERM)
    return process.returncode, said


# THE FIGURES


def write_figures(name: str, text: str) -> None:
    """Puts figures into docs/updating.md, between the marks of that name."""
    path = ROOT / "docs" / "updating.md"
    begin, end = (
        f"<!-- {name}: written by pytest -m nightly tests/updates/test_edits.py -->\n",
        f"<!-- end of {name} -->",
    )
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"docs/updating.md has no marks for {name}"
    path.write_text(f"{before}{begin}{text.rstrip()}\n\nMeasured on {date.today()}.\n{end}{after}")
