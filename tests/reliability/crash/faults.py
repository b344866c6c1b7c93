"""Faults that are set up in a training process before it starts: where it dies, is signalled, starved or poisoned.

A fault is a function here; a test names it with its arguments, `("die_at", {"operation": 7})`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

# What a power cut makes of the bytes that were written and not yet made safe.
POWER_CUTS = ("full", "missing", "empty", "zeros", "half", "half and zeros")


class Disk:
    """Counts what a process does to the files below a folder, and knows what a power cut could take back."""

    def __init__(self, folder: Path, before: Callable[[int, str], None]) -> None:
        self.folder, self.before, self.count = os.path.abspath(folder), before, 0
        self.safe: dict[str, int] = {}  # size up to which a file is safe, -1 if it may not be there at all
        self.renames: list[tuple[str, str]] = []  # those whose folder has not been made safe
        self.busy = False
        fsync = os.fsync

        def counted(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if self.ours(path):
                self.happens(f"fsync {path}")
            fsync(descriptor)
            if os.path.isdir(path):
                self.renames = [pair for pair in self.renames if os.path.dirname(pair[1]) != path]
            elif path in self.safe:
                self.safe[path] = os.path.getsize(path)

        vars(os)["fsync"] = counted
        sys.addaudithook(self.hook)

    def ours(self, path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(self.folder + os.sep)

    def happens(self, what: str) -> None:
        if not self.busy and threading.current_thread() is threading.main_thread():
            self.count += 1
            self.busy = True
            self.before(self.count, what)
            self.busy = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.busy:
            return
        if event == "open":
            path, _, flags = arguments
            # a folder is opened to see whether it takes files
            writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writing and self.ours(path) and not os.path.isdir(path):
                path = os.path.abspath(path)
                self.happens(f"open {path}")
                there = os.path.exists(path) and not flags & os.O_TRUNC
                self.safe.setdefault(path, os.path.getsize(path) if there else -1)
        elif event in ("os.mkdir", "os.rmdir", "os.remove", "os.truncate"):
            path = arguments[0]
            if event == "os.remove" and arguments[1] >= 0:  # as `rmtree` does it: a name in an open folder
                path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), path)
            if self.ours(path):
                self.happens(f"{event} {path}")
        elif event == "os.rename" and self.ours(arguments[1]):
            self.happens(f"rename {arguments[0]} to {arguments[1]}")
            old, new = (os.path.abspath(path) for path in arguments[:2])
            self.renames.append((old, new))
            # what was written below the old name is found below the new one
            self.safe = {
                new + path.removeprefix(old) if path == old or path.startswith(old + os.sep) else path: size
                for path, size in self.safe.items()
            }

    def cut_power(self, kind: str, undo_renames: bool) -> None:
        """Leaves the disk as a power cut may: what is not safe yet is lost or torn."""
        self.busy = True
        for path, size in self.safe.items():
            if kind == "full" or not os.path.exists(path):
                continue
            data = Path(path).read_bytes()
            start = max(size, 0)
            fresh = data[start:]
            if not fresh and size >= 0:
                continue
            if kind == "missing":
                if size < 0 and not path.endswith("/lock"):
                    os.remove(path)
                    continue
                fresh = b""
            elif kind == "empty":
                fresh = b""
            elif kind == "zeros":
                fresh = bytes(len(fresh))
            else:
                half = fresh[: len(fresh) // 2]
                fresh = half if kind == "half" else half + bytes(len(fresh) - len(half))
            Path(path).write_bytes(data[:start] + fresh)
        if undo_renames:
            for old, new in reversed(self.renames):
                if os.path.exists(new) and not os.path.exists(old):
                    os.rename(new, old)


def rank_here() -> int:
    """Which of the processes this one is."""
    return int(os.environ.get("RANK", "0"))


def die() -> None:
    """As by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def count(folder: str, log: str) -> None:
    """Writes down each operation of process 0 on the files below a folder."""
    if rank_here() != 0:
        return
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    Disk(Path(folder), lambda number, what: void(os.write(file, f"{number} {what}\n".encode())))


