"""The pages of docs/how-to on the template: their diffs apply to a copy of it, whose projects then are as clean as others."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from scaffold import paths
from scaffold.questions.answers import complete, gather
from scaffold.questions.form import Form
from scaffold.render.rendering import plain_copy
from scaffold.trials.cases import cases_of
from scaffold.trials.smoke import smoke
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs" / "how-to").glob("template-*.md"))
COMMAND = re.compile(r"^scaffold new trial --(\w+) (\w+) --yes$", re.MULTILINE)


def test_choices_of_ones_own_render_type_and_train(
    tmp_path: Path, mypy_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(mypy_cache))
    template = plain_copy(paths.template_root(), tmp_path / "template")
    flags = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        diff = "".join(re.findall(r"^```diff\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
        apply = shlex.split("git apply --whitespace=error-all -")
        subprocess.run(apply, input=diff, cwd=template, text=True, check=True)
        said = COMMAND.search(text)
        assert said, page.name
        flags.append({"losses": [said[2]]} if said[1] == "loss" else {said[1]: said[2]})
    form = Form(template)
    answers = [complete(form, gather(form, one, preset=None, answers_file=None), "trial") for one in flags]
    cases = cases_of(form, answers)

    smoke(template, cases, lambda line: None, jobs=1, train=len(cases), root=tmp_path / "root")

    assert len(cases) >= 3
    assert {case.name: case.problems for case in cases if case.problems} == {}
    assert all({"types", "train", "quick"} <= case.done for case in cases)
