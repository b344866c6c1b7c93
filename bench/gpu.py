"""What a GPU makes of generated projects, in at most eight minutes on one card.

    python -m bench.gpu prepare FOLDER         here: puts everything that the other machine needs into one folder
    python FOLDER/gpu.py --out RESULTS         there: needs torch and torchvision, no network, and nothing of this repository
    cp RESULTS/gpu.json bench/results/         here again; then `python -m bench.report` writes docs/gpu.md

Where this repository and a GPU are on one machine, `python -m bench.gpu` does the first two in one go, and
`python -m bench.gpu --device cpu` shows in a minute or two that all of it works.

Each part is a process of its own: one that crashes, hangs or runs out of memory ends alone, and its last words are kept.
What was found is written after every part, so that a run cut short still tells.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import logging
import math
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import count, product
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

# WHAT IS CARRIED ----------------------------------------------------------------------------------

# Projects as unlike as they get: each answer is told; the logger is left out, since TensorBoard has nothing to do with GPUs.
PROJECTS: dict[str, dict[str, Any]] = {
    "cnn": {},
    "resnet": {"model": "resnet50", "optimizer": "sgd", "precision": "bf16", "clip": 1.0},
    "vit": {
        "task": "metric_learning",
        "model": "vit",
        "losses": [{"name": "triplet", "weight": 1.0}, {"name": "cross_entropy", "weight": 0.5}],
        "precision": "bf16",
    },
    "ddp": {"distributed": "ddp", "ema": True, "accumulate": 2, "clip": 1.0},
    "fsdp": {"distributed": "fsdp", "model": "vit", "precision": "bf16", "ema": True, "accumulate": 2},
    # these two are only timed
    "resnet_fp32": {"model": "resnet50", "optimizer": "sgd", "clip": 1.0},
    "transformer": {"model": "vit", "precision": "bf16", "clip": 1.0},
}
UNLIKE = ("cnn", "resnet", "vit", "ddp", "fsdp")
EPOCHS = {"cnn": 12, "resnet": 3, "vit": 8, "ddp": 8, "fsdp": 5}  # some seconds of training on the digits
# What projects and their tests import and a machine with torch may lack, all of it pure Python; TO_CHECK is what it is for.
WHEELS = ("tyro", "filelock", "tqdm", "pytest", "exceptiongroup", "tomli", "typing-extensions")
TO_CHECK = "import filelock, pytest, tqdm, tyro"
ANY_PYTHON = ("--only-binary=:all:", "--platform", "any", "--implementation", "py", "--abi", "none")
OLDEST = "3.10"  # Python that projects run on
PREPARED = "prepared.json"
# Where a machine has no matplotlib, the picture at the end of a run is an empty file, and nothing else is missing.
NO_MATPLOTLIB = {
    "matplotlib/__init__.py": "",
    "matplotlib/backends/__init__.py": "",
    "matplotlib/backends/backend_agg.py": "def FigureCanvasAgg(figure):\n    return figure\n",
    "matplotlib/figure.py": (
        "from unittest.mock import MagicMock\n\n\nclass Figure:\n"
        "    def __init__(self, **settings):\n        pass\n\n"
        "    def subplots(self, rows, columns):\n        return [MagicMock() for _ in range(rows * columns)]\n\n"
        "    def add_subplot(self, *place):\n        return MagicMock()\n\n"
        "    def savefig(self, file, **settings):\n        pass\n"
    ),
}


def prepare(folder: Path, wheels: bool = True) -> None:
    """Fills `folder` with the projects, the wheels that they may need, and this script."""
    from bench import projects
    from scaffold import __version__

    if folder.exists() and any(folder.iterdir()) and not (folder / PREPARED).is_file():
        raise SystemExit(f"{folder} has other things in it; name a folder that is new or empty")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / PREPARED).write_text(json.dumps({"torch-scaffold": __version__, "date": str(date.today())}) + "\n")
    for name, answers in PROJECTS.items():
        projects.make(name, folder / "projects", logger="none", **answers)
    if wheels:
        fetch_wheels(folder / "wheels")
    shutil.copy(__file__, folder / "gpu.py")


def fetch_wheels(folder: Path) -> None:
    """Downloads the wheels, and shows in an empty environment that nothing but them is needed."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "download", *ANY_PYTHON, "--python-version", OLDEST, "-d", str(folder), *WHEELS])
    with tempfile.TemporaryDirectory() as empty:
        run([sys.executable, "-m", "venv", "--without-pip", empty])
        python = Path(empty, "Scripts" if os.name == "nt" else "bin", "python")
        run([*pip, "--python", str(python), "install", "--no-index", "--find-links", str(folder), *WHEELS])
        run([str(python), "-c", TO_CHECK])


def run(words: Sequence[str]) -> None:
    """Runs a program that has to succeed."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())


def unpack_wheels(wheels: Path, site: Path) -> list[str]:
    """Unpacks into `site` what this machine lacks; returns the names."""
    site.mkdir(parents=True, exist_ok=True)
    unpacked = []
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0].removesuffix(".py") for name in archive.namelist()}
            if any(not is_there(top) for top in tops if "." not in top):
                archive.extractall(site)
                unpacked.append("-".join(wheel.name.split("-")[:2]))
    if not is_there("matplotlib"):
        for name, text in NO_MATPLOTLIB.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        unpacked.append("a stand-in for matplotlib")
    return unpacked


def is_there(module: str) -> bool:
    """Whether a module could be imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


# ONE PART AFTER ANOTHER ---------------------------------------------------------------------------

NO_DEVICE = 3  # exit status of a part that finds no such device
TAIL = 40  # lines of the output of what went wrong
LOOK = 5  # seconds after which what a part has found is taken over


@dataclass(frozen=True)
class Part:
    """Something to find out: the most seconds that it may take, and the least that it makes sense to begin with."""

    name: str
    what: str
    work: Callable[[Job], None]
    seconds: float
    least: float