def die_at(folder: str, operation: int) -> None:
    """Process 0 dies just before its n-th operation on the files below a folder."""
    if rank_here() != 0:
        return
    Disk(Path(folder), lambda number, _: die() if number == operation else None)


def power_cut_at(folder: str, operation: int, kind: str, undo_renames: bool) -> None:
    """Dies there, and leaves the disk as a power cut may."""

    def before(number: int, _: str) -> None:
        if number == operation:
            disk.cut_power(kind, undo_renames)
            die()

    disk = Disk(Path(folder), before)


def signal_at_operation(folder: str, operation: int, number: int) -> None:
    """Sends this process a signal just before the n-th operation, that is, while it saves."""
    Disk(Path(folder), lambda count, _: os.kill(os.getpid(), number) if count == operation else None)


def record(package: str, log: str) -> None:
    """Writes down the numbers of the items of every batch that is trained on, by epoch and place in it."""
    run_class = import_module(f"{package}.engine.run").Run
    batches = run_class.batches
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _records.append((descriptor, log))
    rank = str(rank_here())

    def recorded(run: Any, loader: Any, epoch: int) -> Any:
        place = run.progress.batch
        for batch in batches(run, loader, epoch):
            numbers = [number for part in batch for number in part.numbers.tolist()]
            line = json.dumps({"rank": rank, "epoch": epoch, "place": place, "numbers": numbers})
            os.write(descriptor, line.encode() + b"\n")
            place += 1
            yield batch

    run_class.batches = recorded


_records: list[tuple[int, str]] = []  # where this process writes its own notes


def before_each_step(package: str, do: Callable[[], object]) -> None:
    """Calls `do` before the first forward pass of every step."""
    run_class = import_module(f"{package}.engine.run").Run
    parts = run_class.parts

    def preceded(run: Any, model: Any, batch: Any) -> Any:
        do()
        return parts(run, model, batch)

    run_class.parts = preceded


def with_model(package: str, change: Callable[[Any], object]) -> None:
    """Lets `change` see the model that is to be trained, just after it was built."""
    train = import_module(f"{package}.train")
    build = train.build_model

    def built(*arguments: Any) -> Any:
        net = build(*arguments)
        change(net)
        return net

    vars(train)["build_model"] = built


def no_picture(package: str) -> None:
    """Leaves out the picture at the end, which takes longer than these runs."""
    vars(import_module(f"{package}.engine.run"))["draw"] = lambda folder: folder


def picture(package: str) -> None:
    """Draws it all the same."""
    vars(import_module(f"{package}.engine.run"))["draw"] = import_module(f"{package}.engine.pictures").draw


