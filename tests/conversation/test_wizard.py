"""The conversation, in a real terminal: what a person types, what they see, what is made."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml

from scaffold.paths import presets
from scaffold.questions.form import Form
from tests.conftest import Run, tree
from tests.updates.updating import History, history

__all__ = ["history"]  # a fixture

UP, DOWN, BACK, CLEAR, ENTER, CTRL_C = "\x1b[A", "\x1b[B", "\x1b[Z", "\x15", "\r", "\x03"
# what the program asks the terminal, and what a terminal answers: where the cursor is
ASKS_FOR_CURSOR, CURSOR = r"\x1b\[6n", "\x1b[20;1R"
Start = Callable[..., "Terminal"]


def to_preset(name: str) -> list[str]:
    """The keys that choose a preset."""
    return [DOWN] * [*presets()].index(name) + [ENTER]


class Terminal:
    """A pseudo-terminal with a command in it."""

    def __init__(self, words: list[str], columns: int, environment: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "LC_ALL")}
        self.child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable,
            ["-m", "scaffold", *filter(None, words)],
            dimensions=(40, columns),
            env={**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
            encoding="utf-8",
            timeout=120,
        )
        self.shown = ""

    def see(self, text: str) -> None:
        """Wait until this is on the screen."""
        while self.child.expect([ASKS_FOR_CURSOR, re.escape(text)]) == 0:
            self.shown += str(self.child.before)
            self.child.send(CURSOR)
        self.shown += str(self.child.before) + str(self.child.after)

    def type(self, *keys: str) -> None:
        """Press these keys."""
        for key in keys:
            self.child.send(key)

    def answer(self, question: str, *keys: str) -> None:
        """Wait for a question and press these keys."""
        self.see(question)
        self.type(*keys)

    def end(self) -> int:
        """Wait for the end: the exit code."""
        while self.child.expect([ASKS_FOR_CURSOR, pexpect.EOF]) == 0:
            self.shown += str(self.child.before)
            self.child.send(CURSOR)
        self.shown += str(self.child.before)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)


@pytest.fixture
def start() -> Iterator[Start]:
    """`scaffold new WORDS...`, or another command, in a terminal."""
    begun: list[Terminal] = []

    def run(*words: str, command: str = "new", columns: int = 100, **environment: str) -> Terminal:
        begun.append(Terminal([command, *words], columns, environment))
        return begun[-1]

    yield run
    for terminal in begun:
        terminal.child.close(force=True)


def recorded(project: Path) -> dict[str, Any]:
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return answers


REST = [
    "Which optimizer",
    "Learning rate",
    "How does the learning rate",
    "Epochs of linear warm-up",
    "Largest norm",
    "In how many parts",
    "Keep a moving average",
    "On how many devices",
    "Which precision",
    "Where should the curves go",
    "Continuous integration",
    "Licence",
]
ALL = [
    "Name of the project",
    "What should the model learn",
    "What are the data",
    "Which losses",
    "Which model",
    "Which weights",
    "How fast should the layers learn",
    *REST,
]


def test_two_enters_make_the_recommended_project(start: Start, here: Path) -> None:
    terminal = start()
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project? (nothing has been written yet)", ENTER)

    assert terminal.end() == 0
    assert "scaffold new my-project --yes" in terminal.shown
    assert recorded(here / "my-project")["model"] == "cnn"


def test_enter_through_every_question_gives_the_defaults(start: Start, here: Path) -> None:
    terminal = start("p")
    terminal.answer("How do you want to start?", UP, ENTER)
    for question in ALL[1:]:
        terminal.answer(question, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert "scaffold new p --yes" in terminal.shown


def test_groups_are_chosen_in_a_line_with_a_table_below(start: Start, here: Path) -> None:
    terminal = start(
        "p", "--model", "resnet18", "--task", "classification", "--data", "folders", "--loss", "cross_entropy"
    )
    terminal.answer("How do you want to start?", UP, ENTER)
    terminal.answer("Which weights", DOWN, ENTER)
    terminal.see("How fast should the layers learn")
    terminal.see("backbone ×0.1 (11.2 M)  head ×1 (5.1 K)")
    terminal.type(UP, ENTER)
    terminal.answer("Layer groups", CLEAR, "stm=0.01 head=1")
    terminal.see("did you mean 'stem'?")
    terminal.type(ENTER, CLEAR, "lay", "\t")
    terminal.see("layer4")
    terminal.type(CLEAR, "layer4=0.3 backbone=0.1 head=1")
    terminal.see("75.1 %")
    terminal.type(ENTER)
    for question in REST:
        terminal.answer(question, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert "--group layer4=0.3 --group backbone=0.1 --group head=1 --yes" in terminal.shown
    assert [group["lr"] for group in recorded(here / "p")["layer_groups"]] == [0.3, 0.1, 1.0]


def test_several_losses_are_asked_for_their_weights(start: Start, here: Path) -> None:
    terminal = start("p")
    terminal.answer("How do you want to start?", UP, ENTER)
    terminal.answer("What should the model learn", ENTER)
    terminal.answer("What are the data", ENTER)
    terminal.answer("Which losses", DOWN, DOWN, " ", ENTER)
    terminal.answer("With which weights", CLEAR, "cross_entropy=1 triplet=0.5", ENTER)
    terminal.see("cross_entropy=1 triplet=0.5")
    for question in ALL[4:]:
        terminal.answer(question, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert recorded(here / "p")["losses"] == [
        {"name": "cross_entropy", "weight": 1.0},
        {"name": "triplet", "weight": 0.5},
    ]


def test_shift_tab_goes_back_twice_with_the_old_answers(start: Start, here: Path) -> None:
    terminal = start("p", "--task", "classification", "--data", "folders", "--loss", "cross_entropy")
    terminal.answer("How do you want to start?", UP, ENTER)
    terminal.answer("Which model", DOWN, ENTER)
    terminal.answer("Which weights", DOWN, ENTER)
    terminal.answer("How fast", BACK)
    terminal.answer("Which weights", BACK)
    terminal.answer("Which model", DOWN, ENTER)  # from resnet18, the old answer, to resnet34
    terminal.answer("Which weights", ENTER)  # imagenet, the old answer
    for question in ALL[6:]:
        terminal.answer(question, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    answers = recorded(here / "p")
    assert (answers["model"], answers["weights"], answers["groups_from"]) == ("resnet34", "imagenet", "fine-tune")


def test_shift_tab_at_the_first_question_goes_back_to_the_start(start: Start) -> None:
    terminal = start()
    terminal.answer("How do you want to start?", UP, ENTER)
    terminal.answer("Name of the project", BACK)
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0


def test_a_preset_is_chosen_and_an_answer_changed(start: Start, here: Path) -> None:
    terminal = start("p")
    terminal.answer("How do you want to start?", DOWN, ENTER)
    terminal.see("Which preset?")
    terminal.answer("image-classifier", *to_preset("image-classifier"))
    terminal.answer("Create the project?", DOWN, ENTER)
    terminal.see("p/train.py")
    terminal.answer("Create the project?", DOWN, DOWN, ENTER)
    terminal.answer("Which answer?", *[DOWN] * 3, ENTER)
    terminal.answer("Which model?", DOWN, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    answers = recorded(here / "p")
    assert (answers["model"], answers["weights"], answers["optimizer"]) == ("resnet34", "imagenet", "sgd")


@pytest.mark.figure("A12 commands", "a terminal: bare scaffold, and back from a preset")
@pytest.mark.parametrize("how", ["recommended", "everything", "preset"])
def test_an_answer_of_a_preset_that_was_gone_back_from_is_gone(start: Start, here: Path, how: str) -> None:
    terminal = start("p", "--clip", "1.0")
    terminal.answer("How do you want to start?", DOWN, ENTER)
    terminal.see("Which preset?")
    terminal.answer("image-classifier", *to_preset("image-classifier"))
    terminal.answer("Create the project?", BACK)
    terminal.answer("How do you want to start?", *{"recommended": [], "everything": [UP], "preset": [DOWN]}[how], ENTER)
    if how == "everything":
        for question in ALL[1:]:
            if question != "Largest norm":
                terminal.answer(question, ENTER)
    if how == "preset":
        terminal.answer("Which preset?", *to_preset("digits"))
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    answers = recorded(here / "p")
    assert (answers["model"], answers["weights"], answers["clip"]) == ("cnn", "none", 1.0)


@pytest.mark.figure("A12 commands", "a terminal: bare scaffold, and back from a preset")
@pytest.mark.parametrize("how", [{}, {"columns": 50}, {"ACCESSIBLE": "1"}])
def test_bare_scaffold_greets_and_starts_the_conversation(start: Start, here: Path, how: dict[str, Any]) -> None:
    terminal = start(command="", **how)
    terminal.see("Hello!")
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert "Usage" not in terminal.shown
    assert recorded(here / "my-project")["model"] == "cnn"


@pytest.mark.figure("A12 commands", "names that cannot be")
@pytest.mark.parametrize("words", [["class"], ["3d"], ["p", "--package", "torch"], ["--package", "class"]])
def test_a_name_that_was_typed_and_cannot_be_is_refused_before_the_first_question(
    start: Start, here: Path, words: list[str]
) -> None:
    terminal = start(*words)

    assert terminal.end() == 2
    assert "How do you want to start?" not in terminal.shown
    assert " help:" in terminal.shown
    assert list(here.iterdir()) == []


def test_a_change_that_another_answer_cannot_stand_drops_that_answer(start: Start, here: Path) -> None:
    terminal = start("p", "--preset", "image-classifier")
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", DOWN, DOWN, ENTER)
    terminal.answer("Which answer?", *[DOWN] * 3, ENTER)
    terminal.answer("Which model?", UP, ENTER)  # cnn, which has no weights of ImageNet
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert (recorded(here / "p")["model"], recorded(here / "p")["weights"]) == ("cnn", "none")


@pytest.mark.parametrize("then", ["back", "own, back", "own, enter"])
def test_groups_that_were_given_are_not_lost_by_looking_at_them(start: Start, here: Path, then: str) -> None:
    terminal = start("p", "--model", "resnet18", "--group", "backbone=0.1", "--group", "head=1")
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", DOWN, DOWN, ENTER)
    terminal.answer("Which answer?", *[DOWN] * 5, ENTER)
    terminal.see("How fast should the layers learn")
    if then == "back":
        terminal.type(BACK)
    else:
        terminal.type(ENTER)  # own, as it was
        terminal.answer("Layer groups:", ENTER if then == "own, enter" else BACK)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert [(group["name"], group["lr"]) for group in recorded(here / "p")["layer_groups"]] == [
        ("backbone", 0.1),
        ("head", 1.0),
    ]


def test_a_model_of_ones_own_stays_with_a_preset(start: Start, here: Path) -> None:
    terminal = start("p", "--model", "my.net:Net")
    terminal.answer("How do you want to start?", DOWN, ENTER)
    terminal.answer("Which preset?", *to_preset("digits"))
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert recorded(here / "p")["model_class"] == "my.net:Net"


@pytest.mark.parametrize("where", ["How do you want to start?", "Which model", "Create the project?"])
def test_ctrl_c_leaves_nothing(start: Start, here: Path, where: str) -> None:
    terminal = start("p", "--task", "classification", "--data", "folders", "--loss", "cross_entropy")
    if where == "Which model":
        terminal.answer("How do you want to start?", UP, ENTER)
    elif where == "Create the project?":
        terminal.answer("How do you want to start?", ENTER)
    terminal.answer(where, CTRL_C)

    assert terminal.end() == 130
    assert "Cancelled. Nothing was written." in terminal.shown
    assert list(here.iterdir()) == []


def test_cancel_leaves_nothing(start: Start, here: Path) -> None:
    terminal = start("p")
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", UP, ENTER)

    assert terminal.end() == 130
    assert list(here.iterdir()) == []


def test_a_name_that_cannot_be_is_refused_at_once(start: Start, here: Path) -> None:
    (here / "taken").mkdir()
    (here / "taken" / "mine").write_text("mine")
    terminal = start()
    terminal.answer("How do you want to start?", UP, ENTER)
    terminal.answer("Name of the project", CLEAR, "torch", ENTER)
    terminal.see("'torch' cannot be a Python package")
    terminal.type(CLEAR, "taken", ENTER)
    terminal.see("./taken has 1 file (mine)")
    terminal.type(CTRL_C)

    assert terminal.end() == 130


def test_fifty_columns_are_enough(start: Start, here: Path) -> None:
    terminal = start("p", columns=50)
    terminal.answer("How do you want to start?", UP, ENTER)
    for question in ALL[1:]:
        terminal.answer(question[:25], ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0


def test_no_color_shows_no_colour(start: Start) -> None:
    terminal = start("p", NO_COLOR="1")
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert re.findall(r"\x1b\[[0-9;]*?(?:3[0-7]|9[0-7]|38;[0-9;]+)m", terminal.shown) == []


def test_a_terminal_of_ascii_gets_ascii(start: Start, here: Path) -> None:
    terminal = start("p", LC_ALL="C")
    terminal.answer("How do you want to start?", UP, ENTER)
    for question in ALL[1:]:
        terminal.answer(question, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert terminal.shown.isascii()
    assert "??" not in terminal.shown


@pytest.mark.parametrize("how", [{"ACCESSIBLE": "1"}, {"TERM": "dumb"}])
def test_plain_mode_asks_line_by_line(start: Start, here: Path, how: dict[str, str]) -> None:
    terminal = start("p", **how)
    terminal.answer("How do you want to start?", "everything", ENTER)
    terminal.see("There is no 'everything'")
    terminal.type("3", ENTER)
    terminal.answer("What should the model learn?", ENTER)
    terminal.answer("What are the data?", ENTER)
    terminal.answer("Which losses", "1 3", ENTER)
    terminal.answer("With which weights", "cross_entropy=1 triplet=0", ENTER)
    terminal.see("is not a number above 0")
    terminal.type("cross_entropy=1 triplet=0.5", ENTER)
    terminal.answer("Which model?", "resnet18", ENTER)
    terminal.answer("Which weights", "<", ENTER)
    terminal.answer("Which model?", "vit", ENTER)
    terminal.answer("Which weights", "imagenet", ENTER)
    terminal.see("there are no ImageNet weights for")
    terminal.type(ENTER)
    terminal.answer("How fast", "own", ENTER)
    terminal.answer("Layer groups", "head=2", ENTER)
    for question in REST:
        terminal.answer(question, ENTER)
    terminal.answer("Create the project?", ENTER)

    assert terminal.end() == 0
    assert "\x1b[" not in terminal.shown
    assert recorded(here / "p")["layer_groups"][0] == {"name": "head", "layers": ["head"], "lr": 2.0}


def test_plain_mode_ends_with_its_input(start: Start, here: Path) -> None:
    terminal = start("p", "--plain")
    terminal.answer("How do you want to start?", "\x04")

    assert terminal.end() == 130
    assert list(here.iterdir()) == []


def test_the_conversation_gives_what_its_command_gives(start: Start, here: Path) -> None:
    terminal = start("p", "--preset", "retrieval")
    terminal.answer("How do you want to start?", ENTER)
    terminal.answer("Create the project?", ENTER)
    assert terminal.end() == 0
    (here / "p").rename("first")

    again = start("p", "--preset", "retrieval", "--yes")

    assert again.end() == 0
    assert tree(here / "p") == tree(here / "first")


@pytest.mark.timed
def test_the_first_question_is_there_at_once(start: Start) -> None:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        start("p").see("How do you want to start?")
        times.append(time.perf_counter() - begin)

    assert min(times) < 0.75  # 250 ms of work on a machine of its own; this one may be shared


def test_nothing_slow_is_loaded_before_the_first_question() -> None:
    """The first question needs questionary and the questions; Copier, Jinja and rich wait."""
    import subprocess

    code = (
        "import sys, scaffold.conversation.wizard, scaffold.conversation.prompts\n"
        "from scaffold import paths\n"
        "from scaffold.conversation import terminal, wizard\n"
        "from scaffold.questions import answers\n"
        "from scaffold.questions.form import Form\n"
        "form = Form(paths.template_root())\n"
        "wizard.select = lambda *_: sys.exit(str([n for n in ('copier', 'jinja2', 'rich', 'torch') if n in sys.modules]))\n"
        "wizard._start(wizard.Talk(form, terminal.look(colour=False, plain=False), None, answers.Given(), 'p'))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == "[]"


def test_a_change_without_flags_asks_again_and_proposes_what_is(
    start: Start, form: Form, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": "resnet18", "groups_from": "own", "layer_groups": "backbone=0.25 head=1", "lr": 0.125}
    project = history.make(here / "p", "v1.0.0", form.recorded(form.fill({**given, "project_name": "p"}, "p")))
    monkeypatch.chdir(project)
    before = recorded(project)

    terminal = start(command="change")
    for question in ALL[1:]:
        terminal.answer(question, *([DOWN] if question == "Which optimizer" else []), ENTER)
        if question == "How fast should the layers learn":
            terminal.answer("backbone=0.25 head=1", ENTER)
    terminal.answer("Apply? (Y/n/d=diff)", ENTER)

    assert terminal.end() == 0, terminal.shown
    assert recorded(project) == {**before, "optimizer": "sgd"}


def test_a_change_without_flags_needs_somebody_to_ask(
    scaffold: Run, history: History, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(history.make(here / "p", "v1.0.0"))

    result = scaffold("change", "--no-input")

    assert result.code == 2
    assert "no terminal to ask questions in, and no flag says what to change" in result.err
