"""What is advised to type is quoted for a shell: nothing that somebody wrote into an answer can become a command."""

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.updates.small_template import Small, small
from tests.updates.updating import commit

__all__ = ["small"]  # a fixture

NASTY = [
    "$(touch canary)",
    "`touch canary`",
    "a;touch canary",
    "a'b\"c",
    "a&&touch canary",
    "-rf",
    "a b",
    "a|b",
    "~",
    "!x",
]


def assert_quoted(said: str, word: str) -> None:
    """The word stands in what is advised only as a shell takes it for that word."""
    _, _, advice = said.partition(" help:")
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", advice)
    assert word not in bare or shlex.quote(word) == word, advice


@pytest.mark.figure("A10 what is advised is quoted", "answers that would be commands")
@pytest.mark.parametrize("word", NASTY)
def test_what_is_advised_to_type_has_the_words_of_others_quoted(
    scaffold: Run, small: Small, here: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    (here / "answers.yml").write_text(f"layer_groups: ['{word.replace(chr(39), chr(39) * 2)}=-1']\n")
    (here / "full" / "x").mkdir(parents=True)
    (here / word).mkdir()
    (here / word / "x").touch()
    for words in (
        ["new", "--yes", "--", word],
        ["new", "--", word],
        ["new", "--yes", "--", f"full/{word}"],
        ["new", "q", "--yes", "--group", f"{word}=1"],
        ["new", "q", "--yes", "--group", f"backbone:{word}=x", "--group", "backbone=2"],
        ["new", "q", "--yes", "--answers", "answers.yml"],
        ["new", "q", "--yes", f"--model={word}"],
        ["new", "q", "--yes", f"--weights-file={word}"],
        ["new", "q", "--yes", f"--loss={word}=-1"],
        ["change", f"--lr={word}"],
    ):
        result = scaffold(*words)
        assert_quoted(result.err, word)
    project = small.project(here / "p")
    monkeypatch.chdir(project)
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace(f"_src_path: {small.template}", f"_src_path: {word!r}"))
    commit(project)
    result = scaffold("update")
    assert result.code == 2
    assert_quoted(result.err, word)
    assert not list(here.rglob("canary"))