def signal_in(
    package: str, where: str, time_: int, number: int, group: bool = False, again: int = 0, only_rank: int = 0
) -> None:
    """Signals this process or its whole group at the n-th step, forward, backward, evaluation or worker start."""
    if rank_here() != only_rank:
        return
    import torch

    seen = 0

    def now(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == time_:
            if group:
                os.killpg(0, number)
            else:
                os.kill(os.getpid(), number)
            if again:
                threading.Timer(1.2, os.kill, (os.getpid(), again)).start()

    if where == "step":
        before_each_step(package, now)
    elif where in ("forward", "backward"):

        def watch(net: Any) -> None:
            if where == "forward":
                next(net.children()).register_forward_pre_hook(lambda module, _: now() if module.training else None)
            else:
                list(net.children())[-1].register_full_backward_hook(now)  # FSDP replaces hooks of parameters

        with_model(package, watch)
    elif where == "evaluation":
        evaluate = import_module(f"{package}.evaluate")
        batches = evaluate.evaluation_batches

        def in_the_middle(*arguments: Any) -> Any:
            for batch in batches(*arguments):
                now()
                yield batch

        vars(evaluate)["evaluation_batches"] = in_the_middle
    elif where == "worker start":
        start = torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__
        handlers = import_module("torch.utils.data._utils.signal_handling")

        def started(self: Any, loader: Any) -> None:
            threading.Timer(0.1, now).start()
            start(self, loader)

        def slowly(ready: Callable[[], None] = handlers._set_worker_signal_handlers) -> None:
            ready()
            time.sleep(0.3)  # here a worker dies of a signal, if one reaches it

        torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__ = started  # type: ignore[method-assign]  # a fault
        vars(handlers)["_set_worker_signal_handlers"] = slowly
    else:
        raise ValueError(where)


def note_loaded(package: str, path: str) -> None:
    """Writes down the weights and the optimizer's memory just after a checkpoint was loaded."""
    import torch

    run_class, state = import_module(f"{package}.engine.run").Run, import_module(f"{package}.engine.state")
    put_back = run_class._put_back

    def noted(run: Any, found: Any) -> None:
        put_back(run, found)
        net, optimizer = run._models["model"], run._optimizers["optimizer"]
        loaded = {"model": state.model_state(net), "optimizer": state.optimizer_state(net, optimizer)}
        if rank_here() == 0:
            torch.save(loaded, path)

    run_class._put_back = noted


def fail_once(package: str, what: str, rank: int, step: int = 0, folder: str = "", operation: int = 0) -> None:
    """Dies, exits or raises in the n-th step, or before the n-th operation on a folder, unless torchrun restarted it."""
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" or rank_here() != rank:
        return

    def fail() -> None:
        if what == "die":
            die()
        if what == "exit":
            sys.exit(1)
        raise RuntimeError("a fault")

    if folder:
        Disk(Path(folder), lambda number, _: fail() if number == operation else None)
        return
    before_step(package, step, fail)


def huge(package: str) -> None:
    """Begins with a buffer whose square no 32-bit number can hold."""

    def fill(net: Any) -> None:
        next(buffer for name, buffer in net.named_buffers() if name.endswith("running_var")).fill_(1e30)

    with_model(package, fill)


def poison(package: str, where: str, step: int, value: float, only_rank: int | None = None) -> None:
    """Puts a NaN or an infinity into the images, the loss or one gradient of the n-th step."""
    if only_rank is not None and rank_here() != only_rank:
        return
    train = import_module(f"{package}.train")
    seen = 0

    def counted() -> None:
        nonlocal seen
        seen += 1

    before_each_step(package, counted)
    if where == "input":
        augment, spoilt_one = train.augment, False

        def augmented(*arguments: Any) -> Any:
            nonlocal spoilt_one
            images = augment(*arguments)
            if seen == step and not spoilt_one:
                spoilt_one = True
                images = images.clone()
                images[0, 0, 0, 0] = value
            return images

        vars(train)["augment"] = augmented
    elif where == "loss":
        criterion = train.criterion

        def spoilt(*arguments: Any) -> Any:
            terms = criterion(*arguments)
            if seen == step:
                terms["loss"] = terms["loss"] * value
            return terms

        vars(train)["criterion"] = spoilt
    elif where == "gradient":

        def spoil(gradient: Any) -> Any:
            if seen != step:
                return gradient
            gradient = gradient.clone()
            gradient[(0,) * gradient.dim()] = value
            return gradient

        def watch(_: Any, __: Any, output: Any) -> None:
            if output.requires_grad:
                output.register_hook(spoil)

        # FSDP replaces hooks of parameters
        with_model(package, lambda net: next(net.children()).register_forward_hook(watch))


def file_limit(size: int) -> None:
    """No file may grow beyond this, as when a quota is used up."""
    # what is said and noted goes through other processes, which have no such limit
    through = [([1, 2], ["cat"])]
    through += [([descriptor], ["tee", "--append", log]) for descriptor, log in _records]
    helpers = []
    for descriptors, command in through:
        output = None if command == ["cat"] else subprocess.DEVNULL
        helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output)
        assert helper.stdin is not None
        for descriptor in descriptors:
            os.dup2(helper.stdin.fileno(), descriptor)
        helper.stdin.close()
        helpers.append((descriptors, helper))

    def last_words() -> None:
        for descriptors, helper in reversed(helpers):
            for descriptor in descriptors:
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            helper.wait()

    atexit.register(last_words)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def bad_worker(package: str, what: str, number: int) -> None:
    """A loader worker that hangs, is frozen, dies or raises when it reads the item of this number."""
    data = import_module(f"{package}.data")
    fetch = data.MyDataset.__getitem__

    def bad(self: Any, wanted: int) -> Any:
        if wanted == number and "train" in str(self.folder):
            if what == "freeze":  # with batches that only it can hand over
                os.kill(os.getpid(), signal.SIGSTOP)
            if what == "hang":
                time.sleep(3600)
            if what == "die":
                die()
            if what == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
                time.sleep(60)
            kinds: dict[str, Exception] = {"raise": OSError(5, "Input/output error"), "no more": EOFError(what)}
            raise kinds.get(what, RuntimeError(what))
        return fetch(self, wanted)

    data.MyDataset.__getitem__ = bad


