"""Old checkpoints load in new versions: a run of any released version goes on in a project of today's template."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scaffold.updates.addresses import BUNDLE
from scaffold.updates.template_history import open_history
from tests.reliability.crash.projects import Project, checkpoints, make, steps, verifies

pytest_plugins = ["tests.reliability.crash.fixtures"]
KEPT = Path(__file__).parent / "checkpoints"  # made by tools/keep_checkpoint.py
RUNS = sorted(path.parent for path in KEPT.glob("v*/*/made.json"))

RULES = "an older version of the template began this run; from here on learning rates and averages are counted as"


def older_rules(kept: Path) -> bool:
    """Whether rates and averages were counted otherwise, as they were before 0.3.6."""
    state = json.loads((kept / "run" / "1" / "checkpoints" / "5" / "state.json").read_text())
    return int(state.get("rules", 1)) == 1


def title(kept: Path) -> str:
    return f"{kept.name} of {kept.parent.name}"


@pytest.fixture
def project(images: Path, tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Project]]:
    """`project(made)` renders today's project of the answers of an old run."""
    projects: list[Project] = []

    def rendered(made: dict[str, Any]) -> Project:
        projects.append(make(tmp_path / str(len(projects)), "kept", made["answers"], images, made["settings"]))
        return projects[-1]

    yield rendered
    for each in projects:
        each.close()


def goes_on(kept: Path, project: Callable[[dict[str, Any]], Project], work: Path) -> None:
    """An old run measures what it did, goes on in the middle of its epoch, and can be evaluated at its end."""
    made = json.loads((kept / "made.json").read_text())
    now = project(made)
    shutil.copytree(kept / "run", work / "run")
    rows = (work / "run" / "1" / "metrics.jsonl").read_text()
    images = ["--data-dir", str(now.images)]

    before = now.run(work, str(work / "run" / "1"), *images, "--step", "5", module="evaluate")
    ended = now.run(work)
    after = now.run(work, str(work / "run" / "1"), *images, module="evaluate")

    assert before.code == 0, before.said
    for name, value in made["measured"].items():
        found = re.search(rf"^{re.escape(name)} +(\S+)$", before.said, re.MULTILINE)
        assert found, before.said
        # another version of torch, or another processor, may see one of the 20 images otherwise
        assert float(found[1]) == pytest.approx(value, abs=0.051), name
    assert ended.code == 0, ended.said
    assert "going on after step 5, 1 of 2 epochs done" in ended.said
    assert "is not used" not in ended.said
    assert ended.said.count(RULES) == older_rules(kept)
    noted = re.findall(r"^\S+ \S+ ((?:--)?\S+ was .*)$", ended.said, re.MULTILINE)
    assert [note.split(" was ")[0] for note in noted if "close, not equal" not in note] == ["--data-dir"]
    assert "epoch 2/2" in ended.said
    assert "done:" in ended.said
    assert steps(work) == [5, 6]
    assert verifies(checkpoints(work) / "6")
    assert (work / "run" / "1" / "metrics.jsonl").read_text().startswith(rows)
    assert after.code == 0, after.said
    assert re.search(r"^checkpoint 6 of ", after.said, re.MULTILINE)
    assert now.run(work).said.count("run 1 is finished") == 1


@pytest.mark.parametrize("kept", RUNS, ids=title)
def test_a_run_of_an_old_version_goes_on(kept: Path, project: Callable[[dict[str, Any]], Project], work: Path) -> None:
    goes_on(kept, project, work)


@pytest.mark.nightly
def test_runs_of_all_old_versions_go_on(
    project: Callable[[dict[str, Any]], Project], work: Path, figure: Callable[..., None]
) -> None:
    for kept in RUNS:
        goes_on(kept, project, work / title(kept))

    figure("B14 old checkpoints", "runs of released versions that go on in today's projects", len(RUNS), len(RUNS))


def test_every_released_version_but_the_newest_has_kept_checkpoints(tmp_path: Path) -> None:
    history = open_history(BUNDLE, "v0.1.0", tmp_path / "history")

    missing = [version for version in history.releases() if not list((KEPT / version).glob("*/made.json"))]

    assert missing in ([], [history.releases()[-1]]), f"python tools/keep_checkpoint.py {missing[0]}"
    assert {kept.parent.name for kept in RUNS} <= set(history.releases())


def test_kept_checkpoints_are_as_they_were_made_and_small() -> None:
    assert RUNS
    for kept in RUNS:
        checkpoint = kept / "run" / "1" / "checkpoints" / "5"
        assert verifies(checkpoint)
        assert sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) < 100_000


@pytest.mark.parametrize(("flags", "run"), [((), 2), (("--ema-decay", "0.9"), 2), (("--ema-decay", "0.5"), 1)], ids=str)
def test_what_was_typed_in_an_old_version_counts_by_its_name_of_today(
    project: Callable[[dict[str, Any]], Project], work: Path, flags: tuple[str, ...], run: int
) -> None:
    """Without a number the same command goes on with its run, and another one begins a new run."""
    kept = KEPT / "v0.3.6" / "vit"
    made = json.loads((kept / "made.json").read_text())
    shutil.copytree(kept / "run", work / "run")
    record = work / "run" / "1" / "options.json"
    now = project(made)
    saved = json.loads(record.read_text())
    saved["options"] |= {"ema": 0.5, "data_dir": str(now.images)}
    saved["command"] += ["--ema", "0.5", "--data-dir", str(now.images)]
    record.write_text(json.dumps(saved))

    ended = now.run(work, *flags, "--run", "None")

    assert ended.code == 0, ended.said
    assert "from here on" not in ended.said
    assert f"run {run}: batch size" in ended.said
    assert ("going on after step 5," in ended.said) == (run == 1)
    assert json.loads(record.read_text())["options"].get("ema_decay", 0.5) == 0.5