@dataclass
class Job:
    """What a part works with, and what it finds; `keep` writes that at once."""

    part: str
    work: Path  # a folder with a copy of the projects, for everything that is written
    device: str
    seconds: float
    runs: int
    at_once: int
    names: tuple[str, ...]
    tables: list[dict[str, Any]] = field(default_factory=list)
    aims: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[dict[str, str]] = field(default_factory=list)  # where, and what was said
    versions: dict[str, str] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock, repr=False)
    began: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until this part will be ended."""
        return self.began + self.seconds - time.monotonic()

    def table(self, title: str, how: str, columns: list[str]) -> list[list[str]]:
        """A new table, in the form of `bench.measure`; returns its rows, to be filled."""
        rows: list[list[str]] = []
        self.tables.append({"title": title, "how": how, "columns": columns, "rows": rows, "points": {}})
        return rows

    def aim(self, what: str, found: float, most: float | None = None, least: float | None = None) -> None:
        """A number that was wanted, and the one that was found, as in `bench.measure`; told again, it replaces itself."""
        met = found <= most if most is not None else least is not None and found >= least
        wanted = f"<= {most:g}" if most is not None else f">= {least:g}"
        self.aims = [aim for aim in self.aims if aim["what"] != what]
        self.aims.append({"what": what, "wanted": wanted, "found": f"{found:.4g}", "met": met, "value": found})

    def trouble(self, where: str, said: str) -> None:
        """Something that went wrong, with its last words."""
        self.troubles.append({"where": where, "said": tail(said)})
        print(f"{where}:\n{tail(said)}\n", flush=True)
        self.keep()

    def keep(self) -> None:
        """Writes what was found so far; whoever is killed while writing leaves what was there before."""
        with self.lock:
            write(found_at(self.work, self.part), {name: getattr(self, name) for name in FOUND})


FOUND = ("tables", "aims", "troubles", "versions")


def tail(text: str) -> str:
    """The last lines of an output."""
    return "\n".join(text.strip().splitlines()[-TAIL:])


def slug(part: str) -> str:
    return re.sub(r"\W+", "-", part)


def found_at(work: Path, part: str) -> Path:
    return work / f"{slug(part)}.json"


def write(path: Path, content: Any) -> None:
    """Writes JSON that is whole or not there."""
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def run_all(folder: Path, words: argparse.Namespace) -> int:
    """Runs the chosen parts in the time that there is; returns the exit status."""
    deadline = time.monotonic() + words.seconds
    words.out.mkdir(parents=True, exist_ok=True)
    (words.out / "gpu.log").unlink(missing_ok=True)
    parts = [part for part in PARTS if not words.parts or part.name in words.parts.split(",")]
    states: list[dict[str, Any]] = [{"name": part.name, "what": part.what, "state": "not run"} for part in parts]
    result: dict[str, Any] = {
        "subject": "gpu", "tables": [], "aims": [], "troubles": [], "parts": states, "device": words.device,
        "seconds": words.seconds, "date": str(date.today()), "versions": versions(folder),
    }  # fmt: skip
    work = Path(tempfile.mkdtemp(prefix="torch-scaffold-gpu-"))

    def keep(part: Part) -> None:
        collect(result, work, part.name)
        write(words.out / "gpu.json", result)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # which also ends the part that is running
    try:
        shutil.copytree(folder / "projects", work / "projects")
        result["carried"] = unpack_wheels(folder / "wheels", work / "site")
        environment = surroundings(work, words.device)
        for part, state in zip(parts, states, strict=True):
            left = deadline - time.monotonic()
            if left < part.least:
                state["state"] = f"not run: {max(left, 0):.0f} s left, and it needs {part.least:.0f}"
                continue
            seconds = min(part.seconds * (4 if words.device == "cpu" else 1), left)
            state["state"] = "begun"
            print(f"\n{part.name} (at most {seconds:.0f} s): {part.what}", flush=True)
            program = [*command(folder, words, part.name), "--work", str(work), "--seconds", f"{seconds:.1f}"]
            log = work / f"{slug(part.name)}.log"
            code, took = run_part(program, log, seconds, environment, partial(keep, part))
            state.update(state=ended(code, took), seconds=round(took, 1))
            said = log.read_text(encoding="utf-8", errors="replace")
            with (words.out / "gpu.log").open("a", encoding="utf-8") as file:
                file.write(f"=== {part.name}: {state['state']}\n{said[-200_000:]}\n")
            if code != 0:
                state["tail"] = tail(said)
            keep(part)
            show(result, part.name, state)
            if code == NO_DEVICE:
                break
    except KeyboardInterrupt:
        print("\nended from outside")
        for state in states:
            if state["state"] == "begun":
                state["state"] = "cut short from outside"
    finally:
        signal.signal(signal.SIGTERM, before)
        write(words.out / "gpu.json", result)
        shutil.rmtree(work, ignore_errors=True)
    print()
    for state in states:
        print(f"{state['state']:<40} {state['name']}")
    for aim in result["aims"]:
        print(f"{'met   ' if aim['met'] else 'MISSED'} {aim['what']}: {aim['found']} (wanted {aim['wanted']})")
    print(f"written: {words.out / 'gpu.json'}", flush=True)
    whole = all(state["state"] == "done" or state["state"].startswith("not run:") for state in states)
    return int(not whole or bool(result["troubles"]) or not all(aim["met"] for aim in result["aims"]))


def command(folder: Path, words: argparse.Namespace, part: str) -> list[str]:
    """This script again, for one part."""
    flags = ["--device", words.device, "--runs", str(words.runs), "--at-once", str(words.at_once)]
    return [sys.executable, str(folder / "gpu.py"), "--part", part, *flags, "--projects", words.projects]


def run_part(
    words: Sequence[str], log: Path, seconds: float, environment: dict[str, str], look: Callable[[], None]
) -> tuple[int | None, float]:
    """Runs a program for so long at most, and ends whatever it leaves; its exit status (None: ended by us), and seconds.

    Every few seconds it calls `look`.
    """
    began = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True,
        )  # fmt: skip
    code = None
    try:
        while code is None and (left := began + seconds - time.monotonic()) > 0:
            look()
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(min(LOOK, left))
    finally:
        end(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return code, time.monotonic() - began


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that takes too long; one of Python says first where it is (PYTHONFAULTHANDLER)."""
    for number in (signal.SIGABRT, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2 if number == signal.SIGABRT else None)


