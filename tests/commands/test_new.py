"""`scaffold new` without questions: flags, presets, answer files, previews, refusals."""

import json
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaffold import __version__, paths
from tests.conftest import Run, tree


def recorded(project: Path) -> dict[str, Any]:
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return answers


def test_yes_makes_a_project_with_a_first_commit(scaffold: Run, here: Path) -> None:
    result = scaffold("new", "my-project", "--yes")

    assert result.code == 0, result.err
    assert (here / "my-project" / "my_project" / "train.py").is_file()
    log = subprocess.check_output(["git", "log", "--format=%s"], cwd="my-project", text=True)
    status = subprocess.check_output(["git", "status", "--porcelain"], cwd="my-project", text=True)
    assert log == f"Start from torch-scaffold {__version__}\n"
    assert status == ""
    assert [path.name for path in here.iterdir()] == ["my-project"]
    for line in ("cd my-project", "python -m my_project.train", "scaffold new my-project --yes"):
        assert line in result.err


def test_no_git_makes_no_repository(scaffold: Run, here: Path) -> None:
    scaffold("new", "p", "--yes", "--no-git")

    assert not (here / "p" / ".git").exists()


def test_without_an_identity_there_is_a_repository_and_a_note(
    scaffold: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in ("EMAIL", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)

    result = scaffold("new", "p", "--yes")

    assert result.code == 0
    assert (here / "p" / ".git").is_dir()
    assert 'git add -A && git commit -m "Start"' in result.err


@pytest.mark.parametrize("is_there", [False, True])
def test_without_a_git_that_can_be_run_there_is_a_note(
    scaffold: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path) if is_there else "")
    (tmp_path / "git").touch(mode=0o644)

    result = scaffold("new", "p", "--yes")

    assert result.code == 0, result.err
    assert "note: git was not found" in result.err
    assert (here / "p" / "README.md").is_file()


