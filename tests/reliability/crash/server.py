"""Starts training processes quickly: it imports torch and a project once, and forks.

    python -m tests.reliability.crash.server PROJECT PACKAGE        then requests on standard input, answers on standard output

Each request is a line of JSON. `start` forks one process, or one for each rank; `wait` says how they ended.
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


def main() -> None:
    """Serves until standard input ends."""
    project, package = sys.argv[1:]
    os.chdir(project)
    sys.path.insert(0, project)
    import torch

    torch.set_num_threads(1)
    import_module(f"{package}.train")
    import_module("matplotlib.backends.backend_agg")
    import_module("torch.utils.tensorboard")
    gc.freeze()
    print(json.dumps("ready"), flush=True)
    # not `for line in sys.stdin`, which reads ahead, and a child would inherit that
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