def ran(job: Job, words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Runs a program of a project until it ends, or shortly before this part does; its exit status, and what it said."""
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(1.0, job.left() - 5))
        end(process)
        file.seek(0)
        return process.returncode, file.read().decode(errors="replace")


def ended(code: int | None, seconds: float) -> str:
    """How a part ended, in words."""
    if code is None:
        return f"cut short after {seconds:.0f} s"
    if code == 0:
        return "done"
    return f"failed: ended by {signal.Signals(-code).name}" if code < 0 else f"failed: exit status {code}"


def surroundings(work: Path, device: str) -> dict[str, str]:
    """The environment of a part: one card, what was carried, and nothing that a launcher or a shell has left there."""
    gone = {"CUBLAS_WORKSPACE_CONFIG", "RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_NTASKS", "PYTEST_ADDOPTS"}
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    card = "" if device == "cpu" else os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    paths = [str(work / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    (work / "tmp").mkdir(exist_ok=True)
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of plugins that happen to be there, any may be broken
        "CUDA_VISIBLE_DEVICES": card,
        "TMPDIR": str(work / "tmp"),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        "TRITON_CACHE_DIR": str(work / "triton"),
    }


def collect(result: dict[str, Any], work: Path, part: str) -> None:
    """Adds what a part has found, as far as it came."""
    if not found_at(work, part).exists():
        return
    found = json.loads(found_at(work, part).read_text(encoding="utf-8"))
    for name in ("tables", "aims", "troubles"):
        result[name] = [row for row in result[name] if row["part"] != part]
        result[name] += [{**row, "part": part} for row in found[name]]
    result["versions"].update(found["versions"])


def show(result: dict[str, Any], part: str, state: dict[str, Any]) -> None:
    """Prints what a part has found."""
    for table in [table for table in result["tables"] if table["part"] == part]:
        lines = [table["columns"], *table["rows"]]
        widths = [max(len(str(line[column])) for line in lines) for column in range(len(table["columns"]))]
        print(f"\n{table['title']}: {table['how']}")
        for line in lines:
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    for trouble in [trouble for trouble in result["troubles"] if trouble["part"] == part]:
        print(f"\n!! {trouble['where']}\n{trouble['said']}")
    print(f"{part}: {state['state']}\n{state.get('tail', '')}".rstrip(), flush=True)


def versions(folder: Path) -> dict[str, str]:
    """What all this is measured with."""
    found = {
        "torch-scaffold": json.loads((folder / PREPARED).read_text(encoding="utf-8"))["torch-scaffold"],
        "Python": platform.python_version(),
        "system": platform.system(),
    }
    for name in ("torch", "torchvision", "lightning", "accelerate"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


# THE MACHINE --------------------------------------------------------------------------------------


def machine(job: Job) -> None:
    """What card it is, and the most that it can do: the two rates that everything else is limited by."""
    import torch

    if job.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device here")
        raise SystemExit(NO_DEVICE)
    importlib.import_module("torchvision")
    rows = job.table("The machine", "as it says of itself", ["", ""])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows += [["processor cores", str(cores)], ["torch", torch.__version__]]
    if job.device == "cuda":
        facts = torch.cuda.get_device_properties(0)
        job.versions = {
            "card": facts.name, "CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version()),
            "driver": driver(),
        }  # fmt: skip
        rows += [[name, value] for name, value in job.versions.items()]
        rows += [
            ["memory", f"{facts.total_memory / 2**30:.0f} GiB"],
            ["compute capability", f"{facts.major}.{facts.minor}"],
        ]
        job.keep()
    side, megabytes = (8192, 2048) if job.device == "cuda" else (256, 16)
    one = torch.randn(side, side, device=job.device, dtype=torch.bfloat16)
    seconds = fastest(lambda: one @ one, job.device)
    rows.append([f"product of {side} x {side} in bf16", f"{2 * side**3 / seconds / 1e12:.3g} TFLOP/s"])
    numbers = torch.rand(megabytes * 2**18, device=job.device)
    copy = torch.empty_like(numbers)
    seconds = fastest(lambda: copy.copy_(numbers), job.device)
    rows.append([f"copy of {megabytes} MiB, read and written", f"{2 * numbers.nbytes / seconds / 1e9:.0f} GB/s"])
    job.keep()


def driver() -> str:
    """The version of the driver, as far as its program is there."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.split()
        return lines[0] if lines else "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def fastest(work: Callable[[], object], device: str, times: int = 12) -> float:
    """Seconds of the fastest of some calls, the first ones left out."""
    taken = []
    for _ in range(times):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return min(taken[2:])


def synchronize(device: str) -> None:
    """Waits until the device has done all that it was asked for."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


# THE TESTS OF THE PROJECTS ------------------------------------------------------------------------


def tests(job: Job) -> None:
    """The quick tests of each project, and the one that kills it, as their owners would run them."""
    how = "`pytest -m quick` and `pytest tests/test_resume.py` in each project; the projects find the device themselves"
    rows = job.table("The tests of the projects", how, ["", "passed", "failed", "seconds"])
    chosen = {"quick tests": ["-m", "quick", "tests"], "test_resume": ["tests/test_resume.py"]}
    order = [(name, what) for name in job.names for what in chosen]
    done: dict[tuple[str, str], list[str]] = {}
    failed = 0
    with ThreadPoolExecutor(job.at_once) as pool:
        asked = {pool.submit(tested, job, name, chosen[what]): (name, what) for name, what in order}
        for future in as_completed(asked):
            (name, what), (code, said, took) = asked[future], future.result()
            good, bad = (sum(map(int, re.findall(rf"(\d+) {word}", said))) for word in ("passed", "(?:failed|error)"))
            bad = max(bad, int(code != 0 or not good))  # one that never came to its summary is one that failed
            done[name, what] = [f"{name}: {what}", str(good), str(bad), f"{took:.0f}"]
            failed += bad
            rows[:] = [done[key] for key in order if key in done]
            job.aim(f"tests of {len(job.names)} projects that failed", failed, most=0)
            if bad:
                job.trouble(f"{name}: {what} (exit status {code})", said)
            job.keep()


def tested(job: Job, name: str, chosen: list[str]) -> tuple[int, str, float]:
    """Runs some tests of a project; returns the exit status, what was said, and the seconds."""
    began = time.monotonic()
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *chosen]
    code, said = ran(job, words, job.work / "projects" / name)
    return code, said, time.monotonic() - began


# KILLED AND RESUMED -------------------------------------------------------------------------------

PATIENCE = 60  # seconds that a start of a run may take on a card, where it should take ten


def resume(job: Job) -> None:
    """Runs of each project, killed once or twice at random moments and started again, beside two that were left alone."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    how = (
        f"training on the digits with `--deterministic`, {job.at_once} processes at a time, killed (SIGKILL) once or twice at "
        f"random (seed {seed}) and started again by the same command; equal means every bit of model, optimizer and random "
        "numbers in the last checkpoint, and every row of numbers, as in a run that was left alone"
    )
    columns = ["", "left alone, twice", "killed", "kills", "before the first checkpoint", "while saving", "equal"]
    rows = job.table("Killed and resumed", how, columns)
    found = {name: Kills() for name in job.names}

    def keep() -> None:
        rows[:] = [[name, *kills.cells()] for name, kills in found.items()]
        resumed, equal = (sum(getattr(kills, what) for kills in found.values()) for what in ("runs", "equal"))
        job.aim("runs that were killed and resumed", resumed, least=job.runs)
        unequal = resumed - equal + sum(kills.alone == "other bits" for kills in found.values())
        job.aim("runs, left alone or killed, that ended with other bits", unequal, most=0)
        job.keep()

    keep()
    running: dict[Future[Trained], tuple[str, int]] = {}
    numbers, spare = count(3), job.runs
    shares = {name: len(range(place, job.runs, len(job.names))) for place, name in enumerate(job.names)}
    with ThreadPoolExecutor(job.at_once) as pool:

        def begin(name: str) -> None:
            moments = [dice.uniform(-0.1, 0.9) * found[name].span for _ in range(dice.choice((1, 1, 2)))]
            number = next(numbers)
            running[pool.submit(trained, job, name, number, moments)] = name, number

        for name, number in product(job.names, (1, 2)):
            running[pool.submit(trained, job, name, number, [])] = name, number
        alone: dict[str, list[Trained]] = {name: [] for name in job.names}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, number = running.pop(future)
                done, kills = future.result(), found[name]
                if not done.finished:
                    continue
                if number < 3:
                    alone[name].append(done)
                    if len(alone[name]) == 2:  # with both, others of this project can be killed and compared
                        kills.alone = compare(job, name, 2)
                        kills.span = min(run.seconds for run in alone[name])
                        for line in not_repeated(run_folder(job, name, 1) / "train.log"):
                            job.trouble(f"{name}: a warning of a run that was left alone", line)
                        for _ in range(shares[name]):
                            begin(name)
                elif done.hits:
                    kills.runs += 1
                    kills.kills += len(done.hits)
                    kills.early += done.hits.count("before")
                    kills.saving += done.hits.count("saving")
                    if compare(job, name, number) == "equal":
                        kills.equal += 1
                        shutil.rmtree(run_folder(job, name, number))
                elif spare:  # it was done before the kill came: another takes its place
                    spare -= 1
                    begin(name)
                keep()


