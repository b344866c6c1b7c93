"""The command line itself: what loads, colours, exit codes, lists."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from scaffold import paths
from scaffold.cli import program
from scaffold.questions.answer_types import MODEL
from scaffold.questions.form import Form
from tests.conftest import Run

HEAVY = ["copier", "questionary", "prompt_toolkit", "jinja2", "rich", "torch", "yaml"]


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, scaffold.cli\n"
        f"try: scaffold.cli.main({words!r})\n"
        f"except SystemExit: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.timed
def test_help_is_there_at_once() -> None:
    def seconds(*words: str) -> float:
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], capture_output=True, check=True)
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds("-m", "scaffold", "--help") <= 8 * seconds("-c", "import site")


def test_every_question_has_a_flag(form: Form) -> None:
    names = [
        name
        for option in program.commands["new"].get_params(click.Context(program.commands["new"]))
        for name in option.opts
    ]

    assert [
        question.flag for question in form.questions.values() if not question.is_fact and question.flag not in names
    ] == []


def test_every_command_and_option_has_help() -> None:
    for command in program.commands.values():
        assert command.help
        for option in command.get_params(click.Context(command)):
            assert not isinstance(option, click.Option) or option.help, option.name


def test_help_tells_the_exit_codes(scaffold: Run) -> None:
    assert "130 cancelled" in scaffold("--help").out


def test_bare_scaffold_shows_the_help_where_nobody_can_be_asked(scaffold: Run, here: Path) -> None:
    result = scaffold()

    assert result == scaffold("--help")
    assert "Commands:\n  change" in result.out
    assert list(here.iterdir()) == []


@pytest.mark.figure("A12 commands", "streams that the caller has closed")
@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        ("", "<&- >&- 2>&-", 0),
        ("new p", "<&-", 2),
        ("new p", "2>&-", 2),
        ("new p --yes", "<&- >&- 2>&-", 0),
        ("new class", ">&- 2>&-", 2),
        ("list tasks", ">&-", 0),
        ("change", "<&- 2>&-", 2),
        ("nwe", "<&- >&-", 2),
    ],
)
def test_a_stream_that_the_caller_has_closed_is_no_traceback(here: Path, words: str, code: int, closed: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = f"{sys.executable} -m scaffold {words} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=environment)

    assert (done.returncode, "Traceback" in done.stderr + done.stdout) == (code, False), done.stderr
    assert (here / "p" / ".git" / "HEAD").is_file() == (words == "new p --yes")


@pytest.mark.figure("A12 commands", "sentences, and JSON of results and errors")
@pytest.mark.parametrize("words", ["check", "update", "update --check", "change", "change --scheduler step"])
def test_outside_a_project_the_command_that_was_typed_is_what_to_type(scaffold: Run, here: Path, words: str) -> None:
    result = scaffold("-C", str(here), *words.split())

    assert result.code == 2
    assert f" help: go to the folder of the project, or name it   scaffold -C FOLDER {words}\n" in result.err


@pytest.mark.figure("A12 commands", "sentences, and JSON of results and errors")
@pytest.mark.parametrize(
    "words", ["check", "new p --shceduler x", "new class --yes", "new p --yes --loss nope", "list x"]
)
def test_what_went_wrong_is_told_as_json_where_the_result_is(scaffold: Run, words: str) -> None:
    result, told = scaffold(*words.split()), scaffold(*words.split(), "--json")

    error = json.loads(told.out)["error"]
    assert result.err.startswith(f"error: {error['message']}\n")
    assert (error["exit_code"], told.code, result.out) == (2, 2, "")
    assert all(line in told.err for line in error["help"])


def test_an_unknown_flag_is_a_sentence_and_exit_2(scaffold: Run) -> None:
    result = scaffold("new", "p", "--shceduler", "step", "--yes")

    assert result.code == 2
    assert "error: No such option '--shceduler'" in result.err
    assert " help: scaffold new --help" in result.err
    assert result.err.endswith("Nothing was written.\n")


def test_an_unknown_command_is_a_sentence_and_exit_2(scaffold: Run) -> None:
    result = scaffold("nwe")

    assert result.code == 2
    assert result.err.startswith("error: No such command 'nwe'")


@pytest.mark.parametrize(
    ("environment", "words", "coloured"),
    [
        ({}, [], False),
        ({"FORCE_COLOR": "1"}, [], True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": "1"}, ["--color", "always"], True),
        ({"FORCE_COLOR": "1"}, ["--color", "never"], False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, [], False),
    ],
)
def test_colour_obeys(
    scaffold: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: list[str], coloured: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert ("\x1b[" in scaffold(*words, "new", "class", "--yes").err) == coloured


def test_general_options_go_before_or_after_the_command(scaffold: Run) -> None:
    before = scaffold("--color", "always", "new", "class", "--yes")

    assert before == scaffold("new", "class", "--yes", "--color", "always")


def test_c_works_in_another_folder(scaffold: Run, here: Path) -> None:
    (here / "inside").mkdir()

    result = scaffold("-C", "inside", "new", "p", "--yes", "--no-git", "-q")

    assert result.code == 0, result.err
    assert (here / "inside" / "p" / "README.md").is_file()
    assert scaffold("-C", "nowhere", "list").code == 2


def test_the_lists_name_everything(scaffold: Run, form: Form) -> None:
    everything = scaffold("list").out

    models = {line.split()[0] for line in scaffold("list", "models").out.splitlines()}
    for choice in MODEL.typed([choice for choice in form.questions["model"].values if choice != "torchvision"]):
        assert choice in models
    for preset in paths.presets():
        assert preset in scaffold("list", "presets").out
    for question in form.questions.values():
        assert question.is_fact or question.flag in everything


def test_the_groups_of_a_model_are_listed_with_their_layers(scaffold: Run) -> None:
    rows = {row["name"]: row for row in json.loads(scaffold("list", "groups", "resnet18", "--json").out)}

    assert rows["stem"]["layers"] == "conv1 bn1"
    assert rows["head"]["parameters"] == "5.1 K"
    assert {"layer4.1", "rest", "classifier"} <= set(rows)


@pytest.mark.parametrize("words", [("groups",), ("groups", "resnet81"), ("modles",), ("models", "resnet18")])
def test_a_list_that_is_not_there_is_refused(scaffold: Run, words: tuple[str, ...]) -> None:
    result = scaffold("list", *words)

    assert result.code == 2
    assert result.err.startswith("error: ")


def test_a_closed_pipe_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scaffold", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.close()

    assert process.communicate()[1] == ""
    assert process.returncode == 141  # as of a program that SIGPIPE ends


def test_without_a_home_everything_works(scaffold: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)

    assert scaffold("new", "p", "--yes", "--dry-run").code == 0


def test_a_full_disk_is_a_sentence(scaffold: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    result = scaffold("new", "p", "--yes", "--dry-run")

    assert (result.code, result.err) == (1, "error: No space left on device\n   at: /tmp\n")
    assert list(here.iterdir()) == []


def test_no_terminal_is_a_sentence(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scaffold", "new", "p", "--model", "cnn"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "CI"},
    )

    assert done.returncode == 2
    assert (
        "error: no terminal to ask questions in, and these have no answer: --task, --data, --loss, --weights"
        in done.stderr
    )
    assert "scaffold new p --yes" in done.stderr
    assert list(here.iterdir()) == []


def test_a_folder_that_is_gone_is_a_sentence(scaffold: Run, here: Path) -> None:
    here.rmdir()

    result = scaffold("list", "models")

    assert result.code == 2
    assert "error: the folder you are in is gone" in result.err


def test_the_groups_of_a_model_that_is_not_ours_are_told_by_inspect(scaffold: Run) -> None:
    result = scaffold("list", "groups", "timm:test_resnet")

    assert result.code == 2
    assert "did you mean" not in result.err
    assert "scaffold inspect timm:test_resnet" in result.err