def unnoticed_workers() -> None:
    """torch does not hear of a loader worker's end by a signal, as when another wait for it comes first."""
    signal_handling: Any = import_module("torch.utils.data._utils.signal_handling")
    signal_handling._set_SIGCHLD_handler = lambda: None


def signal_after(seconds: float, number: int) -> None:
    """Sends this process a signal after so many seconds."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def few_files(count: int) -> None:
    """So many files can be open at once."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def small_shm(size: int) -> None:
    """/dev/shm has so many bytes, for this process and its workers."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x00020000) == 0, "a mount namespace takes root"
    assert libc.mount(b"none", b"/", None, 0x40000 | 0x4000, None) == 0  # private: nobody else sees the next one
    assert libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, f"size={size}".encode()) == 0


def kill_a_worker_at_its_start() -> None:
    """Kills a loader worker while the loader is still being put together."""
    from multiprocessing import active_children

    handling: Any = import_module("torch.utils.data._utils.signal_handling")
    set_handler = handling._set_SIGCHLD_handler

    def then_kill() -> None:
        set_handler()
        active_children()[0].kill()
        time.sleep(1)

    handling._set_SIGCHLD_handler = then_kill


def kill_a_worker_in_a_fork() -> None:
    """Kills a loader worker while another is started, where Python can only print what is raised."""
    from multiprocessing import active_children

    forks = 0

    def now() -> None:
        nonlocal forks
        forks += 1
        if forks == 3:  # by now torch watches
            active_children()[0].kill()
            time.sleep(1)

    os.register_at_fork(after_in_parent=now)


def kill_a_worker(after: float) -> None:
    """Kills a loader worker this many seconds after the first one was started."""
    from multiprocessing import process

    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            children = list(process._children)  # type: ignore[attr-defined]  # multiprocessing's own list
            if children:
                time.sleep(after)
                with contextlib.suppress(OSError):
                    os.kill(children[0].pid, signal.SIGKILL)
                return
            time.sleep(0.001)

    threading.Thread(target=kill, daemon=True).start()


def slow(package: str, seconds: float) -> None:
    """Makes each step take longer, so that others have time to interfere."""
    before_each_step(package, lambda: time.sleep(seconds))


def watch_for_code(log: str) -> None:
    """Writes down whatever runs a program, imports a stranger or opens a connection."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.system", "socket.connect", "os.exec", "os.posix_spawn") or (
            event == "subprocess.Popen" and arguments[0] != "git"
        ):
            os.write(descriptor, f"{event} {arguments!r}\n".encode())

    sys.addaudithook(hook)