@dataclass
class Kills:
    """What happened to the runs of a project."""

    alone: str = "not finished"
    runs: int = 0
    kills: int = 0
    early: int = 0
    saving: int = 0
    equal: int = 0
    span: float = 0.0

    def cells(self) -> list[str]:
        return [self.alone, *(str(number) for number in (self.runs, self.kills, self.early, self.saving, self.equal))]


@dataclass(frozen=True)
class Trained:
    """A run: whether it came to its end, the seconds that it trained in its last start, and where it was when killed."""

    finished: bool
    seconds: float
    hits: list[str]


def run_folder(job: Job, name: str, number: int) -> Path:
    return job.work / "runs" / name / str(number)


def trained(job: Job, name: str, number: int, moments: list[float]) -> Trained:
    """Trains until the end; at each of the moments (seconds after it has begun) it is killed and started again."""
    folder = run_folder(job, name, number)
    words = [sys.executable, "-m", f"{name}.train", "--run", str(number), "--run-dir", str(folder.parent)]
    epochs = 2 if job.device == "cpu" and name != "cnn" else EPOCHS[name]  # a ResNet takes long on a CPU
    words += ["--deterministic", "--epochs", str(epochs)]
    hits: list[str] = []
    lead = 0.0  # seconds from the start of the process to that of the run
    for moment in [*moments, None]:
        log = folder.with_name(f"{number}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(
                words, cwd=job.work / "projects" / name, env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = began + min(PATIENCE if job.device == "cuda" else math.inf, max(1.0, job.left() - 5))
        try:
            if not lead:
                while process.poll() is None and not has_begun(folder / "train.log") and time.monotonic() < deadline:
                    time.sleep(0.01)
                lead = time.monotonic() - began
            if moment is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, began + lead + moment - time.monotonic()))
                if process.poll() is None:
                    process.kill()  # SIGKILL: nothing can be caught
                    process.wait()
                    checkpoints = folder / "checkpoints"
                    saving = any(checkpoints.glob(".tmp-*"))
                    hits.append("saving" if saving else "later" if any(checkpoints.glob("[0-9]*")) else "before")
                    continue
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            end(process)
        if process.returncode != 0:
            said = log.read_text(encoding="utf-8", errors="replace")
            job.trouble(f"{name}: run {number} after {len(hits)} kills (exit status {process.returncode})", said)
            return Trained(False, 0.0, hits)
        if moment is not None:
            break  # it was faster than the hand that should have killed it
    return Trained(True, max(0.1, time.monotonic() - began - lead), hits)


def has_begun(log: Path) -> bool:
    """Whether a run has come to its first step: by then it has told its layer groups."""
    return log.exists() and "layer groups" in log.read_text(encoding="utf-8", errors="replace")


def newest(folder: Path) -> Path:
    """The last checkpoint of a run."""
    steps = [path for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()]
    return max(steps, key=lambda path: int(path.name))


def compare(job: Job, name: str, number: int) -> str:
    """Whether a run has ended as run 1 did: "equal", or "other bits", which is told."""
    import torch

    one, two = run_folder(job, name, 1), run_folder(job, name, number)
    wrong = []
    if (first := newest(one)).name != (second := newest(two)).name:
        wrong.append(f"the last checkpoint is {second.name} and not {first.name}")
    for file in sorted(first.glob("*.pt")):
        ours, theirs = (torch.load(path / file.name, map_location="cpu", weights_only=True) for path in (first, second))
        wrong += [f"{file.name}: {difference}" for difference in differences(ours, theirs)]
    if (one / "metrics.jsonl").read_bytes() != (two / "metrics.jsonl").read_bytes():
        wrong.append("metrics.jsonl has other rows")
    if wrong:
        job.trouble(f"{name}: run {number} ended with other bits", "\n".join(wrong[:20]))
    return "other bits" if wrong else "equal"


def differences(one: Any, two: Any, path: str = "") -> Iterator[str]:
    """Where two trees of tensors differ in a bit."""
    import torch

    if isinstance(one, dict) and isinstance(two, dict):
        for key in one.keys() | two.keys():
            yield from differences(one.get(key), two.get(key), f"{path}.{key}" if path else str(key))
    elif not (isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor)):
        if one != two:
            yield f"{path} is {two!r} and not {one!r}"
    elif one.shape != two.shape or one.dtype != two.dtype:
        yield f"{path} has another shape or type"
    elif not torch.equal(bits(one), bits(two)):
        yield f"{path} differs by up to {float((one.double() - two.double()).abs().max()):.3g}"


