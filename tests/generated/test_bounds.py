"""Every option with values that make no sense: it is used as said, or refused in a sentence."""

from __future__ import annotations

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scaffold.render.rendering import render
from scaffold.trials.trial_data import write_data
from tests.generated.rendered import importable
from tests.reliability.test_settings import VARIANTS

HUGE, NUMBERS = "1000000000000", ["-1", "0", "1", "nan", "inf", "x"]


def values(kind: str) -> list[list[str]]:
    """What is tried of an option of this type; `{}` stands for its flag."""
    if kind == "bool":
        return [["--{}"], ["--no-{}"], ["--{}", "3"]]
    if kind.startswith("Literal"):
        return [["--{}", word] for word in ("fp32", "bf16", "fp16", "", "x")]
    if kind in ("str", "tuple[str, ...]"):
        return [["--{}", word] for word in ("", "x", "1")]
    if kind == "dict[str, float]":
        return [["--{}", word] for word in [*NUMBERS, "1e30"]]
    return [["--{}", word] for word in [*NUMBERS, HUGE if "int" in kind else "1e30"]]


def attempt(train: ModuleType, options: Any, *flags: str) -> tuple[Any, str]:
    """How a training ends that is started in this process, and what it says; None if it ends with a traceback."""
    said = io.StringIO()
    before, sys.argv = sys.argv, ["train", *flags]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return train.launch(options, train.train, train.show_plan), said.getvalue()
    except SystemExit as ended:
        return ended.code, said.getvalue()
    except Exception:  # noqa: BLE001, that is what is looked for
        return None, said.getvalue() + traceback.format_exc()
    finally:
        sys.argv = before


def trials(options: Any, seen: set[str]) -> Iterator[tuple[str, list[str]]]:
    """The options of a project that no other one has shown, and what is tried of each."""
    for one in fields(options):
        if one.name in seen or one.name == "given":
            continue
        if one.name != "image_size":  # which each model has its own say in
            seen.add(one.name)
        names = [one.name]
        if "dict" in str(one.type):
            names = [f"{one.name}.{key}" for key in vars(options())[one.name]]
        for name in names:
            for words in values(str(one.type).split(" | ")[0]):
                yield name, [word.replace("{}", name.replace("_", "-")) for word in words]


SMALL = [answers for answers in VARIANTS if answers.get("model") not in ("yolo_v1", "fasterrcnn")]
ALL = pytest.mark.figure(
    "C6 bounds of options", "every option with any value: used as it says, or refused in a sentence"
)


@pytest.mark.parametrize(
    "every", [pytest.param(3, id="a third"), pytest.param(1, id="all", marks=[pytest.mark.nightly, ALL])]
)
def test_every_option_with_any_value_is_used_or_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    seen: set[str] = set()
    wrong, tried = [], 0
    for number, answers in enumerate(VARIANTS if every == 1 else SMALL):
        folder = tmp_path / f"bounds_{number}"
        render({"project_name": folder.name, "logger": "none", **answers}, folder)
        monkeypatch.chdir(folder)
        with importable(folder) as module:
            train, options = module("train"), module("options").Options
            monkeypatch.setattr(module("engine.run"), "draw", lambda folder: folder)
            monkeypatch.setattr(train, "load_weights", lambda *_: "", raising=False)
            data = tmp_path / f"data_{number}"
            write_data(data)
            size = "64" if answers.get("task") == "detection" else "16"
            plain = ["--data-dir", str(data), "--batch-size", "16", "--epochs", "1", "--image-size", size]
            plain = plain if hasattr(options(), "image_size") else plain[:-2]
            code, said = attempt(train, options, *plain, "--run-dir", str(tmp_path / "runs" / f"plain_{number}"))
            assert code == 0, f"{answers} are refused whatever is typed: {said[-600:]}"
            for name, words in trials(options, seen):
                tried += 1
                if tried % every:
                    continue
                began = time.monotonic()
                # to compile takes a minute, and many seeds take for ever
                extra = (
                    ["--plan"] if name in ("seeds", "compile") else ["--run-dir", str(tmp_path / "runs" / str(tried))]
                )
                code, said = attempt(train, options, *plain, *extra, *words)
                refused = code in (2, 4, 5, 6) and said
                if not (code == 0 or refused) or "Traceback" in said:
                    wrong.append(f"{answers}: {' '.join(words)}: {code} {said[-600:]}")
                    print(wrong[-1], flush=True)
                elif time.monotonic() - began > 60:
                    wrong.append(f"{' '.join(words)} took {time.monotonic() - began:.0f} s")
    print(tried // every, "tried")
    assert wrong == [], "\n\n".join(wrong)
