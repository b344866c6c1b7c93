"""`bench.gpu`: one folder is enough for a machine that has torch, and whatever happens there is told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import venv
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement

from bench import gpu, report
from bench.projects import make
from tests.conftest import ROOT

# A stand-in for the script, whose parts do at once what parts can do.
SCRIPT = """
import json, os, pathlib, signal, sys, time
word = dict(zip(sys.argv[1::2], sys.argv[2::2]))
found = {"tables": [], "aims": [], "troubles": [], "versions": {"card": "Card 1"}}
found["tables"].append({"title": "T", "how": "so", "columns": ["", "n"], "rows": [["a", "1"]], "points": {}})
pathlib.Path(word["--work"], word["--part"] + ".json").write_text(json.dumps(found))
print("first words of", word["--part"])
match word["--part"]:
    case "fails":
        sys.exit("and its last words")
    case "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    case "hangs":
        time.sleep(60)
    case "no_device":
        sys.exit(3)
"""


def parts(*names: str, seconds: float = 30, least: float = 0) -> tuple[gpu.Part, ...]:
    return tuple(gpu.Part(name, f"what {name} is for", lambda job: None, seconds, least) for name in names)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A prepared folder with the stand-in."""
    folder = tmp_path / "carried"
    (folder / "projects").mkdir(parents=True)
    (folder / "prepared.json").write_text('{"torch-scaffold": "1.2.3"}')
    (folder / "gpu.py").write_text(SCRIPT)
    return folder


