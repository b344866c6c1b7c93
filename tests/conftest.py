"""What tests share: the command line in this process, an empty folder to work in, and a git that knows a name.

The whole suite is run by several workers, each with a part of it; a test marked `timed` has the machine to itself.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: a process that forks after it has used several threads leaves the child waiting for them, and
# bits depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from scaffold import cli, paths
from scaffold.errors import BadAnswer
from scaffold.questions.form import Form

ROOT = Path(__file__).parents[1]
TRIED: dict[tuple[str, str], list[int]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", action="store_true", help="Write what was tried into docs/reliability.md.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a test for the row of its mark: once, or as many tries as it says that it made."""
    report = yield
    mark = item.get_closest_marker("figure")
    if mark and report.when == "call" and not report.skipped:
        row = TRIED.setdefault((mark.args[0], mark.args[1]), [0, 0])
        tries = int(str(dict(item.user_properties).get("tries", 1)))
        row[0] += tries if report.passed else 0
        row[1] += tries
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--figures"):
        from tests.reliability.crash.report import note

        for (promise, what), (reached, of) in TRIED.items():
            note(promise, what, reached, of)


@dataclass(frozen=True)
class Result:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """None for some of the tests, which then begin at once, nor for the nightly ones, many of which count seconds."""
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and config.option.markexpr == "not nightly"
    return min(4, os.cpu_count() or 1) if whole else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers come to `timed` tests last: then no long test of another one has to be waited for, and few wait meanwhile."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("timed") is not None)


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A `timed` test waits until no other worker runs one, and all wait for it."""
    if "PYTEST_XDIST_WORKER" not in os.environ or sys.platform == "win32":
        yield
        return
    import fcntl

    folder = tmp_path_factory.getbasetemp().parent  # that of all workers
    timed = request.node.get_closest_marker("timed") is not None
    with (folder / "gate").open("w") as gate, (folder / "machine").open("w") as machine:
        fcntl.flock(gate, fcntl.LOCK_EX)  # who waits for the machine lets no other in
        fcntl.flock(machine, fcntl.LOCK_EX if timed else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, away from this machine's own settings."""
    config = tmp_path / "gitconfig"
    config.write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in [
        name for name in os.environ if name.startswith(("SCAFFOLD_", "COPIER_")) or name in ("CI", "ACCESSIBLE")
    ]:
        monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scaffold() -> Run:
    """`scaffold WORDS...` in this process."""

    def run(*words: str) -> Result:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main(words)
        code = ended.value.code
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return Result(code if isinstance(code, int) else int(code is not None), *said)

    return run


def takes(form: Form, answers: dict[str, Any]) -> bool:
    """Whether a template knows these questions and answers."""
    if not answers.keys() <= form.questions.keys():
        return False
    try:
        form.fill(answers, "p")
    except BadAnswer:
        return False
    return True


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows of torch, for all tests of a worker; two that write it at a time would wait for each other."""
    return tmp_path_factory.mktemp("mypy")


@pytest.fixture(scope="session")
def form() -> Form:
    """The questions of this repository."""
    return Form(paths.template_root())


@pytest.fixture
def small_template(tmp_path: Path) -> Path:
    """A template of a few files, for trying what happens on the way."""
    root = tmp_path / "small"
    for name, text in {
        "copier.yml": "_subdirectory: template/project\n_exclude: []\nwho: nobody\n",
        "template/project/a.txt.jinja": "{{ who }}\n",
        "template/project/folder/b.txt": "b\n",
        "template/project/{{ _copier_conf.answers_file }}.jinja": "who: {{ who }}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder with their bytes, links by their targets, without repositories."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if ".git" in name.parts:
            continue
        if path.is_symlink():
            found[name.as_posix()] = b"-> " + os.readlink(path).encode()
        elif path.is_file():
            found[name.as_posix()] = path.read_bytes()
    return found


def executables(folder: Path) -> list[str]:
    """The files below a folder that can be run."""
    return [name for name in tree(folder) if (folder / name).stat().st_mode & 0o111]
