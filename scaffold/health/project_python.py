"""The Python that a project runs with: which one it is, and what it says of the project."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType
from typing import Any

from scaffold.errors import BadAnswer, Cancelled, CreateFailed
from scaffold.health import project_probe
from scaffold.questions.answer_types import DISTRIBUTED, PACKAGE, PRECISION
from scaffold.questions.form import Answers
from scaffold.system.signals import end_session

_SECONDS = 60


def find_python(project: Path, told: str = "") -> str:
    """The Python that the project runs with: as told, its own environment's, the active one, ours."""
    if told:
        if not Path(told).is_file():
            raise BadAnswer(f"there is no Python at {told}", at="--python")
        return os.path.abspath(told)
    name = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    for home in (str(project / ".venv"), os.environ.get("VIRTUAL_ENV", "")):
        if home and (Path(home) / name).is_file():
            return str(Path(home) / name)
    return sys.executable


def quick_tests(project: Path, python: str = "") -> None:
    """Run the project's quick tests in its own Python; CreateFailed where they fail."""
    command = [find_python(project, python), "-m", "pytest", "-q", "-m", "quick"]
    try:
        if subprocess.run(command, cwd=project, check=False).returncode == 0:
            return
        failed = CreateFailed("the update is done, and the quick tests of the project fail", help="pytest -m quick")
    except KeyboardInterrupt:
        failed = CreateFailed("the update is done, and the quick tests were stopped", help="pytest -m quick")
        failed.exit_code = Cancelled.exit_code
    failed.last_line = ""
    raise failed


def run_probe(
    python: str, probe: ModuleType, words: list[str], *, folder: Path, seconds: float, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a module of ours, which needs nothing of ours, by another Python; OSError or TimeoutExpired where it cannot.

    What the user's code has started there ends with it, and is not waited for.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        process = subprocess.Popen(
            [python, str(Path(str(probe.__file__)).resolve()), *words],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **settings},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        finally:
            end_session(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return subprocess.CompletedProcess(process.args, process.returncode, *texts)


def ask_python(project: Path, answers: Answers, python: str) -> dict[str, Any]:
    """What the project's own Python has and says of the groups; `failed` where it does not answer."""
    # a fork may have given up a question
    words = [str(answers.get(question.name, "none")) for question in (PACKAGE, DISTRIBUTED, PRECISION)]
    try:
        done = run_probe(python, project_probe, words, folder=project, seconds=_SECONDS)
    except subprocess.TimeoutExpired:
        return {"failed": f"{python} said nothing in {_SECONDS} seconds"}
    except OSError as error:
        return {"failed": f"{python} cannot be run: {error.strerror}"}
    for line in done.stdout.splitlines():
        if line.startswith(project_probe.MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(project_probe.MARK))
            return found
    said = done.stderr.strip().splitlines()
    return {"failed": f"{python} ended with {done.returncode}: {said[-1] if said else 'nothing said'}"}