def run_parts(folder: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    out = folder.parent / "results"
    # as if on a machine with a card: the stand-in needs none
    code = gpu.run_all(folder, gpu.arguments(["--out", str(out), *flags]))
    return code, json.loads((out / "gpu.json").read_text())


def states(result: dict[str, Any]) -> dict[str, str]:
    return {part["name"]: part["state"] for part in result["parts"]}


def test_a_part_that_fails_crashes_or_hangs_is_told_and_ends_no_other(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "PARTS", parts("fails", "crashes") + parts("hangs", seconds=1) + parts("works"))

    code, result = run_parts(stand_in)

    assert states(result) == {
        "fails": "failed: exit status 1", "crashes": "failed: ended by SIGSEGV", "hangs": "cut short after 1 s",
        "works": "done",
    }  # fmt: skip
    assert code == 1
    tails = [part.get("tail", "") for part in result["parts"]]
    assert "and its last words" in tails[0]
    assert "first words of hangs" in tails[2]
    assert re.search(r'File ".*gpu.py", line \d+ in <module>', tails[2])  # where it was
    # what each has found before counts
    assert [table["part"] for table in result["tables"]] == ["fails", "crashes", "hangs", "works"]
    assert result["versions"]["card"] == "Card 1"
    assert "first words of works" in (stand_in.parent / "results" / "gpu.log").read_text()


def test_a_part_that_there_is_no_time_for_is_named(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PARTS", parts("works") + parts("dear", least=50) + parts("cheap"))

    code, result = run_parts(stand_in, "--seconds", "20")

    assert states(result)["works"] == states(result)["cheap"] == "done"
    assert re.fullmatch(r"not run: (19|20) s left, and it needs 50", states(result)["dear"])
    assert code == 0


def test_without_a_device_nothing_else_is_tried(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PARTS", parts("no_device", "works"))

    code, result = run_parts(stand_in)

    assert states(result) == {"no_device": "failed: exit status 3", "works": "not run"}
    assert code == 1


def test_no_cuda_device_is_told_by_the_first_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(SystemExit) as ended:
        gpu.machine(job(tmp_path, device="cuda"))

    assert ended.value.code == gpu.NO_DEVICE
    assert "torch sees no CUDA device" in capsys.readouterr().out


def test_ended_from_outside_it_still_tells(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PARTS", parts("works", "hangs", "never"))
    monkeypatch.setattr(gpu, "LOOK", 0.2)
    asked = threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    asked.start()

    code, result = run_parts(stand_in)

    assert states(result) == {"works": "done", "hangs": "cut short from outside", "never": "not run"}
    assert [table["part"] for table in result["tables"]] == ["works", "hangs"]
    assert code == 1


def test_even_killed_it_leaves_what_it_had(stand_in: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench import gpu; gpu.LOOK = 0.2\n"
        "gpu.PARTS = tuple(gpu.Part(name, '', None, 30, 0) for name in ('works', 'hangs'))\n"
        "gpu.run_all(Path(sys.argv[1]), gpu.arguments(['--out', sys.argv[2]]))"
    )
    out = stand_in.parent / "results"
    running = subprocess.Popen([sys.executable, "-c", code, str(stand_in), str(out)], cwd=ROOT)
    result: dict[str, Any] = {"tables": []}
    deadline = time.monotonic() + 60
    while len(result["tables"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        with suppress(FileNotFoundError):
            result = json.loads((out / "gpu.json").read_text())
    running.kill()
    running.wait()

    assert states(json.loads((out / "gpu.json").read_text())) == {"works": "done", "hangs": "begun"}
    assert [table["part"] for table in result["tables"]] == ["works", "hangs"]


# WHAT IT FINDS ------------------------------------------------------------------------------------


def job(work: Path, **named: Any) -> gpu.Job:
    settings = {"device": "cpu", "seconds": 300.0, "runs": 1, "at_once": 2, "names": ("cnn",), **named}
    return gpu.Job("part", work, **settings)


def bit_off(tensor: torch.Tensor) -> torch.Tensor:
    return torch.nextafter(tensor, tensor + 1)


def test_every_bit_of_a_run_counts(tmp_path: Path) -> None:
    random = torch.tensor([1.0, float("nan"), -0.0])
    changes: list[Callable[[torch.Tensor], torch.Tensor]] = [torch.clone, torch.clone, bit_off, torch.abs]
    for number, change in enumerate(changes, start=1):
        folder = tmp_path / "runs" / "cnn" / str(number)
        for step in (8, 10):
            (folder / "checkpoints" / str(step)).mkdir(parents=True)
        torch.save({"state": {"weight": change(random), "step": 3}}, folder / "checkpoints" / "10" / "model.pt")
        (folder / "metrics.jsonl").write_text("{}\n")
    found = job(tmp_path)

    assert gpu.compare(found, "cnn", 2) == "equal"
    assert found.troubles == []
    assert gpu.compare(found, "cnn", 3) == "other bits"
    assert gpu.compare(found, "cnn", 4) == "other bits"  # 0.0 is not -0.0
    assert "state.weight differs" in found.troubles[0]["said"]

    (tmp_path / "runs" / "cnn" / "2" / "metrics.jsonl").write_text("{}\n{}\n")
    assert gpu.compare(found, "cnn", 2) == "other bits"


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with the default project."""
    work = tmp_path_factory.mktemp("work")
    make("cnn", work / "projects", logger="none")
    sys.path.remove(str(work / "projects" / "cnn"))
    return work


def test_a_step_that_waits_is_found_with_its_place(cnn: Path, tmp_path: Path) -> None:
    shutil.copytree(cnn, tmp_path / "work")
    train = tmp_path / "work" / "projects" / "cnn" / "cnn" / "train.py"
    train.write_text(re.sub(r"( +)optimizer\.step\(\)\n", r"\1terms['loss'].item()\n\g<0>", train.read_text()))

    steps, places, said = gpu.watched(job(tmp_path / "work"), "cnn", [])

    assert said == ""
    assert steps == len(places) == 37  # 44 without the first 3 and the 4 that are logged
    (line,) = [
        number
        for number, text in enumerate(train.read_text().splitlines(), 1)
        if text.strip() == "terms['loss'].item()"
    ]
    assert set(places) == {f"train.py:{line} terms['loss'].item()"}


def test_a_training_that_fails_under_watch_is_told(cnn: Path) -> None:
    steps, places, said = gpu.watched(job(cnn), "cnn", ["--batch-size", "99999"])

    assert (steps, places) == (0, [])
    assert "exit status 2" in said
    assert "a batch of 99999 is more than" in said


def test_a_program_that_hangs_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")

    code, said = gpu.ran(job(tmp_path, seconds=3), [sys.executable, "-c", "import time\ntime.sleep(60)"], tmp_path)

    assert code == -signal.SIGABRT
    assert "line 2 in <module>" in said


def test_runs_of_a_project_that_hangs_keep_no_other_from_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(job: gpu.Job, name: str, number: int, moments: list[float]) -> gpu.Trained:
        if name == "ddp":
            time.sleep(2)
            return gpu.Trained(False, 0.0, [])
        kills = ["later"] * len(moments) if number != 3 else []  # run 3 is done before the kill comes
        gpu.run_folder(job, name, number).mkdir(parents=True)
        return gpu.Trained(True, 1.0, kills)

    monkeypatch.setattr(gpu, "trained", trained)
    monkeypatch.setattr(gpu, "compare", lambda job, name, number: "equal" if number != 5 else "other bits")
    found = job(tmp_path, names=("ddp", "cnn"), runs=6, at_once=4)

    gpu.resume(found)

    ddp, cnn = found.tables[0]["rows"]
    assert ddp == ["ddp", "not finished", *["0"] * 5]
    assert (cnn[1], cnn[2], cnn[6]) == ("equal", "3", "2")
    aims = {aim["what"]: (aim["value"], aim["met"]) for aim in found.aims}
    assert aims["runs that were killed and resumed"] == (3, False)
    assert aims["runs, left alone or killed, that ended with other bits"] == (1, False)


def test_on_a_gpu_torch_is_asked_to_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr("logging.captureWarnings", lambda capture: None)
    strict, lenient = (gpu.Watch("cuda", Path(__file__).parent, raises) for raises in (True, False))

    with warnings.catch_warnings():
        with strict.around():
            strict.begin()
            strict.end()
        with lenient.around():
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)  # one that is logged
            lenient.begin()
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)

    assert modes == ["error", "default", "default", "warn", "default"]
    assert len(lenient.places) == 1
    assert lenient.places[0].startswith("test_gpu.py:")


class Memory:
    """What `torch.cuda` says where there is a card."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda name=name: self.asked.append(name))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3e9)
        facts = SimpleNamespace(total_memory=80 * 2**30, name="Card 1", major=9, minor=0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: facts)
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
        for name in ("enable_flash_sdp", "enable_mem_efficient_sdp", "enable_cudnn_sdp"):
            monkeypatch.setattr(torch.backends.cuda, name, lambda on: None)


@pytest.fixture
def flags_as_before() -> Iterator[None]:
    """What contenders choose for themselves is not for other tests."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    kept = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )
    yield
    torch.use_deterministic_algorithms(kept[0])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = kept[1:]
    torch.set_float32_matmul_precision(precision)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("flags_as_before")
def test_where_there_is_a_card_turns_are_timed_until_time_is_up(cnn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Memory(monkeypatch)
    monkeypatch.setattr(gpu.Race, "check_device", lambda race: None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    broken = {**gpu.CONTENDERS, "lightning": lambda race: 1 / 0}
    monkeypatch.setattr(gpu, "CONTENDERS", broken)
    monkeypatch.setattr(gpu, "is_there", lambda name: name == "lightning")
    tiny = gpu.Setting("cnn", "tiny", 8, 4, classes=10)
    monkeypatch.setitem(gpu.SETTINGS, "cnn", tiny)
    found = job(cnn, device="cuda", seconds=4.0)

    gpu.speed("cnn", found)

    table = found.tables[0]
    assert [row[0] for row in table["rows"]] == ["tuned by hand", "generated", "accelerate"]
    assert table["rows"][0][3:] == ["1.00", "1.00 to 1.00", "3.0"]
    assert table["rows"][2][1] == "not installed here"
    steps = re.search(r"(\d+) steps in a turn after 4 to warm up", table["how"])
    assert steps is not None
    assert 10 <= int(steps[1]) <= 300
    assert "ZeroDivisionError" in found.troubles[0]["said"]
    assert [aim["what"] for aim in found.aims] == ["tiny: a step of generated over tuned by hand"]
    assert {"synchronize", "empty_cache", "reset_peak_memory_stats"} == set(card.asked)


def test_one_card_and_nothing_of_a_launcher_reaches_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")

    environment = gpu.surroundings(tmp_path, "cuda")

    assert environment["CUDA_VISIBLE_DEVICES"] == "2"
    assert gpu.surroundings(tmp_path, "cpu")["CUDA_VISIBLE_DEVICES"] == ""
    assert not {"WORLD_SIZE", "CUBLAS_WORKSPACE_CONFIG"} & environment.keys()


@pytest.mark.parametrize("flags", [["--parts", "no"], ["--projects", "cnn,no"], ["--device", "tpu"]])
def test_what_there_is_not_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.arguments(flags)

    assert ended.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_only_a_folder_that_is_empty_or_its_own_is_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(SystemExit, match="has other things in it"):
        gpu.prepare(tmp_path)
    assert gpu.main(["prepare"]) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file() and path.name != "gitconfig"] == ["mine"]


# A MACHINE THAT HAS TORCH AND LITTLE ELSE ---------------------------------------------------------


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m bench.gpu prepare` makes."""
    folder = tmp_path_factory.mktemp("carried")
    try:
        gpu.prepare(folder)
    except SystemExit as problem:
        if "No matching distribution" in str(problem):
            pytest.skip("no package index can be reached to fetch the wheels from")
        raise
    for _ in range(2):
        for path in list(sys.path):
            if path.startswith(str(folder)):
                sys.path.remove(path)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with torch, torchvision and what they need, but none of what is carried."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    waiting, seen = ["torch", "torchvision"], {"filelock", "setuptools"}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
        needs = [Requirement(text) for text in found.requires or []]
        waiting += [need.name.lower() for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return folder / "bin" / "python"


def run_bare(bare: Path, carried: Path, out: Path, *flags: str) -> dict[str, Any]:
    """Runs the carried script there, away from this repository."""
    lacks = "import importlib.util as u; print([n for n in %r if u.find_spec(n)])"
    unwanted = ("scaffold", "copier", "bench", "tyro", "filelock", "tqdm", "pytest", "matplotlib", "tensorboard")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    there = subprocess.run(
        [str(bare), "-c", lacks % (unwanted,)],
        cwd=out.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == "[]"
    words = [str(bare), str(carried / "gpu.py"), "--device", "cpu", "--out", str(out), *flags]
    done = subprocess.run(words, cwd=out.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((out / "gpu.json").read_text())
    return result


def test_the_folder_is_small_and_whole(carried: Path) -> None:
    assert sum(path.stat().st_size for path in carried.rglob("*")) < 16 * 2**20
    assert all(wheel.name.endswith("-none-any.whl") for wheel in (carried / "wheels").iterdir())
    assert {path.name for path in (carried / "projects").iterdir()} == set(gpu.PROJECTS)


@pytest.mark.parametrize(
    "parts", ["machine,resume", pytest.param("machine,resume,waits,cnn", marks=pytest.mark.nightly)]
)
def test_a_bare_machine_needs_nothing_but_the_folder(bare: Path, carried: Path, tmp_path: Path, parts: str) -> None:
    flags = ["--parts", parts, "--projects", "cnn", "--runs", "1"]

    result = run_bare(bare, carried, tmp_path / "results", *flags)

    assert set(states(result).values()) == {"done"}
    assert result["troubles"] == []
    assert {name.split("-")[0] for name in result["carried"]} >= {"tyro", "filelock", "tqdm", "pytest"}
    assert "a stand-in for matplotlib" in result["carried"]
    rows = {table["part"]: table["rows"] for table in result["tables"]}
    assert rows["resume"] == [["cnn", "equal", "1", rows["resume"][0][3], *rows["resume"][0][4:6], "1"]]
    if "waits" in rows:
        assert [row[:3] for row in rows["waits"]] == [["cnn", "37", "0"], ["cnn, two workers", "37", "0"]]
        assert [row[0] for row in rows["cnn"]] == ["tuned by hand", "generated", "lightning", "accelerate"]
    assert all(aim["met"] for aim in result["aims"])


@pytest.mark.nightly
def test_all_of_it_runs_on_a_bare_machine(bare: Path, carried: Path, tmp_path: Path) -> None:
    result = run_bare(bare, carried, tmp_path / "results", "--seconds", "1500", "--projects", ",".join(gpu.UNLIKE))

    assert states(result) == {part.name: "done" for part in gpu.PARTS}
    assert result["troubles"] == []


# THE PAGE -----------------------------------------------------------------------------------------


def test_the_page_says_what_was_found_or_that_nothing_was() -> None:
    assert (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8") == report.gpu_page(report.gpu_result())


def test_without_a_run_on_a_card_gpus_are_untested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert report.gpu_result() is None

    (tmp_path / "gpu.json").write_text('{"device": "cpu", "versions": {}}')
    assert report.gpu_result() is None

    (tmp_path / "gpu.json").write_text('{"device": "cuda", "versions": {}}')  # it found no card
    assert report.gpu_result() is None
    assert "**GPUs are untested.**" in report.gpu_page(None)


def test_a_run_on_a_card_is_told_with_all_that_went_wrong(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "PARTS", parts("works") + parts("hangs", seconds=1) + parts("dear", least=999))
    run_parts(stand_in)
    monkeypatch.setattr(report, "RESULTS", stand_in.parent / "results")

    page = report.gpu_page(report.gpu_result())

    assert re.search(r"^Tried on one \*\*Card 1\*\* on \d{4}-\d\d-\d\d", page, re.MULTILINE)
    assert "untested" not in page
    assert re.search(r"^## works: what works is for\n\nDone in \d+ s\.\n\n\*\*T\*\*: so\.", page, re.MULTILINE)
    assert "Cut short after 1 s." in page
    assert "first words of hangs" in page
    assert re.search(r"Not run: \d+ s left, and it needs 999\.", page)
    assert "torch-scaffold 1.2.3" in page