def bits(tensor: Any) -> Any:
    """The bytes of a tensor."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)


def not_repeated(log: Path) -> list[str]:
    """What torch says of operations that do not repeat bit for bit."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return list(dict.fromkeys(line for line in lines if "deterministic" in line))[:5]


# NOTHING WAITS FOR THE DEVICE ---------------------------------------------------------------------

LOG_EVERY = 10
FIRST = 3  # steps in which things are made once: constants on the device, the optimizer's memory, buckets of gradients


def waits(job: Job) -> None:
    """Every project's own training, in which a step must not wait for the device unless it is one that is logged."""
    how = (
        f'`PROJECT.train --log-every {LOG_EVERY}` under `torch.cuda.set_sync_debug_mode("error")`, for two epochs; '
        f"left out are the first {FIRST} steps, every {LOG_EVERY}th (there losses are read, and several processes agree "
        "whether to stop), evaluation and saving. The last row reads its images by workers"
    )
    if job.device == "cpu":
        how = how.replace('`torch.cuda.set_sync_debug_mode("error")`', "a watch for numbers that are read, as on a CPU")
    rows = job.table("Waiting for the device", how, ["", "steps watched", "steps that waited", "where"])
    chosen: dict[str, tuple[str, list[str]]] = {name: (name, []) for name in job.names}
    chosen[f"{job.names[0]}, two workers"] = (job.names[0], ["--cache-mb", "0", "--num-workers", "2"])
    found: dict[str, list[str]] = {}
    waited = 0
    with ThreadPoolExecutor(job.at_once) as pool:
        asked = {pool.submit(watched, job, *words): title for title, words in chosen.items()}
        for future in as_completed(asked):
            title, (steps, places, said) = asked[future], future.result()
            found[title] = [title, str(steps), str(len(places)), "; ".join(dict.fromkeys(places)) or "-"]
            waited += len(places)
            rows[:] = [found[title] for title in chosen if title in found]
            job.aim("steps between logged ones that waited for the device", waited, most=0)
            if said:
                job.trouble(f"{title}: its training under watch", said)
            job.keep()


def watched(job: Job, name: str, flags: list[str]) -> tuple[int, list[str], str]:
    """Trains under watch in a process of its own: the steps watched, the places that waited, and what went wrong."""
    folder = Path(tempfile.mkdtemp(dir=job.work))
    words = [sys.executable, str(Path(__file__).resolve()), "--watch", name, "--work", str(job.work)]
    words += ["--device", job.device, "--found", str(folder / "found.json"), "--", "--run-dir", str(folder / "run")]
    words += ["--epochs", "2", "--log-every", str(LOG_EVERY), *flags]
    if "distributed" in PROJECTS[name]:
        words += ["--agree-every", str(LOG_EVERY)]
    code, said = ran(job, words, job.work / "projects" / name)
    found: dict[str, Any] = {"steps": 0, "places": []}
    with suppress(OSError):
        found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found["steps"], found["places"], "" if code == 0 and found["steps"] else f"exit status {code}\n{said}"


class Watch:
    """Between `begin` and `end`, whatever waits for the device raises an error; or, to see them all, is noted in `places`."""

    def __init__(self, device: str, folder: Path, raises: bool) -> None:
        self.device, self.folder, self.raises = device, folder, raises
        self.on = False
        self.places: list[str] = []

    def begin(self) -> None:
        self.on = True
        self._torch("error" if self.raises else "warn")

    def end(self) -> None:
        self.on = False
        self._torch("default")

    def _torch(self, mode: str) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.set_sync_debug_mode(mode)

    def waited(self, *_: Any, **__: Any) -> None:
        """Notes where in the project it was."""
        if self.on:
            self.places.append(place(traceback.extract_stack(), self.folder))

    @contextmanager
    def around(self) -> Iterator[None]:
        """Makes waiting noticed: by torch's own warnings or errors on a GPU, by a look at every operation on a CPU."""
        from torch.utils._python_dispatch import TorchDispatchMode

        class Reads(TorchDispatchMode):
            def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                if watch.on and op.name() == "aten::_local_scalar_dense":
                    if watch.raises:
                        raise RuntimeError("called a synchronizing operation")
                    watch.waited()
                return op(*args, **(kwargs or {}))

        watch, usual = self, warnings.showwarning

        def shown(message: Any, *more: Any, **named: Any) -> None:
            if "synchronizing" in str(message):
                watch.waited()
            else:
                usual(message, *more, **named)

        logging.captureWarnings = lambda capture: None  # the project would take the warnings to its train.log
        warnings.simplefilter("always")
        warnings.showwarning = shown
        try:
            if self.device == "cpu":
                with Reads():  # type: ignore[no-untyped-call]
                    yield
            else:
                yield
        finally:
            self.end()
            warnings.showwarning = usual


def place(stack: traceback.StackSummary, folder: Path) -> str:
    """The line of the project that a stack is in, or its last line."""
    ours = [frame for frame in stack if str(folder) in frame.filename] or [stack[-1]]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].line}"


def watch_training(words: argparse.Namespace) -> int:
    """A project's own train.py under watch; what it found is written for `watched`.

    Where a step waits, the first error has ended the training; a second one then warns only, and so finds all places.
    """
    folder = words.work / "projects" / words.watch
    sys.path.insert(0, str(folder))
    watch = Watch(words.device, folder / words.watch, raises=True)
    code, steps, error = train_under(watch, words)
    write(words.found, {"steps": steps, "places": [error] if error else []})
    if error:
        watch = Watch(words.device, folder / words.watch, raises=False)
        code, steps, _ = train_under(watch, words)
        write(words.found, {"steps": steps, "places": watch.places or [error]})
    return code


def train_under(watch: Watch, words: argparse.Namespace) -> tuple[int, int, str]:
    """Trains once; returns the exit status, the steps under watch, and the place that waited, if that is an error."""
    train, run, loading = (
        importlib.import_module(f"{words.watch}.{name}") for name in ("train", "engine.run", "engine.loader")
    )
    number = steps = 0

    def load(loader: Any) -> Iterator[Any]:
        nonlocal number, steps
        try:
            for batch in loading.load(loader):
                number += 1
                if number > FIRST and number % LOG_EVERY:
                    steps += 1
                    watch.begin()
                else:
                    watch.end()
                yield batch
        finally:
            watch.end()

    vars(run).update(load=load, draw=lambda folder: folder)
    sys.argv = ["train", "--new-run", *words.more]
    try:
        with watch.around():
            return int(train.launch(train.Options, train.train, train.show_plan)), steps, ""
    except RuntimeError as problem:
        if "synchronizing" not in str(problem):
            raise
        return 0, steps, place(traceback.extract_tb(problem.__traceback__), watch.folder)