def test_a_git_hook_that_calls_us_keeps_its_own_repository(
    scaffold: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", "outer"], check=True)
    monkeypatch.setenv("GIT_DIR", str(here / "outer" / ".git"))
    before = sorted((here / "outer").rglob("*"))

    assert scaffold("new", "p", "--yes").code == 0
    assert sorted((here / "outer").rglob("*")) == before
    assert (here / "p" / ".git").is_dir()


def test_inside_a_repository_there_is_no_second_one_unless_asked_for(scaffold: Run, here: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    Path(".gitignore").write_text("scratch\n")
    Path("scratch").mkdir()

    inside = scaffold("new", "p", "--yes")

    assert inside.code == 0
    assert f"note: it lies in the repository {here}, so it has none of its own (--git makes one)" in inside.err
    assert not (here / "p" / ".git").exists()
    assert scaffold("new", "q", "--yes", "--git").code == 0
    assert (here / "q" / ".git").is_dir()
    assert scaffold("new", "scratch/p", "--yes").code == 0
    assert (here / "scratch" / "p" / ".git").is_dir()


def test_several_processes_are_started_by_torchrun(scaffold: Run) -> None:
    assert "torchrun --nproc-per-node 2 -m p.train" in scaffold("new", "p", "--distributed", "ddp", "--yes").err


def test_flags_are_recorded_as_answers(scaffold: Run, here: Path) -> None:
    scaffold(
        *("new", "p", "--yes", "--no-git", "--model", "resnet18", "--weights", "imagenet", "--scheduler", "multistep"),
        *("--group", "backbone=0.1", "--group", "head=1", "--loss", "cross_entropy=1", "--loss", "triplet=0.5"),
        *("--distributed", "ddp", "--lr", "1e-3", "--warmup", "5", "--ema", "--ci", "github", "--license", "mit"),
    )

    answers = recorded(here / "p")
    assert answers["layer_groups"] == [
        {"name": "backbone", "layers": ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"], "lr": 0.1},
        {"name": "head", "layers": ["fc"], "lr": 1.0},
    ]
    assert answers["losses"] == [{"name": "cross_entropy", "weight": 1.0}, {"name": "triplet", "weight": 0.5}]
    assert (answers["groups_from"], answers["lr"], answers["warmup"], answers["ema"]) == ("own", 0.001, 5, True)


def test_one_quoted_line_of_groups_is_as_good_as_many_flags(scaffold: Run, here: Path) -> None:
    scaffold("new", "a/../p", "--yes", "--no-git", "--group", "stem=0.01 backbone=0.1", "--group", "head=1")

    assert [group["name"] for group in recorded(here / "p")["layer_groups"]] == ["stem", "backbone", "head"]


def test_ones_own_model_is_named_by_model(scaffold: Run, here: Path) -> None:
    scaffold("new", "p", "--yes", "--no-git", "--model", "my.nets:UNet", "--group", "enc=0.1")

    answers = recorded(here / "p")
    assert (answers["model"], answers["model_class"]) == ("own", "my.nets:UNet")
    assert answers["layer_groups"][-1] == {"name": "rest", "layers": ["rest"], "lr": 1.0}


def test_the_folder_names_the_project_unless_name_does(scaffold: Run, here: Path) -> None:
    scaffold("new", "My.Net-2", "--yes", "--no-git")
    scaffold("new", "other", "--name", "Deep Thing", "--yes", "--no-git")
    scaffold("new", "third", "--package", "pkg", "--yes", "--no-git")

    assert (recorded(here / "My.Net-2")["project_name"], (here / "My.Net-2" / "my_net_2").is_dir()) == (
        "My.Net-2",
        True,
    )
    assert (recorded(here / "other")["project_name"], (here / "other" / "deep_thing").is_dir()) == ("Deep Thing", True)
    assert (here / "third" / "pkg").is_dir()


@pytest.mark.parametrize("preset", paths.presets())
def test_every_preset_makes_a_project(scaffold: Run, here: Path, preset: str) -> None:
    result = scaffold("new", "p", "--preset", preset, "--yes", "--no-git")

    assert result.code == 0, result.err


def test_flags_go_over_the_file_and_the_file_over_the_preset(scaffold: Run, here: Path) -> None:
    Path("mine.yml").write_text("model: resnet34\nscheduler: step\n")

    scaffold(
        *("new", "p", "--yes", "--no-git", "--preset", "image-classifier"),
        *("--answers", "mine.yml", "--scheduler", "cosine"),
    )

    answers = recorded(here / "p")
    assert (answers["model"], answers["scheduler"], answers["weights"]) == ("resnet34", "cosine", "imagenet")


def test_the_answers_of_a_project_make_it_again_under_another_name(scaffold: Run, here: Path) -> None:
    words = ("--model", "resnet18", "--weights", "imagenet", "--loss", "cross_entropy", "--loss", "triplet=0.5")
    scaffold("new", "first", *words, "--yes", "--no-git")

    scaffold("new", "second", "--answers", "first/.copier-answers.yml", "--model", "resnet50", "--yes", "--no-git")
    scaffold("new", "third", *words, "--model", "resnet50", "--yes", "--no-git")

    second, third = recorded(here / "second"), recorded(here / "third")
    assert second | {"project_name": "", "package_name": ""} == third | {"project_name": "", "package_name": ""}
    assert (second["project_name"], second["package_name"]) == ("second", "second")


def test_groups_of_ones_own_in_a_file_give_way_to_a_strategy(scaffold: Run, here: Path) -> None:
    Path("mine.yml").write_text("layer_groups: [backbone=0.5, head=1]\n")

    scaffold("new", "a", "--answers", "mine.yml", "--yes", "--no-git")
    scaffold("new", "b", "--answers", "mine.yml", "--groups-from", "freeze", "--yes", "--no-git")

    assert [group["lr"] for group in recorded(here / "a")["layer_groups"]] == [0.5, 1.0]
    assert [group["lr"] for group in recorded(here / "b")["layer_groups"]] == [0.0, 1.0]


COMMANDS = [
    ["--preset", "retrieval"],
    ["--model", "my.nets:UNet", "--weights", "file", "--weights-skip", "out", "--group", "enc=freeze", "--no-ema"],
    ["--task", "metric_learning", "--model", "vit", "--groups-from", "gradual", "--name", "Deep Thing", "--lr", "1e-7"],
    ["--group", "layer:conv1+conv2=0.25", "--group", "rest=2", "--package", "other", "--ema", "--clip", "0.5"],
    ["--model", "resnet18", "--weights", "file", "--weights-skip", "none", "--weights-file", 'a b\'s "é".pt'],
    ["--model", "resnet34", "--group", "layer4.1=freeze", "--group", "layer4=0.5", "--loss", "mse=0.25"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_printed_command_and_the_readmes_make_the_same_bytes(scaffold: Run, here: Path, words: list[str]) -> None:
    first = json.loads(scaffold("new", "p", *words, "--yes", "--no-git", "--json").out)
    (here / "p").rename("first")
    readme = (here / "first" / "README.md").read_text().splitlines()
    long = next(line for line in readme if line.startswith("scaffold new "))

    for command in (shlex.split(first["command"])[1:], ["new", "p", *shlex.split(long)[3:]]):
        again = scaffold(*command, "--no-git")

        assert again.code == 0, again.err
        assert tree(here / "p") == tree(here / "first"), command
        shutil.rmtree("p")


def test_a_dry_run_shows_the_tree_and_writes_nothing(scaffold: Run, here: Path) -> None:
    result = scaffold("new", "p", "--dry-run", "--yes")

    assert result.code == 0
    assert "  + p/train.py" in result.out
    assert "files. Nothing was written." in result.out
    assert list(here.iterdir()) == []


def test_show_prints_one_file_as_it_would_be(scaffold: Run, here: Path) -> None:
    shown = scaffold("new", "p", "--show", "p/train.py", "--yes").out
    scaffold("new", "p", "--yes", "--no-git")

    assert shown.encode() == (here / "p" / "p" / "train.py").read_bytes()
    assert "did you mean 'q/train.py'?" in scaffold("new", "q", "--show", "q/trian.py", "--yes").err


def test_json_tells_the_result(scaffold: Run, here: Path) -> None:
    result = json.loads(scaffold("new", "p", "--yes", "--json").out)

    assert result["path"] == str(here / "p")
    assert result["files"] == sorted(tree(here / "p"))
    assert result["answers"]["model"] == "cnn"
    assert result["command"] == "scaffold new p --yes"
    assert result["next"][0] == "cd p"


REFUSALS = [
    (["--model", "resnet81"], "error: '--model' has no 'resnet81'; did you mean 'resnet18'?\n   at: --model\n help: "),
    (["--weights", "imagenet"], "there are no ImageNet weights for cnn"),
    (["--groups-from", "own"], "--groups-from own needs the groups"),
    (["--groups-from", "scratch", "--group", "head=1"], "contradict each other"),
    (["--group", "head=1", "--group", "head=0.5"], "group 'head' is given twice: head=1 and head=0.5"),
    (["--group", "backbone=-0.1"], "the multiplier in 'backbone=-0.1' is negative"),
    (["--group", "backbone=inf"], "is not a number"),
    (["--group", "backbone=0.1,head=1"], "one --group for each, as in   --group backbone=0.1"),
    (["--loss", "cross_entrpy"], "there is no loss 'cross_entrpy'; did you mean 'cross_entropy'?"),
    (["--loss", "cross_entropy=0"], "the weight in 'cross_entropy=0' is not a number above 0"),
    (["--loss", "cross_entropy=-1"], "is not a number above 0"),
    (["--loss", "cross_entropy=inf"], "is not a number above 0"),
    (["--loss", "mse", "--loss", "mse=2"], "loss 'mse' is given twice"),
    (["--loss", "triplet"], "classification needs a loss on the scores"),
    (["--task", "metric_learning", "--group", "head=1"], "this project has no head"),
    (["--lr", "0"], "the learning rate must be a number above 0\n   at: --lr\n help: for example   --lr 0.002"),
    (["--lr", "fast"], "'fast' is not a number"),
    (["--lr", "inf"], "is not a number"),
    (["--warmup", "1.5"], "1.5 is not a whole number"),
    (["--warmup", "-1"], "warm-up is a whole number"),
    (["--weights-file", "x.pt"], "--weights-file has no use with these answers"),
    (["--task", "language_model", "--model", "my.net:Net"], "--task language_model has one of its own"),
    (["--weights-file", "x.pt"], "it goes with   --weights file"),
    (["--weights", "file", "--weights-file", "a\x1bb"], "it has characters that cannot be printed"),
    (["--weights", "file", "--weights-file", "${{ secrets }}"], "template engines"),
    (["--weights", "file", "--weights-skip", "hed"], "did you mean 'head'?"),
    (["--model", "a.b:class"], "has a Python keyword in it"),
    (["--model", "a b:C"], "does not name a class"),
    (["--package", "torch"], "'torch' cannot be a Python package: it is a package that the project imports"),
    (["--preset", "digit"], "there is no preset 'digit'; did you mean 'digits'?"),
    (["--answers", "nowhere.yml"], "cannot be read: No such file"),
]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
)
HEAVY = {
    "references that multiply": (BOMB, "it has a YAML anchor"),
    "a long comment": ("optimizer: sgd\n#" + "x" * 20_000_000, "it is too long"),
    "many comments": ("optimizer: sgd\n" + "# x\n" * 5_000_000, "it is too long"),
    "deep brackets": ("optimizer: " + "[" * 60_000, "its brackets are too deep"),
    "deep lines": ("optimizer:\n  " + "- " * 30_000, "it is not YAML"),
}


@pytest.mark.figure("C5 words and ways out", "answer files that would take long: references, comments, brackets")
@pytest.mark.parametrize("kind", HEAVY)
def test_a_file_of_answers_that_would_take_long_is_refused_at_once(scaffold: Run, here: Path, kind: str) -> None:
    text, sentence = HEAVY[kind]
    (here / "heavy.yml").write_text(text)
    scaffold("new", "--help")  # so that all is loaded
    began = time.process_time()

    result = scaffold("new", "p", "--yes", "--answers", "heavy.yml")

    assert time.process_time() - began < 2
    assert result.code == 2
    assert f"the answers in heavy.yml cannot be read: {sentence}" in result.err


@pytest.mark.parametrize(("words", "sentence"), REFUSALS)
def test_a_bad_answer_is_one_sentence_and_nothing_is_written(
    scaffold: Run, here: Path, words: list[str], sentence: str
) -> None:
    result = scaffold("new", "p", *words, "--yes")

    assert result.code == 2
    assert sentence in result.err
    assert result.err.startswith("error: ")
    assert "\n help: " in result.err
    assert result.err.endswith("Nothing was written.\n")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "class",
        "match",
        "random",
        "types",
        "torch",
        "numpy",
        "tests",
        "run",
        "data",
        "con",
        "NUL",
        "aux",
        "123",
        "-rf",
        "é",
        "ﬁle",
        "x\ny",
        'a"b',
        "{{ x }}",
        "${{ x }}",
        "a" * 51,
        "..x",
        "x.",
        "🎉",
    ],
)
def test_a_name_that_python_or_windows_would_stumble_over_is_refused(scaffold: Run, here: Path, name: str) -> None:
    result = scaffold("new", "--yes", "--", name)

    assert result.code == 2
    assert "cannot be a" in result.err
    assert "at: PATH" in result.err
    assert list(here.iterdir()) == []


@pytest.mark.figure("A12 commands", "names that cannot be")
@pytest.mark.parametrize(
    "name", ["class", "3d", "torch", "tests", "con", "json", "Übung", "-", "x" * 60, "a b/3 d", "p."]
)
def test_what_is_proposed_for_a_name_that_cannot_be_makes_a_project(scaffold: Run, here: Path, name: str) -> None:
    (here / "a b").mkdir()
    asked, refused = scaffold("new", "--", name), scaffold("new", "--yes", "--", name)

    assert (asked.code, refused.code) == (2, 2)
    assert asked.err.partition(" help:")[0] == refused.err.partition(" help:")[0]
    words = shlex.split(re.search(r"name the project:   scaffold (.*)", refused.err)[1])  # type: ignore[index]  # a miss fails
    assert words[-1] == "--yes"
    assert f"scaffold {shlex.join(words[:-1])}\n" in asked.err
    made = scaffold(*words, "--no-git")
    assert made.code == 0, made.err
    assert (here / name / "README.md").is_file()


def test_a_refused_name_is_printed_without_its_escapes(scaffold: Run) -> None:
    assert "\x1b" not in scaffold("new", "a\x1b[31mb\u202e", "--yes").err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("- a\n", "holds no answers"),
        ("a: [", "it is not YAML"),
        ("modle: cnn\n", "there is no question 'modle'; did you mean 'model'?"),
        ("model: [cnn]\n", "is not a text"),
        ("warmup: 2.5\n", "2.5 is not a whole number"),
        ("warmup: true\n", "is not a number"),
        ("ema: maybe\n", "'maybe' is neither yes nor no"),
        ("lr: .inf\n", "is not a number"),
        ("lr: 2026-13-45\n", "it is not YAML"),
        (f"warmup: 1{400 * '0'}\n", "is not a number"),
        ("losses: [{name: cross_entropy, weight: 1.0, 3: 4}]\n", "cannot be an answer"),
        ("losses: [{name: mse, weight: 1}]\n", "must be a number with a point"),
        ("losses: 3\n", "the losses are a list"),
        ("layer_groups: [{name: a, layers: [nope], lr: 1.0}]\n", "the model has no layer 'nope'"),
        ("reserved: {}\n", "there is no question 'reserved'"),
        ("model_facts: {}\n", "there is no question 'model_facts'"),
        ("!!python/object/apply:os.system [touch pwned]\n", "it has a YAML tag"),
    ],
)
def test_a_bad_file_of_answers_is_one_sentence(scaffold: Run, here: Path, content: str, sentence: str) -> None:
    Path("bad.yml").write_text(content)

    result = scaffold("new", "p", "--answers", "bad.yml", "--yes")

    assert result.code == 2
    assert sentence in result.err
    assert "bad.yml" in result.err
    assert [path.name for path in here.iterdir()] == ["bad.yml"]


def test_yes_without_a_folder_is_refused(scaffold: Run) -> None:
    assert "scaffold new my-project --yes" in scaffold("new", "--yes").err