def threads(number: int) -> None:
    """Computes with so many threads."""
    import torch

    torch.set_num_threads(number)


def void(_: object) -> None:
    """Takes a value that nobody needs."""


def unreadable(path: str) -> None:
    """A file or folder that the disk, or its permissions, do not let this process read."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]) == path:
            raise OSError(5, "Input/output error", path)

    sys.addaudithook(refuse)


def immovable(path: str) -> None:
    """A folder that cannot be given another name."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[0]) == path:
            raise PermissionError(1, "Operation not permitted", path)

    sys.addaudithook(refuse)


# What may become of a file or a folder. What was there is kept aside, so that it can be put back.
DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda path, _: None,
    "empty": lambda path, old: path.mkdir() if old.is_dir() else path.write_bytes(b""),
    "cut": lambda path, old: path.write_bytes(old.read_bytes()[: old.stat().st_size // 2] if old.is_file() else b""),
    "garbage": lambda path, _: path.write_bytes(bytes(range(256)) * 8),
    "a folder": lambda path, _: (path / "not ours").mkdir(parents=True),
    "unreadable": lambda path, old: copy_with_mode(old, path, 0),
    "read-only": lambda path, old: copy_with_mode(old, path, 0o500 if old.is_dir() else 0o400),
    "link to nowhere": lambda path, _: path.symlink_to("/nowhere/at/all"),
    "FIFO": lambda path, _: os.mkfifo(path),
}


def copy_with_mode(old: Path, path: Path, mode: int) -> None:
    """The same file or folder, with other permissions."""
    if old.is_dir():
        shutil.copytree(old, path)
    elif old.exists():
        shutil.copy(old, path)
    else:
        path.touch()
    path.chmod(mode)


def damage(path: str, kind: str, aside: str) -> None:
    """Puts something else in the place of a file or a folder, and what was there aside."""
    there, old = Path(path), Path(aside)
    there.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(there):
        there.rename(old)
    DAMAGES[kind](there, old)


def damage_when(package: str, when: str, path: str, kind: str, aside: str) -> None:
    """Damages it in the 8th step, just before the last checkpoint is saved, or after that."""
    run_class, saving = import_module(f"{package}.engine.run").Run, import_module(f"{package}.engine.checkpoint")
    save, finish = saving.save, run_class.finish

    def saved(folder: Path, step: int, *arguments: Any) -> None:
        if step == 12 and when == "the last save":
            damage(path, kind, aside)
        save(folder, step, *arguments)

    def finished(run: Any) -> Any:
        if when == "the end":
            damage(path, kind, aside)
        return finish(run)

    if when == "a step":
        before_step(package, 2, lambda: damage(path, kind, aside))
    vars(saving)["save"], run_class.finish = saved, finished


def before_step(package: str, number: int, do: Callable[[], object]) -> None:
    """Calls `do` before the n-th step of this process."""
    seen = 0

    def counted() -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            do()

    before_each_step(package, counted)


def bound_by_permissions() -> None:
    """Takes from root what lets it read and write whatever it likes (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert libc.capset(header, sets) == 0


def otherwise(package: str, rank: int, options: dict[str, Any], python: str = "") -> None:
    """One process has other settings, or another Python."""
    if rank_here() != rank:
        return
    launch = import_module(f"{package}.engine.launch")
    parse = launch.parse

    def parsed(*arguments: Any) -> Any:
        opt = parse(*arguments)
        return replace(opt, **options, given=(*opt.given, *options))

    vars(launch)["parse"] = parsed
    if python:
        vars(import_module("platform"))["python_version"] = lambda: python


def on_rank(rank: int, fault: tuple[str, dict[str, Any]]) -> None:
    """A fault of one process only."""
    if rank_here() == rank:
        globals()[fault[0]](**fault[1])