# HOW FAST -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What is trained to see how fast: a project, and the size of its images and batches on a GPU."""

    project: str
    title: str
    image: int
    batch: int
    classes: int = 1000
    compile: bool = False
    options: dict[str, int] = field(default_factory=dict)
    contenders: tuple[str, ...] = ("tuned by hand", "generated", "lightning", "accelerate")


ALL = (
    "tuned by hand",
    "generated",
    "lightning",
    "accelerate",
    "generated, deterministic",
    "tuned by hand, no augmentation",
)
SETTINGS = {
    "resnet50 bf16": Setting("resnet", "resnet50, bf16, channels_last", 224, 256, contenders=ALL),
    "resnet50 fp32": Setting("resnet_fp32", "resnet50, fp32, channels_last", 224, 128),
    "cnn": Setting("cnn", "the default cnn, fp32", 32, 64, classes=10),
    "transformer": Setting("transformer", "a small transformer, bf16", 224, 256,
                           options={"patch_size": 16, "dim": 384, "depth": 12, "heads": 6}),
    "compiled": Setting("resnet", "resnet50, bf16, channels_last, compiled", 224, 256, compile=True,
                        contenders=("tuned by hand", "generated")),
}  # fmt: skip
BASE = "tuned by hand"


class Race:
    """The batches that all contenders get, the clock, and what they share: network, optimizer, augmentation and losses are
    those of the project, built anew for each turn."""

    def __init__(self, job: Job, setting: Setting) -> None:
        import torch

        folder = job.work / "projects" / setting.project
        sys.path.insert(0, str(folder))
        self.job, self.setting, self.torch = job, setting, torch
        self.scratch = Path(tempfile.mkdtemp(dir=job.work))
        image, batch, options = setting.image, setting.batch, dict(setting.options)
        if job.device == "cpu":
            image, batch = (8 if setting.compile else 32), 4
            options.update({name: value for name, value in {"dim": 32, "depth": 1, "heads": 2}.items() if options})
        elif torch.cuda.get_device_properties(0).total_memory < 40 * 2**30:
            batch //= 4
        self.opt = self.module("options").Options(
            batch_size=batch, image_size=image, epochs=1, new_run=True, run_dir=str(self.scratch / "run"),
            deterministic=False, compile=setting.compile, **options,
        )  # fmt: skip
        self.facts = {"classes": [*map(str, range(setting.classes))], "image_size": image}
        self.started = self.module("engine").Process.start(self.opt)  # it would end with its last reference
        self.process = self.started.__enter__()
        self.device = self.process.device
        self.check_device()
        dice = torch.Generator().manual_seed(0)
        different = 4
        images = torch.randint(256, (different * batch, 3, image, image), dtype=torch.uint8, generator=dice)
        labels = torch.randint(setting.classes, (different * batch,), generator=dice)
        noise = torch.rand(different * batch, 5, generator=dice)
        numbers = torch.arange(different * batch)

        def split(*columns: Any) -> list[Any]:
            """In memory from which a GPU copies by itself, as a loader gives them."""
            parts = zip(*(column.split(batch) for column in columns), strict=True)
            return [[part.pin_memory() if job.device == "cuda" else part for part in row] for row in parts]

        # a project looks up the random numbers of its images; the others are given them
        self.numbered, self.batches = split(images, labels, numbers), split(images, labels, noise)
        self.bf16 = self.opt.precision == "bf16"
        self.clip = self.opt.clip
        self.warm, self.steps = (4, 4) if job.device == "cuda" else (1, 2)
        self.began = self.took = 0.0
        self.kept: dict[str, Any] = {}

    def check_device(self) -> None:
        """Whoever is timed has to be where it is thought to be."""
        if self.device.type != self.job.device:
            raise SystemExit(f"the project chose {self.device}, and {self.job.device} was wanted")

    def module(self, name: str) -> Any:
        return importlib.import_module(f"{self.setting.project}.{name}")

    def clocked(self, batches: list[Any] | None = None) -> Iterator[Any]:
        """The batches of a turn; the clock runs from the end of the warm-up."""
        batches = batches or self.batches
        for number in range(self.warm + self.steps):
            if number == self.warm:
                synchronize(self.job.device)
                self.began = time.perf_counter()
            yield batches[number % len(batches)]
        self.stop()

    def stop(self) -> None:
        """Stops the clock, when the device has done everything."""
        if self.began:
            synchronize(self.job.device)
            self.took, self.began = time.perf_counter() - self.began, 0.0

    def usual_flags(self) -> None:
        """What a project sets with --no-deterministic, for those who do not go through it."""
        torch = self.torch
        torch.manual_seed(0)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("high")
        if self.job.device == "cuda":
            torch.backends.cuda.enable_flash_sdp(True)
            torch.backends.cuda.enable_mem_efficient_sdp(True)
            torch.backends.cuda.enable_cudnn_sdp(True)

    def net(self, who: str) -> Any:
        """The project's network on the device; a compiled one is kept, since compiling takes longer than a turn."""
        if who in self.kept:
            return self.kept[who]
        net = self.module("model").build_model(self.opt, self.facts).to(self.device)
        if self.job.device == "cuda":
            net.to(memory_format=self.torch.channels_last)
        if self.setting.compile:
            net.compile()
            self.kept[who] = net
        return net.train()

    def optimizer(self, net: Any) -> Any:
        optim = self.module("optim")
        return optim.build_optimizer(optim.optim_params(net, self.opt), self.opt)

    def images(self, images: Any, noise: Any, augmented: bool = True) -> Any:
        """A batch as the network takes it, by the project's own functions."""
        data = self.module("data")
        images = images.to(self.device, non_blocking=True)
        return data.augment(images, noise, self.opt, {}) if augmented else data.normalise(images, {})

    def loss(self, outputs: Any, labels: Any) -> Any:
        return self.module("losses").criterion(outputs, labels, self.opt)["loss"]

    def cosine(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / (self.warm + self.steps)))


