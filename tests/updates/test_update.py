"""Updates: the newest template with the user's edits, nothing lost, and a sentence for everything that cannot be."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scaffold.errors import Refused
from scaffold.render.rendering import render
from scaffold.updates.addresses import BUNDLE
from scaffold.updates.apply import apply
from scaffold.updates.new_version import update
from scaffold.updates.template_history import open_history
from scaffold.updates.work import opened
from tests.conftest import Run, tree
from tests.updates.updating import (
    SEED,
    History,
    answers_of,
    append,
    commit,
    git,
    history,
    move,
    own_answers,
    project,
    remove,
    replace,
)

__all__ = ["history", "project"]  # fixtures


def new_version(history: History) -> str:
    """A version that changes, adds, moves and removes files."""
    return history.release(
        append(SEED, "\n\nVALUE = 1\n"),
        append("template/project/docs/notes.md", "Notes\n"),
        move("template/project/tests/test_data.py.jinja", "template/project/tests/test_images.py.jinja"),
        remove("template/project/tests/test_schedule.py.jinja"),
        news="- seed.py has a value\n- Notes",
    )


# WHAT AN UPDATE BRINGS


def test_an_unedited_project_becomes_a_new_one_of_the_newest_version(
    scaffold: Run, history: History, project: Path, tmp_path: Path
) -> None:
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert tree(project) == history.fresh(tmp_path / "fresh", "v2.0.0", own_answers(project))
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "log", "--format=%s").splitlines()[0] == "Update the template from v1.0.0 to v2.0.0"


def test_a_second_update_has_nothing_to_do(scaffold: Run, history: History, project: Path) -> None:
    new_version(history)
    scaffold("update", "--yes")
    before = git(project, "rev-parse", "HEAD")

    result = scaffold("update", "--yes")

    assert result.code == 0
    assert "nothing newer" in result.err
    assert git(project, "rev-parse", "HEAD") == before


def test_a_bundle_whose_address_a_shell_wrote_out_is_still_ours(
    scaffold: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    scaffold("list")  # puts the bundle there
    bundle = Path(BUNDLE).expanduser()
    template = open_history(BUNDLE, "v0.2.0", tmp_path / "copy").check_out("v0.2.0", tmp_path / "v0.2.0")
    render({}, here / "p", template, {"_src_path": str(bundle), "_commit": "v0.2.0"})
    git(here / "p", "init", "--quiet")
    commit(here / "p", "Start")
    monkeypatch.chdir(here / "p")

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert answers_of(here / "p")["_src_path"] == BUNDLE


@pytest.mark.parametrize("newer", [False, True], ids=["cut off", "of a newer one and damaged"])
def test_a_damaged_bundle_is_put_right(
    scaffold: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    scaffold("list")
    bundle = Path(BUNDLE).expanduser()
    whole = bundle.read_bytes()
    head, _, rest = whole.partition(b"\n\n")
    known = head.split(b"\n")[-1]
    bundle.write_bytes(head + (b"\n" + known[:41] + b"refs/tags/v999.0.0" if newer else b"") + b"\n\n" + rest[:50_000])
    template = open_history(BUNDLE, "v0.2.0", tmp_path / "copy").check_out("v0.2.0", tmp_path / "v0.2.0")
    render({}, here / "p", template, {"_src_path": BUNDLE, "_commit": "v0.2.0"})
    git(here / "p", "init", "--quiet")
    commit(here / "p", "Start")
    monkeypatch.chdir(here / "p")

    result = scaffold("update", "--check")

    assert result.code == 0, result.err
    assert "v0.2.0 -> v0." in result.out
    assert "\nv0.3.0\n  - " in result.out
    assert result.err == ""
    assert bundle.read_bytes() == whole


def test_two_steps_are_as_good_as_one(scaffold: Run, history: History, project: Path) -> None:
    new_version(history)
    history.release(append(SEED, "OTHER = 2\n"))

    scaffold("update", "--yes", "--to", "2.0.0")
    assert answers_of(project)["_commit"] == "v2.0.0"
    scaffold("update", "--yes")
    by_steps = tree(project)
    git(project, "reset", "--quiet", "--hard", "HEAD~2")
    scaffold("update", "--yes")

    assert tree(project) == by_steps
    assert answers_of(project)["_commit"] == "v3.0.0"


def test_an_update_says_what_is_new_and_which_files_change(scaffold: Run, history: History, project: Path) -> None:
    new_version(history)

    result = scaffold("update", "--yes")

    assert "v1.0.0 -> v2.0.0\n  - seed.py has a value\n  - Notes\n" in result.out
    assert "docs/notes.md" in result.err
    assert "+3 -0" in result.err


def test_news_stand_under_the_version_that_brings_them(scaffold: Run, history: History, project: Path) -> None:
    new_version(history)
    history.release(append(SEED, "OTHER = 2\n"), news="- another value")

    result = scaffold("update", "--check")

    assert result.out.splitlines() == [
        "v1.0.0 -> v3.0.0",
        "v2.0.0",
        "  - seed.py has a value",
        "  - Notes",
        "v3.0.0",
        "  - another value",
    ]
    told = json.loads(scaffold("update", "--check", "--json").out)
    assert (told["from"], told["to"], told["applied"]) == ("v1.0.0", "v3.0.0", False)
    assert told["news"] == [
        {"version": "v2.0.0", "lines": ["- seed.py has a value", "- Notes"]},
        {"version": "v3.0.0", "lines": ["- another value"]},
    ]


def test_of_long_news_the_first_part_is_shown(scaffold: Run, history: History, project: Path) -> None:
    parts = ["In short.", "### To know", "- a value", "### Tasks", "- a task", "### Data", "- some"]
    history.release(append(SEED, "OTHER = 2\n"), news="\n\n".join(parts))

    result = scaffold("update", "--check")

    shown = ["  In short.", "  To know", "  - a value", "  … and more: Tasks, Data"]
    assert result.out.splitlines() == ["v1.0.0 -> v2.0.0", *shown]
    assert json.loads(scaffold("update", "--check", "--json").out)["news"][0]["lines"] == parts


@pytest.mark.figure("A12 commands", "no terminal, no yes, nothing applied")
@pytest.mark.parametrize("words", [["update"], ["update", "--to", "2.0.0"], ["change", "--scheduler", "step"]])
@pytest.mark.parametrize("as_json", [False, True])
def test_without_a_terminal_nothing_is_applied_without_a_yes(
    scaffold: Run, history: History, project: Path, words: list[str], as_json: bool
) -> None:
    new_version(history)
    before, head = tree(project), git(project, "rev-parse", "HEAD")

    refused = scaffold(*words, *(["--json"] if as_json else []))

    assert refused.code == 2
    assert "error: no terminal to ask for a last yes in\n" in refused.err
    typed = " ".join([*words, *(["--json"] if as_json else [])])
    assert f"scaffold {typed} --yes\n" in refused.err
    assert (tree(project), git(project, "rev-parse", "HEAD")) == (before, head)
    if as_json:
        told = json.loads(refused.out)
        assert (told["applied"], told["error"]["exit_code"]) == (False, 2)
    applied = scaffold(*words, "--yes", *(["--json"] if as_json else []))
    assert applied.code == 0, applied.err
    assert git(project, "rev-parse", "HEAD") != head
    if as_json:
        told = json.loads(applied.out)
        changed = git(project, "show", "--numstat", "--no-renames", "--format=").splitlines()
        assert [
            "\t".join([str(file["added"]), str(file["removed"]), file["path"]]) for file in told["files"]
        ] == changed
        assert told["applied"]
        assert ("scheduler" in told["answers"]) == (words[0] == "change")


@pytest.mark.figure("A12 commands", "sentences, and JSON of results and errors")
def test_json_tells_conflicts_and_what_is_shown(scaffold: Run, history: History, project: Path) -> None:
    replace("p/engine/seed.py", "import random", "import random  # mine")(project)
    commit(project)
    history.release(replace(SEED, "import random", "import random  # theirs"))

    shown = json.loads(scaffold("update", "--diff", "--json").out)
    assert (shown["applied"], shown["conflicts"]) == (False, [f"p/engine/seed.py:{conflict_line(shown['diff'])}"])
    told = scaffold("update", "--yes", "--json")
    result = json.loads(told.out)

    assert told.code == 3
    assert (result["applied"], result["conflicts"], result["error"]["exit_code"]) == (True, shown["conflicts"], 3)
    assert json.loads(scaffold("update", "--yes", "--json").out)["error"]["message"].startswith("an earlier update")


def conflict_line(diff: str) -> int:
    """The line of the first conflict, as a difference counts it."""
    hunk, _, rest = diff.partition("/seed.py\n@@ ")[2].partition("@@")
    before = rest.partition("+<<<<<<< yours")[0].splitlines()[1:]
    return int(hunk.split("+")[1].split(",")[0]) + sum(not line.startswith("-") for line in before)


@pytest.mark.parametrize("flag", ["--check", "--diff"])
def test_a_look_changes_nothing(scaffold: Run, history: History, project: Path, flag: str) -> None:
    new_version(history)
    append("README.md", "not committed\n")(project)
    before, head = tree(project), git(project, "rev-parse", "HEAD")

    result = scaffold("update", flag)

    assert result.code == 0, result.err
    assert ("+VALUE = 1" in result.out) == (flag == "--diff")
    assert "seed.py has a value" in result.out
    assert tree(project) == before
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "worktree", "list").count("\n") == 1


def test_a_project_in_a_folder_of_a_repository_is_updated_there(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    history.make(here / "all" / "inner" / "p", "v1.0.0")
    shutil.rmtree(here / "all" / "inner" / "p" / ".git")
    append("README.md", "Everything\n")(here / "all")
    git(here / "all", "init", "--quiet")
    commit(here / "all")
    append("README.md", "of mine, not committed\n")(here / "all")
    new_version(history)
    monkeypatch.chdir(here / "all" / "inner" / "p" / "tests")

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    project = here / "all" / "inner" / "p"
    assert tree(project) == history.fresh(tmp_path / "fresh", "v2.0.0", own_answers(project))
    assert (here / "all" / "README.md").read_text() == "Everything\nof mine, not committed\n"


# EDITS ARE KEPT


def test_edits_are_kept(scaffold: Run, history: History, project: Path) -> None:
    replace("p/engine/seed.py", "import random\n", "import random  # mine\n")(project)
    append("p/mine.py", "MINE = 1\n")(project)
    (project / "p" / "digits.npz").write_bytes(b"\0mine")
    (project / "photo.png").write_bytes(b"\x89PNG\0\xff")
    (project / "README.md").chmod(0o755)
    move("tests/test_data.py", "tests/test_my_data.py")(project)
    remove("p/engine/pictures.py")(project)
    commit(project)
    history.release(
        append(SEED, "\n\nVALUE = 1\n"), append("template/project/tests/test_data.py.jinja", "\nMORE = 1\n")
    )

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert "import random  # mine\n" in (project / "p" / "engine" / "seed.py").read_text()
    assert "VALUE = 1\n" in (project / "p" / "engine" / "seed.py").read_text()
    assert (project / "p" / "mine.py").read_text() == "MINE = 1\n"
    assert (project / "p" / "digits.npz").read_bytes() == b"\0mine"
    assert (project / "photo.png").read_bytes() == b"\x89PNG\0\xff"
    assert os.access(project / "README.md", os.X_OK)
    assert "MORE = 1\n" in (project / "tests" / "test_my_data.py").read_text()
    assert not (project / "tests" / "test_data.py").exists()
    assert not (project / "p" / "engine" / "pictures.py").exists()


def test_a_file_that_the_user_deleted_stays_away_and_is_named(scaffold: Run, history: History, project: Path) -> None:
    remove("p/engine/seed.py")(project)
    commit(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert not (project / "p" / "engine" / "seed.py").exists()
    assert "note: p/engine/seed.py has changed in the template; you had deleted it" in result.err


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (remove("template/project/tests/test_schedule.py.jinja"), "tests/test_schedule.py goes away"),
        (
            move(
                "template/project/tests/test_schedule.py.jinja",
                "template/project/tests/{% if ema %}t.py{% endif %}.jinja",
            ),
            "tests/test_schedule.py goes away",
        ),
    ],
    ids=["deleted", "switched off"],
)
def test_an_edited_file_that_the_template_gives_up_is_kept_beside(
    scaffold: Run, history: History, project: Path, edit: object, said: str
) -> None:
    append("tests/test_schedule.py", "\nMINE = 1\n")(project)
    commit(project)
    mine = (project / "tests" / "test_schedule.py").read_bytes()
    assert callable(edit)
    history.release(edit)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert f"note: {said}, and you had edited it; yours is kept as tests/test_schedule.py.kept" in result.err
    assert (project / "tests" / "test_schedule.py.kept").read_bytes() == mine
    assert not (project / "tests" / "test_schedule.py").exists()
    assert git(project, "status", "--porcelain") == ""


def test_where_an_edited_file_went_is_told_by_the_template(scaffold: Run, history: History, project: Path) -> None:
    append("p/engine/plan.py", "\nMINE = 1\n")(project)
    commit(project)
    history.release(
        remove("template/project/{{ package_name }}/engine/plan.py"),
        append("template/moved.yml", "engine/plan.py: train.py and engine/run.py\n"),
    )

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert (
        "note: p/engine/plan.py goes to p/train.py and p/engine/run.py, and you had edited it; "
        "yours is kept as p/engine/plan.py.kept"
    ) in result.err


ENGINE = "template/project/{{ package_name }}/engine"


def rewritten(name: str, to: str, share: float) -> Callable[[Path], None]:
    """An edit: a file of the engine elsewhere, a share of its lines, from the beginning on, written anew and so long
    that git sees no move."""

    def edit(folder: Path) -> None:
        lines = (folder / ENGINE / name).read_text().splitlines()
        lines[: int(share * len(lines))] = [f"# {number} {'anew ' * 20}" for number in range(int(share * len(lines)))]
        (folder / ENGINE / to).write_text("\n".join(lines) + "\n")
        (folder / ENGINE / name).unlink()
        append("template/moved.yml", f"engine/{name}: engine/{to}\n")(folder)

    return edit


@pytest.mark.parametrize(("share", "follows"), [(0.45, True), (0.55, False)])
def test_edits_follow_a_file_to_where_the_template_says_that_it_is_if_half_of_it_moved_along(
    scaffold: Run, history: History, project: Path, share: float, follows: bool
) -> None:
    append("p/engine/plan.py", "\n\nMINE = 1\n")(project)
    (project / "p" / "engine" / "plan.py").chmod(0o755)
    commit(project)
    history.release(rewritten("plan.py", "overview.py", share))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    moved = project / "p" / "engine" / "overview.py"
    told = "note: p/engine/plan.py goes to p/engine/overview.py, and your edits with it" in result.err
    assert told == ("MINE = 1" in moved.read_text()) == os.access(moved, os.X_OK) == follows
    assert (project / "p" / "engine" / "plan.py.kept").exists() != follows
    assert git(project, "status", "--porcelain") == ""


def test_imports_of_ones_own_of_a_module_that_moved_are_told(
    scaffold: Run, history: History, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    append(
        "p/mine.py",
        '"""Mine, \\d."""\n\nfrom .engine.plan import (\n    anything,\n)\nfrom .engine import plan, seed\n',
    )(project)
    append("p/engine/own.py", "from . import plan\nfrom .. import engine\nfrom ...plan import no\n")(project)
    append("tests/test_mine.py", "import os\n\nimport p.engine.plan as plan\nimport p.planner, plan\n")(project)
    append("p/broken.py", "from .engine.plan import\n")(project)
    append("notes.txt", "from p.engine.plan import anything\n")(project)
    append("p/signals.py", "from .engine.signals import anything\n")(project)
    append("p/model.py", "\n\nfrom .engine.plan import last\n")(project)
    commit(project)
    lines = len((project / "p" / "model.py").read_text().splitlines())

    def others(folder: Path) -> None:
        signals = next((folder / ENGINE).glob("signals.py*"))
        (folder / ENGINE / "signals").mkdir()
        signals.rename(folder / ENGINE / "signals" / signals.name.replace("signals", "__init__"))
        (folder / ENGINE / "seed.py").unlink()

    history.release(rewritten("plan.py", "overview.py", 0.9), others)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    moved = "imports p/engine/plan.py, which is now p/engine/overview.py"
    assert sorted(line for line in result.err.splitlines() if " imports " in line) == [
        f"note: p/engine/own.py:1 {moved}",
        f"note: p/mine.py:3 {moved}",
        f"note: p/mine.py:6 {moved}",
        "note: p/mine.py:6 imports p/engine/seed.py, which the template has no more",
        f"note: p/model.py:{lines} {moved}",
        f"note: tests/test_mine.py:3 {moved}",
    ]
    assert capfd.readouterr() == ("", "")


def test_edits_that_do_not_fit_where_a_file_is_now_are_kept_beside(
    scaffold: Run, history: History, project: Path
) -> None:
    replace("p/engine/plan.py", '"""', '"""My own. ')(project)
    commit(project)
    history.release(rewritten("plan.py", "overview.py", 0.45))

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert "note: p/engine/plan.py goes to p/engine/overview.py, and you had edited it; yours is kept as" in result.err
    assert "My own" not in (project / "p" / "engine" / "overview.py").read_text()
    assert "My own" in (project / "p" / "engine" / "plan.py.kept").read_text()


def test_of_two_files_that_become_one_only_one_brings_its_edits_along(
    scaffold: Run, history: History, project: Path
) -> None:
    for name in ("plan", "state"):
        append(f"p/engine/{name}.py", f"\n\nMINE = '{name}'\n")(project)
    commit(project)

    def joined(folder: Path) -> None:
        texts = [(folder / ENGINE / name).read_text() for name in ("plan.py", "state.py.jinja")]
        (folder / ENGINE / "both.py.jinja").write_text("\n".join(texts))
        for name in ("plan.py", "state.py.jinja"):
            (folder / ENGINE / name).unlink()
        append("template/moved.yml", "engine/plan.py: engine/both.py\nengine/state.py: engine/both.py\n")(folder)

    history.release(joined)

    result = scaffold("update", "--yes")

    assert result.code in (0, 3), result.err
    after = {name: content.decode(errors="replace") for name, content in tree(project).items()}
    for name in ("plan", "state"):
        assert [place for place, text in after.items() if f"MINE = '{name}'" in text], name
        assert f"p/engine/{name}.py goes to p/engine/both.py" in result.err


def test_a_conflict_in_a_file_that_was_split_says_where_the_rest_of_it_is(
    scaffold: Run, history: History, project: Path
) -> None:
    replace("p/engine/plan.py", '"""', '"""My own. ')(project)
    commit(project)
    history.release(
        replace(f"{ENGINE}/plan.py", '"""', '"""Its own. '),
        append(f"{ENGINE}/overview.py", "VALUE = 1\n"),
        append("template/moved.yml", "engine/plan.py: engine/overview.py and engine/seed.py\n"),
    )

    result = scaffold("update", "--yes")

    assert result.code == 3
    # seed.py was there before, so that it has nothing of it that is new
    assert "p/engine/plan.py has conflicts; much of what was in it is in p/engine/overview.py now\n" in result.err
    shown = "git diff :1:p/engine/plan.py :2:p/engine/plan.py"
    assert f"your edits    {shown}\n" in result.err
    edits = [
        at for at in git(project, *shown.split()[1:]).splitlines() if at[0] in "+-" and at[:3] not in ("+++", "---")
    ]
    assert len(edits) == 2
    assert edits[1].startswith('+"""My own. ')


