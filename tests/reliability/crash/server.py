"""Starts training processes quickly: it imports torch once, forks a server for each project, and that one forks the training.

    python -m tests.reliability.crash.server        then requests on standard input

Each request is a line of JSON: a project, its package, and the two named pipes by which its server is asked and answers. Of that
one, `start` forks one process, or one for each rank; `wait` says how they ended.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import time
import traceback
from importlib import import_module
from typing import Any

from tests.reliability.crash import faults

GRACE = 5.0  # seconds that the other ranks have to end by themselves


# What projects import, and what takes its time.
SHARED = (
    "torch.distributed.fsdp",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
    "matplotlib.backends.backend_agg",
    "tqdm",
    "tyro",
)


def main() -> None:
    """Forks servers until standard input ends."""
    import torch

    torch.set_num_threads(1)
    for name in SHARED:
        import_module(name)
    # not `for line in sys.stdin`, which reads ahead, and a child would inherit that
    while lines := os.read(0, 1 << 20):
        for line in lines.splitlines():
            request = json.loads(line)
            if os.fork() == 0:
                # in the order in which the other side opens them
                for number, way, how in ((0, "requests", os.O_RDONLY), (1, "answers", os.O_WRONLY)):
                    pipe = os.open(request[way], how)
                    os.dup2(pipe, number)
                    os.close(pipe)
                serve(request["project"], request["package"])
                os._exit(0)


def serve(project: str, package: str) -> None:
    """Trains a project until standard input ends."""
    os.chdir(project)
    sys.path.insert(0, project)
    import_module(f"{package}.train")
    gc.freeze()
    print(json.dumps("ready"), flush=True)
    while line := os.read(0, 1 << 20):
        request = json.loads(line)
        if request["do"] == "wait":
            print(json.dumps(wait(request["pids"], request.get("limit", float("inf")))), flush=True)
            continue
        pids: list[int] = []
        port = free_port()
        for rank in range(request["ranks"]):
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, pids[0] if pids else 0)
                if request["ranks"] > 1:
                    os.environ.update(environment(rank, request["ranks"], port))
                child(request, package)
            pids.append(pid)
            with contextlib.suppress(OSError):  # it has done so itself, or has ended already
                os.setpgid(pid, pids[0])  # here too: the next one is to find the group
        print(json.dumps(pids), flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}


def child(request: dict[str, Any], package: str) -> None:
    """Runs a module of the project to its end, and never comes back."""
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # after a fork torch makes its pool of threads anew at the first call, and two threads that do so at a time end the process
    import_module("torch").set_num_threads(1)
    try:
        if request["project"] != sys.path[0]:
            take_code_of(request["project"], package)
        for name, arguments in request["faults"]:
            getattr(faults, name)(**arguments)
        sys.argv = [request["module"], *request["argv"]]
        module = import_module(f"{package}.{request['module']}")
        if request["module"] == "train":
            code = module.launch(module.Options, module.train, module.show_plan)
        else:
            code = module.main()
    except SystemExit as problem:
        code = problem.code if isinstance(problem.code, int) else 1
    except BaseException:  # noqa: BLE001, whatever it is, the parent's code must not go on in the child
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # taking down all that was imported takes a second


def take_code_of(project: str, package: str) -> None:
    """Forgets the package that was imported, in favour of a changed copy of it in another folder."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    sys.path[0] = project
    os.chdir(project)


def wait(pids: list[int], limit: float) -> list[int]:
    """How each process ended (as `subprocess` has it); once one has failed the others must end soon, or are killed.

    After `limit` seconds all of them are.
    """
    ended: dict[int, int] = {}
    deadline = time.monotonic() + limit
    while len(ended) < len(pids):
        for pid in set(pids) - set(ended):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                ended[pid] = os.waitstatus_to_exitcode(status)
                if ended[pid] == -signal.SIGKILL:
                    deadline = 0.0
                elif ended[pid]:
                    deadline = min(deadline, time.monotonic() + GRACE)
        if time.monotonic() > deadline:
            for pid in set(pids) - set(ended):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return [ended[pid] for pid in pids]


if __name__ == "__main__":
    main()