def generated(race: Race, deterministic: bool = False) -> None:
    """The project's own train.py from beginning to end; only reading, evaluating and saving give way."""
    train, metrics, run, loading = (race.module(name) for name in ("train", "metrics", "engine.run", "engine.loader"))

    class Images:
        facts = race.facts

        def __len__(self) -> int:
            return int(race.opt.batch_size * (race.warm + race.steps))

        def fingerprint(self) -> str:
            return "images in memory"

        def describe(self) -> str:
            return self.fingerprint()

    def quiet(num: int, root: Path = race.scratch, rank: int = 0) -> logging.Logger:
        log = logging.getLogger("race")
        log.propagate = False
        return log

    def built(opt: Any, facts: Any) -> Any:
        if not race.setting.compile:
            return build_model(opt, facts)
        return race.kept.setdefault("generated", build_model(opt, facts))  # one that was compiled is compiled

    def load(loader: Any) -> Iterator[Any]:
        return ([loading.Part(*batch, 1.0)] for batch in race.clocked(race.numbered))

    build_model = race.module("model").build_model
    vars(train).update(
        load_data=lambda opt, process: (Images(), Images()),
        build_model=built,
        evaluate=lambda *_: SimpleNamespace(compute=lambda: {metrics.BEST: 0.5, "loss": 1.0}),
        train_logger=quiet,
    )
    vars(run).update(load=load, draw=lambda folder: folder)
    run.Run._save = lambda self: None
    train.train(replace(race.opt, deterministic=deterministic), race.process)


