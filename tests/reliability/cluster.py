"""Machines that tests make on this one: two hosts with a cable between them, and a Slurm cluster of two nodes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

HOSTS_NEED = None if os.geteuid() == 0 and shutil.which("ip") else "two hosts take root and iproute2"
SLURM_NEEDS = (
    None
    if os.geteuid() == 0 and all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged"))
    else "a cluster takes root, slurm-wlm and munge"
)


def ip(*words: str) -> None:
    """Iproute2, which must do it."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Two network namespaces as hosts, 10.77.0.1 and 10.77.0.2, joined by a virtual cable."""

    def __init__(self) -> None:
        self.names = [f"torch-scaffold-{os.getpid()}-{number}" for number in (1, 2)]
        one, two = self.names
        try:
            for name in self.names:
                ip("netns", "add", name)
            ip("link", "add", "eth1", "netns", one, "type", "veth", "peer", "name", "eth1", "netns", two)
            for number, name in enumerate(self.names, start=1):
                ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth1")
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "link", "set", "eth1", "up")
        except subprocess.CalledProcessError:
            self.close()
            raise

    def command(self, number: int, *words: str) -> list[str]:
        """A command as it is run on host 1 or 2."""
        faces = ["GLOO_SOCKET_IFNAME=eth1", "TP_SOCKET_IFNAME=eth1"]
        return ["ip", "netns", "exec", self.names[number - 1], "env", *faces, *words]

    def cable(self, state: str) -> None:
        """Pulls the cable out ("down") or plugs it in again ("up")."""
        ip("-n", self.names[0], "link", "set", "eth1", state)

    def close(self) -> None:
        """Removes the hosts, and ends what still runs there."""
        for name in self.names:
            inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in map(int, inside.stdout.split()):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(subprocess.CalledProcessError):  # it was not made
                ip("netns", "del", name)


CONFIGURATION = """ClusterName=local
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
KillWait=30
SlurmdTimeout=10
MinJobAge=300
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A Slurm of two nodes of one core, n1 and n2, on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "spool.n1", "spool.n2"):
            (folder / name).mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        port, first, second = free_ports(3)
        text = CONFIGURATION.format(host=host, folder=folder, port=port, first=first, second=second)
        (folder / "slurm.conf").write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        hosts = Path("/etc/hosts").read_text()
        for name in ("n1", "n2"):  # so that a job's host names resolve as on a real cluster
            if f" {name}\n" not in hosts:
                with Path("/etc/hosts").open("a") as file:
                    file.write(f"127.0.0.1 {name}\n")
        self.munge = not self._runs("munged")
        if self.munge:
            Path("/run/munge").mkdir(exist_ok=True)
            shutil.chown("/run/munge", "munge", "munge")
            command = "/usr/sbin/munged --force --pid-file=/run/munge/munged.pid"
            subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", command], check=True, capture_output=True)
        self._start("slurmctld")
        for name in ("n1", "n2"):
            self.start_node(name)
        deadline = time.monotonic() + 60
        while self.ask("sinfo", "-h", "-t", "idle", "-o", "%D").strip() != "2":
            assert time.monotonic() < deadline, self.ask("sinfo")
            time.sleep(0.2)

    def _runs(self, name: str) -> bool:
        return subprocess.run(["pgrep", "-x", name], capture_output=True, check=False).returncode == 0

    def _start(self, *words: str) -> None:
        # a daemon that holds a pipe of ours would keep us waiting
        subprocess.run(words, env=self.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start_node(self, name: str) -> None:
        """Starts a node, as when it comes back."""
        self._start("slurmd", "-N", name)

    def kill_node(self, name: str) -> None:
        """A node dies, with all that runs on it."""
        log = str(self.folder / f"slurmd.{name}.log")  # which all of the node's own processes write to
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if log in [os.readlink(path) for path in (folder / "fd").iterdir()]:
                    _kill_tree(int(folder.name))

    def ask(self, *words: str) -> str:
        """What a command of Slurm says."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False).stdout

    def state(self, job: str) -> str:
        """RUNNING, PENDING, COMPLETED and so on."""
        said = self.ask("scontrol", "show", "job", job)
        return said.partition("JobState=")[2].split()[0]

    def nodes(self, job: str) -> str:
        """Where a job runs."""
        return self.ask("scontrol", "show", "job", job).partition(" NodeList=")[2].split()[0]

    def restarts(self, job: str) -> int:
        """How often a job was started again."""
        return int(self.ask("scontrol", "show", "job", job).partition("Restarts=")[2].split()[0])

    def close(self) -> None:
        """Stops what was started here."""
        self.ask("scancel", "--user=root")
        for name in ("slurmd.n1", "slurmd.n2", "slurmctld"):
            with suppress(OSError, ValueError):
                os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGTERM)
        if self.munge:
            with suppress(OSError, ValueError):
                os.kill(int(Path("/run/munge/munged.pid").read_text()), signal.SIGTERM)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _kill_tree(pid: int) -> None:
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    with suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    for child in map(int, children.stdout.split()):
        _kill_tree(child)
