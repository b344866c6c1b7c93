"""Rendered projects, and what can be done with them: start, wait, compare."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, Any

from scaffold.render.rendering import render

ROOT = Path(__file__).parents[3]
Fault = tuple[str, dict[str, Any]]
Change = tuple[str, str, str]  # a file of a project, what stands there once, and what is to stand there instead
FLAGS = ["--run", "1", "--batch-size", "16", "--log-every", "2"]


def write_images(folder: Path) -> None:
    """Four classes of 8 x 8 images, each a bright quarter in noise: 12 to train on and 5 to validate on."""
    dice = random.Random(0)
    for split, count in (("train", 12), ("val", 5)):
        for label in range(4):
            (folder / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                pixels = [[[dice.randrange(120) for _ in range(3)] for _ in range(8)] for _ in range(8)]
                for y in range(4):
                    for x in range(4):
                        pixels[4 * (label // 2) + y][4 * (label % 2) + x] = [250, 200, 220]
                write_png(folder / split / f"class{label}" / f"{number}.png", pixels)


def write_png(path: Path, pixels: list[list[list[int]]]) -> None:
    """A picture of 8-bit colours."""
    rows = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in pixels)
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@dataclass
class Ended:
    """How a start of training ended: exit status (of the first process) and all that was printed."""

    code: int
    codes: list[int]
    said: str


@dataclass
class Started:
    """Training that was started."""

    project: Project
    pids: list[int]
    output: Path

    def wait(self, limit: float = 1e6) -> Ended:
        """Until all its processes are gone; after so many seconds they are killed."""
        codes = self.project.ask({"do": "wait", "pids": self.pids, "limit": limit})
        failed = [code for code in codes if code]
        return Ended(failed[0] if failed else 0, codes, self.output.read_text(errors="replace"))


@cache
def all_servers() -> IO[bytes]:
    """Where servers are asked for: a process that has imported torch, one for all projects."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "tests.reliability.crash.server"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    atexit.register(process.communicate)
    return process.stdin


class Server:
    """A process that has imported a project and forks its training; asked and heard by two named pipes."""

    def __init__(self, folder: Path, package: str) -> None:
        with tempfile.TemporaryDirectory() as place:
            requests, answers = (os.path.join(place, way) for way in ("requests", "answers"))
            os.mkfifo(requests)
            os.mkfifo(answers)
            asked = {"project": str(folder), "package": package, "requests": requests, "answers": answers}
            all_servers().write(json.dumps(asked).encode() + b"\n")
            self.requests = os.fdopen(os.open(requests, os.O_WRONLY), "w")
            self.answers = os.fdopen(os.open(answers, os.O_RDONLY))
        assert json.loads(self.answers.readline()) == "ready"

    def ask(self, request: dict[str, Any]) -> Any:
        self.requests.write(json.dumps(request))
        self.requests.flush()
        return json.loads(self.answers.readline())

    def close(self) -> None:
        """Ends it, and waits for that."""
        self.requests.close()
        self.answers.read()
        self.answers.close()