def by_hand(race: Race, augmented: bool = True) -> None:
    """The fastest loop that we could write: nothing is looked up, read, logged or saved."""
    torch = race.torch
    race.usual_flags()
    net = race.net(f"by hand {augmented}")
    optimizer = race.optimizer(net)
    parameters = list(net.parameters())
    total = torch.zeros((), device=race.device)
    for step, (images, labels, noise) in enumerate(race.clocked()):
        images = race.images(images, noise, augmented)
        labels = labels.to(race.device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(race.device.type, torch.bfloat16, enabled=race.bf16):
            outputs = net(images)
        loss = race.loss(outputs, labels)
        loss.backward()
        if race.clip:
            torch.nn.utils.clip_grad_norm_(parameters, race.clip)
        rate = race.opt.lr * race.cosine(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        total += loss.detach()
    assert math.isfinite(total.item())


def lightning(race: Race) -> None:
    """Lightning as its documentation has it: a logger, a schedule per step, precision by the trainer."""
    import lightning
    from lightning.pytorch.loggers import CSVLogger

    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    race.usual_flags()

    class Stream:
        def __iter__(self) -> Iterator[Any]:
            return race.clocked()

        def __len__(self) -> int:
            return race.warm + race.steps

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = race.net("lightning")

        def training_step(self, batch: Any, number: int) -> Any:
            images, labels, noise = batch
            loss = race.loss(self.net(race.images(images, noise)), labels)
            self.log("loss", loss)
            return loss

        def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
            # with 16 bits the trainer refuses to clip for a fused optimizer, which all have
            race.torch.nn.utils.clip_grad_norm_(self.parameters(), race.clip)

        def on_train_epoch_end(self) -> None:
            race.stop()  # it knows how many batches there are, and never asks for one more

        def configure_optimizers(self) -> Any:
            optimizer = race.optimizer(self.net)
            schedule = race.torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, race.warm + race.steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="gpu" if race.job.device == "cuda" else "cpu", devices=1, precision="bf16-mixed" if race.bf16 else "32-true",
        gradient_clip_val=race.clip or None, log_every_n_steps=20, logger=CSVLogger(race.scratch / "lightning"),
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, benchmark=True,
    )  # fmt: skip
    trainer.fit(Module(), Stream())


def accelerate(race: Race) -> None:
    """Accelerate as its documentation has it."""
    import accelerate

    race.usual_flags()
    accelerator = accelerate.Accelerator(
        mixed_precision="bf16" if race.bf16 else "no", cpu=race.job.device == "cpu", step_scheduler_with_optimizer=False
    )
    raw = race.net("accelerate")
    plain = race.optimizer(raw)
    schedule: Any = race.torch.optim.lr_scheduler.CosineAnnealingLR(plain, race.warm + race.steps)
    net, optimizer, schedule = accelerator.prepare(raw, plain, schedule)
    total = race.torch.zeros((), device=race.device)
    for batch in race.clocked():
        images, labels, noise = accelerate.utils.send_to_device(batch, accelerator.device, non_blocking=True)
        optimizer.zero_grad()
        loss = race.loss(net(race.images(images, noise)), labels)
        accelerator.backward(loss)
        if race.clip:
            accelerator.clip_grad_norm_(net.parameters(), race.clip)
        optimizer.step()
        schedule.step()
        total += loss.detach()
    assert math.isfinite(total.item())


CONTENDERS: dict[str, Callable[[Race], None]] = {
    BASE: by_hand,
    "generated": generated,
    "lightning": lightning,
    "accelerate": accelerate,
    "generated, deterministic": partial(generated, deterministic=True),
    "tuned by hand, no augmentation": partial(by_hand, augmented=False),
}


def turn(race: Race, who: str) -> tuple[float, float]:
    """Lets one contender train; returns the seconds of a step and the most memory of the device in GB (0 on a CPU)."""
    cuda = race.torch.cuda if race.job.device == "cuda" else None
    gc.collect()
    if cuda:
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()
    race.took = race.began = 0.0
    CONTENDERS[who](race)
    if not race.took:
        raise RuntimeError(f"{who} did not train to its end")
    return race.took / race.steps, cuda.max_memory_allocated() / 1e9 if cuda else 0.0


def speed(name: str, job: Job) -> None:
    """Images a second of the contenders, which take turns; the middle of the turns counts."""
    setting = SETTINGS[name]
    if setting.compile and job.device == "cpu":  # a ResNet takes minutes to compile there
        setting = replace(setting, project="cnn", title="the default cnn, compiled", classes=10)
    race = Race(job, setting)
    running = [who for who in setting.contenders if who not in ("lightning", "accelerate") or is_there(who)]
    missing = [[who, "not installed here", *["-"] * 4] for who in setting.contenders if who not in running]
    rows = job.table(
        setting.title, "", ["", "images a second", "ms a step", f"times {BASE}", "middle half", "GB at most"]
    )
    times: dict[str, list[float]] = {who: [] for who in running}
    peaks = dict.fromkeys(running, 0.0)
    longest, rounds = 0.0, 0

    def one_round(first: int) -> dict[str, float]:
        took = {}
        for who in running[first:] + running[:first]:
            try:
                took[who], peak = turn(race, who)
                peaks[who] = max(peaks[who], peak)
            except Exception:  # noqa: BLE001  # whatever it is, the others go on
                job.trouble(who, traceback.format_exc())
        return took

    warm = one_round(0)  # algorithms are chosen and compiled in it
    running = [who for who in running if who in warm]
    if job.device == "cuda" and warm:
        race.steps = min(300, max(10, round(2 / max(warm.values()))))
    most = 15 if job.device == "cuda" else 1
    while running and rounds < most and (not rounds or job.left() > 1.3 * longest + 2):
        began = time.monotonic()
        took = one_round(rounds % len(running))
        running = [who for who in running if who in took]
        for who, seconds in took.items():
            times[who].append(seconds)
        rounds += 1
        longest = max(longest, time.monotonic() - began)
        job.tables[-1]["how"] = (
            f"images of {race.opt.image_size} x {race.opt.image_size}, batch {race.opt.batch_size}, {race.steps} steps in a turn after {race.warm} to warm up, {rounds} turns; all have "
            "the same uint8 images in memory, network, optimizer, losses"
            + (f", clipping at {race.clip:g}" if race.clip else "")
            + " and, by the project's own functions, normalisation and augmentation; the project also logs"
        )
        rows[:] = [line(race, who, times, peaks) for who in setting.contenders if times.get(who)] + missing
        if job.device == "cuda":
            told(job, setting, times)
        job.keep()
    if not rows:
        raise SystemExit("no contender has trained")


def ratios(times: dict[str, list[float]], who: str, base: str) -> list[float]:
    """The time of one contender over that of another in each turn that both were in."""
    return [own / other for own, other in zip(times.get(who, []), times.get(base, []), strict=False)]


def line(race: Race, who: str, times: dict[str, list[float]], peaks: dict[str, float]) -> list[str]:
    """The row of a contender."""
    seconds, found = median(times[who]), ratios(times, who, BASE)
    low, _, high = quantiles(found, n=4) if len(found) > 1 else (found or [math.nan]) * 3
    kept = race.setting.compile or race.job.device == "cpu"  # compiled networks stay in memory
    return [
        who, f"{race.opt.batch_size / seconds:.4g}", f"{seconds * 1e3:.3g}", f"{median(found):.2f}" if found else "-",
        f"{low:.2f} to {high:.2f}" if found else "-", "-" if kept else f"{peaks[who]:.1f}",
    ]  # fmt: skip


def told(job: Job, setting: Setting, times: dict[str, list[float]]) -> None:
    """What was wanted of the generated code."""
    for other, most in ((BASE, 1.05), ("lightning", 1.0), ("accelerate", 1.0)):
        found = ratios(times, "generated", other)
        if found:
            job.aim(f"{setting.title}: a step of generated over {other}", median(found), most=most)


# THE PARTS ----------------------------------------------------------------------------------------

# What comes first is what matters most; among what is left, what is cheap comes before what is dear.
PARTS = (
    Part("machine", "what card it is, and the most that it can do", machine, 60, 5),
    Part("tests", "the quick tests and test_resume of projects as unlike as they get", tests, 110, 30),
    Part("resume", "runs killed at random and resumed end with equal bits", resume, 130, 40),
    Part("waits", "no step waits for the device but those that are logged", waits, 60, 20),
    Part(
        "resnet50 bf16",
        "images a second beside a hand-tuned loop, Lightning and accelerate",
        partial(speed, "resnet50 bf16"),
        110,
        40,
    ),
    Part("resnet50 fp32", "the same in 32 bits", partial(speed, "resnet50 fp32"), 60, 25),
    Part("cnn", "the same with the default project", partial(speed, "cnn"), 45, 15),
    Part("transformer", "the same with a small transformer", partial(speed, "transformer"), 45, 25),
    Part("compiled", "resnet50 in bf16, compiled", partial(speed, "compiled"), 150, 60),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gpu.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, default=Path("results"), help="folder for gpu.json and gpu.log (%(default)s)")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tiny sizes, to see that it works")
    add("--seconds", type=float, default=480, help="all parts together (%(default)s)")
    add(
        "--parts",
        default="",
        help="some only, such as resume,waits; there are " + ", ".join(part.name for part in PARTS),
    )
    add("--projects", default="", help="some only, such as cnn,ddp; there are " + ", ".join(UNLIKE))
    add("--runs", type=int, default=0, help="runs to kill and resume (20; 2 on a CPU)")
    add("--at-once", type=int, default=0, help="processes at a time (8; 2 on a CPU)")
    for name in ("--part", "--watch"):
        add(name, default="", help=argparse.SUPPRESS)
    for name in ("--work", "--found"):
        add(name, type=Path, help=argparse.SUPPRESS)
    add("more", nargs="*", help=argparse.SUPPRESS)
    return parser


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line, with what follows from the device."""
    found = parser().parse_args(words)
    on_cpu = found.device == "cpu"
    found.runs = found.runs or (2 if on_cpu else 20)
    found.at_once = found.at_once or (2 if on_cpu else 8)
    found.projects = found.projects or ",".join(("cnn", "ddp") if on_cpu else UNLIKE)
    for flag, known in (("parts", [part.name for part in PARTS]), ("projects", UNLIKE)):
        unknown = [name for name in getattr(found, flag).split(",") if name and name not in known]
        if unknown:
            parser().error(f"--{flag}: there is no {unknown[0]!r}; there are {', '.join(known)}")
    return found


def no_core_files() -> None:
    """A process with a card in its memory that ends by a signal would leave gigabytes."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main(words: Sequence[str]) -> int:
    if words[:1] == ["prepare"]:
        if len(words) != 2 or words[1].startswith("-"):
            print("python -m bench.gpu prepare FOLDER", file=sys.stderr)
            return 2
        carried = Path(words[1])
        prepare(carried)
        size = sum(path.stat().st_size for path in carried.rglob("*")) / 2**20
        print(f"{carried}: {size:.1f} MB; on the machine with the GPU:   python {carried.name}/gpu.py --out RESULTS")
        return 0
    found = arguments(words)
    here = Path(__file__).resolve().parent
    if found.watch or found.part:
        no_core_files()
    if found.watch:
        return watch_training(found)
    if found.part:
        part = next(part for part in PARTS if part.name == found.part)
        names = tuple(found.projects.split(","))
        job = Job(part.name, found.work, found.device, found.seconds, found.runs, found.at_once, names)
        part.work(job)
        job.keep()
        return 0
    if (here / PREPARED).exists():
        return run_all(here, found)
    with tempfile.TemporaryDirectory(prefix="torch-scaffold-gpu-") as folder:
        prepare(Path(folder), wheels=False)
        return run_all(Path(folder), found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