def test_edits_follow_a_file_that_the_template_renames(scaffold: Run, history: History, project: Path) -> None:
    append("tests/test_data.py", "\nMINE = 1\n")(project)
    commit(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 0, result.err
    assert "MINE = 1\n" in (project / "tests" / "test_images.py").read_text()
    assert "note: tests/test_data.py goes to tests/test_images.py, and your edits with it" in result.err


def test_a_conflict_is_named_by_file_and_line_and_can_be_given_up(
    scaffold: Run, history: History, project: Path
) -> None:
    append("p/engine/seed.py", "\nVALUE = 'mine'\n")(project)
    commit(project)
    before, head = tree(project), git(project, "rev-parse", "HEAD")
    new_version(history)

    result = scaffold("update", "--yes")

    lines = (project / "p" / "engine" / "seed.py").read_text().splitlines()
    place = lines.index("<<<<<<< yours") + 1
    assert result.code == 3
    assert "error: 1 conflict, between <<<<<<< yours and >>>>>>> template v2.0.0" in result.err
    assert f"   at: p/engine/seed.py:{place}\n" in result.err
    assert "VALUE = 'mine'" in lines
    assert "VALUE = 1" in lines
    assert git(project, "diff", "--name-only", "--diff-filter=U").split() == ["p/engine/seed.py"]
    assert git(project, "rev-parse", "HEAD") == head
    assert "an earlier update is not finished: p/engine/seed.py has conflicts" in scaffold("update", "--yes").err

    assert "give up    git reset --hard" in result.err
    git(project, "reset", "--quiet", "--hard")
    assert tree(project) == before
    assert git(project, "status", "--porcelain") == ""


def test_a_conflict_can_be_finished(scaffold: Run, history: History, project: Path) -> None:
    append("p/engine/seed.py", "\nVALUE = 'mine'\n")(project)
    commit(project)
    new_version(history)
    scaffold("update", "--yes")

    (project / "p" / "engine" / "seed.py").write_text("VALUE = 'both'\n")
    commit(project)

    assert "nothing newer" in scaffold("update", "--yes").err
    assert (project / "docs" / "notes.md").is_file()


def test_a_file_that_both_added_is_a_conflict_with_both_in_it(scaffold: Run, history: History, project: Path) -> None:
    append("docs/notes.md", "My notes\n")(project)
    commit(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert {"My notes", "Notes"} <= set((project / "docs" / "notes.md").read_text().splitlines())


def test_an_ignored_file_of_the_user_is_not_written_over(scaffold: Run, history: History, project: Path) -> None:
    append(".gitignore", "docs/\n")(project)
    commit(project)
    append("docs/notes.md", "secret\n")(project)
    new_version(history)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "docs/notes.md comes with the template, and you have a file of that name that git ignores" in result.err
    assert (project / "docs" / "notes.md").read_text() == "secret\n"
    assert git(project, "status", "--porcelain") == ""


# WHAT ELSE IS THE USER'S


def test_a_commit_made_while_the_question_waits_is_not_undone(history: History, project: Path) -> None:
    new_version(history)

    with opened(project) as work:
        merged = update(work)
        append("mine.py", "MINE = 1\n")(project)
        commit(project)
        with pytest.raises(Refused, match="the project has got another commit meanwhile"):
            apply(work, merged)

    assert (project / "mine.py").is_file()
    assert git(project, "log", "--format=%s").splitlines()[0] == "Edit"
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("conflict", [False, True])
def test_ctrl_c_while_the_files_change_comes_too_late(
    history: History, project: Path, tmp_path: Path, conflict: bool
) -> None:
    if conflict:
        append("p/engine/seed.py", "\nVALUE = 'mine'\n")(project)
        commit(project)
    new_version(history)
    # files take their time where they change
    slow = f"""
import os, pathlib, time
begun, real = pathlib.Path({str(tmp_path / "begun")!r}), os.replace
def replace(source, target):
    real(source, target)
    if str(target).startswith(os.getcwd()) and "/.git/" not in str(target) and not begun.exists():
        begun.touch()
        time.sleep(3)
os.replace = replace
from scaffold.cli import main
main(["update", "--yes"])
"""

    process = subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]

    assert process.returncode == (3 if conflict else 0), said
    assert ("1 conflict" if conflict else "Updated to v2.0.0") in said
    assert (project / "docs" / "notes.md").is_file()
    assert not (project / ".git" / "index.lock").exists()
    unmerged = git(project, "diff", "--name-only", "--diff-filter=U").split()
    assert unmerged == (["p/engine/seed.py"] if conflict else [])


def test_a_worktree_on_a_disk_that_is_away_is_not_forgotten(scaffold: Run, history: History, project: Path) -> None:
    side, away = project.parent / "side", project.parent / "away"
    git(project, "worktree", "add", "--quiet", "--detach", str(side))
    side.rename(away)
    new_version(history)

    for words in (["check"], ["update", "--check"], ["update", "--diff"], ["update"]):
        scaffold(*words)

    away.rename(side)
    assert git(side, "status", "--porcelain") == ""
    assert git(project, "worktree", "list").count("\n") == 2


@pytest.mark.parametrize("name", ["p", "a b", "^p", "_p"])  # some signs mean something to git
def test_what_to_type_after_a_conflict_leaves_the_rest_of_the_repository_alone(
    scaffold: Run, history: History, project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = project.parent / "a whole"
    shutil.rmtree(project / ".git")
    whole.mkdir()
    shutil.move(project, whole / name)
    append("thesis.tex", "one\n")(whole)
    append(f"{name}/p/engine/seed.py", "\nVALUE = 'mine'\n")(whole)
    git(whole, "init", "--quiet")
    commit(whole)
    before = tree(whole / name)
    append("thesis.tex", "two\n")(whole)
    new_version(history)
    monkeypatch.chdir(whole / name / "tests")

    result = scaffold("update", "--yes")
    again = scaffold("update", "--yes")

    assert result.code == again.code == 3
    assert "edit, then    git add -A -- " in result.err
    give_up = result.err.split("give up    ")[1].splitlines()[0]
    assert give_up in again.err
    subprocess.run(give_up, shell=True, check=True)
    assert tree(whole / name) == before
    assert git(whole, "status", "--porcelain") == " M thesis.tex\n"


def test_where_nothing_can_be_locked_it_works_all_the_same(
    scaffold: Run, history: History, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    new_version(history)
    monkeypatch.setattr("fcntl.flock", no_locks)

    assert scaffold("update", "--yes").code == 0
    assert scaffold("new", "../q", "--yes").code == 0
    assert sorted(path.name for path in project.parent.iterdir() if "partial" in path.name) == []


# WHAT IS REFUSED


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else_is_named_as_such(scaffold: Run, history: History, project: Path) -> None:
    for path in (project, project / ".git"):
        os.chown(path, 12345, 12345)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "git does not trust the repository, because it belongs to somebody else" in result.err
    assert "if you do   git config --global --add safe.directory " in result.err


@pytest.mark.parametrize("edit", [append("README.md", "mine\n"), append("notes.txt", "mine\n")], ids=["edit", "file"])
def test_a_tree_with_changes_is_refused_with_what_to_type(
    scaffold: Run, history: History, project: Path, edit: object
) -> None:
    new_version(history)
    assert callable(edit)
    edit(project)
    before = tree(project)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert 'git add -A && git commit -m "My changes"' in result.err
    assert "git stash --include-untracked" in result.err
    assert tree(project) == before


def test_a_project_without_a_commit_is_refused(scaffold: Run, history: History, project: Path) -> None:
    shutil.rmtree(project / ".git")

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert "git init && git add -A && git commit" in result.err


def test_without_git_it_says_so(
    scaffold: Run, history: History, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    result = scaffold("update", "--yes")

    assert result.code == 4
    assert "git was not found" in result.err


def test_a_folder_that_is_no_project_is_named(scaffold: Run, history: History, here: Path) -> None:
    result = scaffold("update", "--yes")

    assert result.code == 2
    assert "is in no project of torch-scaffold" in result.err


def test_there_is_no_way_back_to_an_older_version(scaffold: Run, history: History, project: Path) -> None:
    new_version(history)
    scaffold("update", "--yes")

    assert "v1.0.0 is older" in scaffold("update", "--yes", "--to", "1.0.0").err
    assert "there is   v1.0.0, v2.0.0" in scaffold("update", "--yes", "--to", "7").err


@pytest.mark.parametrize("by", ["branch", "commit", "short commit"])
def test_a_branch_or_a_commit_can_be_named(scaffold: Run, history: History, project: Path, by: str) -> None:
    append(SEED, "\n\nVALUE = 1\n")(history.folder)
    commit(history.folder)
    found = git(history.folder, "rev-parse", "HEAD").strip()
    named = {"branch": "main", "commit": found, "short commit": found[:8]}[by]

    assert scaffold("update", "--yes").err.startswith("The project is at v1.0.0")
    result = scaffold("update", "--yes", "--to", named)

    assert result.code == 0, result.err
    assert answers_of(project)["_commit"] == git(history.folder, "describe", "--tags", found).strip() != "v1.0.0"
    assert (project / "p" / "engine" / "seed.py").read_text().endswith("VALUE = 1\n")
    assert scaffold("update", "--yes", "--to", named).err.startswith("The project is at v1.0.0-1-g")
    assert "v1.0.0 is older than the project's v1.0.0-1-g" in scaffold("update", "--yes", "--to", "1.0.0").err
    history.release(append(SEED, "OTHER = 2\n"))
    assert scaffold("update", "--yes").code == 0
    assert answers_of(project)["_commit"] == "v2.0.0"


@pytest.mark.parametrize("named", ["elsewhere", "abcdef0", "-x", "v1.0.0-3-gabcdef0", "HEAD..main", "main\n"])
def test_what_is_no_version_of_the_template_is_told_with_those_there_are(
    scaffold: Run, history: History, project: Path, named: str
) -> None:
    before = tree(project)

    result = scaffold("update", "--yes", f"--to={named}")

    assert result.code == 2
    assert "the template has no version " in result.err
    assert "there is   v1.0.0" in result.err
    assert tree(project) == before


def test_an_identity_that_git_lacks_is_asked_for(
    scaffold: Run, history: History, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_version(history)
    before = tree(project)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)

    result = scaffold("update", "--yes")

    assert result.code == 3
    assert 'git config --global user.name "Your Name"' in result.err
    assert tree(project) == before


@pytest.mark.parametrize(("outcome", "code"), [("True", 0), ("False", 1)])
def test_quick_tests_run_afterwards_when_asked(
    scaffold: Run, history: History, project: Path, outcome: str, code: int
) -> None:
    shutil.rmtree(project / "tests")
    append("tests/test_mine.py", f"import pytest\n\n\n@pytest.mark.quick\ndef test_it():\n    assert {outcome}\n")(
        project
    )
    commit(project)
    history.release(append(SEED, "\n\nVALUE = 1\n"))

    result = scaffold("update", "--yes", "--test")

    assert result.code == code, result.err
    assert ("the update is done, and the quick tests of the project fail" in result.err) == (code == 1)
    assert answers_of(project)["_commit"] == "v2.0.0"