@dataclass
class Project:
    """A rendered project with a server that forks its training."""

    folder: Path
    package: str
    images: Path
    ranks: int = 1
    flags: list[str] = field(default_factory=list)
    parts: int = 1  # how many forward passes a step has, as the project is set up
    server: Server | None = None
    number: int = 0

    def ask(self, request: dict[str, Any]) -> Any:
        """The server's answer to a request."""
        if self.server is None:
            self.server = Server(self.folder, self.package)
        return self.server.ask(request)

    def start(
        self, work: Path, *flags: str, faults: list[Fault] | None = None, ranks: int = 0, module: str = "train"
    ) -> Started:
        """Starts training in the folder `work`, which is to hold `run`; notes the samples it sees there."""
        work.mkdir(parents=True, exist_ok=True)
        self.number += 1
        output = work / f"output.{self.number}"
        output.touch()  # a process may be killed before it opens it
        argv = list(flags)
        if module == "train":
            argv = [*FLAGS, "--data-dir", str(self.images), "--run-dir", str(work / "run"), *self.flags, *flags]
        watched: list[Fault] = [
            ("record", {"package": self.package, "log": str(work / "samples.jsonl")}),
            ("no_picture", {"package": self.package}),
        ]
        pids = self.ask(
            {
                "do": "start",
                "project": str(self.folder),
                "ranks": ranks or self.ranks,
                "module": module,
                "argv": argv,
                "output": str(output),
                "faults": watched + (faults or []),
            }
        )
        return Started(self, pids, output)

    def run(
        self, work: Path, *flags: str, faults: list[Fault] | None = None, ranks: int = 0, module: str = "train"
    ) -> Ended:
        """Starts training and waits for its end."""
        return self.start(work, *flags, faults=faults, ranks=ranks, module=module).wait()

    def changed(self, folder: Path, changes: Iterable[Change]) -> Project:
        """A copy in another folder with changes to its code, which the same server starts; `close` ends that one."""
        self.ask({"do": "wait", "pids": []})  # the server is there
        return self.edited(folder, changes)

    def edited(self, folder: Path, changes: Iterable[Change]) -> Project:
        """A copy in another folder with changes to its code; what is to be changed stands there once."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for name, old, new in changes:
            path = folder / name.replace("PACKAGE", self.package)
            text = path.read_text()
            assert text.count(old) == 1, f"{name} has {text.count(old)} times what is to be changed: {old!r}"
            path.write_text(text.replace(old, new))
        return replace(self, folder=folder)

    def close(self) -> None:
        """Ends the server."""
        if self.server is not None:
            self.server.close()
            self.server = None


def make(folder: Path, name: str, answers: Mapping[str, Any], images: Path, flags: list[str] | None = None) -> Project:
    """Renders a project."""
    package = f"crash_{name}"
    render({"project_name": package, **answers}, folder / package)
    ranks = 1 if answers.get("distributed", "none") == "none" else 2
    return Project(folder / package, package, images, ranks, list(flags or []), answers.get("accumulate", 1))


def write_own_data(project: Project) -> None:
    """Writes what the project's own tests train on to where its images are to be."""
    code = "import sys; from pathlib import Path; from scaffold.trials.trial_data import write_data; write_data(Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(project.folder)])}
    subprocess.run([sys.executable, "-c", code, str(project.images)], cwd=project.folder, env=environment, check=True)


def checkpoints(work: Path, run: int = 1) -> Path:
    """Where the checkpoints of a run are."""
    return work / "run" / str(run) / "checkpoints"


def steps(work: Path, run: int = 1) -> list[int]:
    """The steps that have a checkpoint."""
    folder = checkpoints(work, run)
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def metrics(work: Path, kind: str = "", run: int = 1) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`, of one kind or of all."""
    rows = [json.loads(line) for line in (work / "run" / str(run) / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if kind in ("", row["kind"])]


def verifies(checkpoint: Path) -> bool:
    """Whether each file is what the manifest says; looked at here without the project's own code."""
    try:
        if not (checkpoint / "MANIFEST.json").is_file():
            return False
        files = json.loads((checkpoint / "MANIFEST.json").read_text())["files"]
        return bool(files) and all(
            (checkpoint / name).is_file()  # and no FIFO, which would be waited for
            and hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() == facts["sha256"]
            for name, facts in files.items()
        )
    except (OSError, ValueError, KeyError):
        return False


@dataclass(frozen=True)
class Outcome:
    """All of a run that must be equal: hashes of its last tensors, where it stood, the rows, the samples."""

    tensors: dict[str, str]
    state: dict[str, Any]
    rows: list[str]
    samples: dict[str, list[int]]

    def differs(self, other: Outcome) -> list[str]:
        """The names of what is not equal."""
        names = [name for name in self.tensors | other.tensors if self.tensors.get(name) != other.tensors.get(name)]
        parts = ["state"] * (self.state != other.state) + ["rows"] * (self.rows != other.rows)
        return names + parts + ["samples"] * (self.samples != other.samples)


def outcome(work: Path, run: int = 1) -> Outcome:
    """What a run has come to; a sample list that was seen twice must have been the same both times."""
    step = steps(work, run)[-1]
    newest = checkpoints(work, run) / str(step)
    assert verifies(newest), f"{newest} is damaged"
    files = json.loads((newest / "MANIFEST.json").read_text())["files"]
    tensors = {name: facts["sha256"] for name, facts in files.items() if name.endswith(".pt")}
    samples: dict[str, list[int]] = {}
    for line in (work / "samples.jsonl").read_text().splitlines():
        seen = json.loads(line)
        key = f"epoch {seen['epoch']} batch {seen['place']} rank {seen['rank']}"
        assert samples.setdefault(key, seen["numbers"]) == seen["numbers"], f"{key} had other images the second time"
    rows = (work / "run" / str(run) / "metrics.jsonl").read_text().splitlines()
    keys = [(json.loads(row)["kind"], json.loads(row)["step"]) for row in rows]
    assert len(keys) == len(set(keys)), "a row was written twice"
    return Outcome(tensors, json.loads((newest / "state.json").read_text()), rows, samples)


def fresh(work: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
