"""Several processes that train together: how they start, communicate and end."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from typing_extensions import Self

from .errors import RunError, disk_error
from .log import NAME
from .options import FORMATS, RunOptions
from .seed import setup_seed

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process: number `rank` of `world`, working on `device`."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    @contextmanager
    def start(cls, opt: RunOptions) -> Iterator[Self]:
        """This process among those that torchrun started; without torchrun it is the only one."""
        if "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            raise RunError(
                f"Slurm started {os.environ['SLURM_NTASKS']} processes that do not know of each other; "
                "start one torchrun on each node:   sbatch launch/slurm.sh"
            )
        rank, local_rank = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
        world = int(os.environ.get("WORLD_SIZE", "1"))
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        if device.type != "cpu":
            count = torch.accelerator.device_count()
            if local_rank >= count:
                raise RunError(
                    f"there are {count} {device.type} devices here and none for process {local_rank}; start no more "
                    "processes than devices (torchrun --nproc-per-node)"
                )
            device = torch.device(device.type, local_rank)
            torch.accelerator.set_device_index(local_rank)
        try:
            dist.init_process_group(
                dist.get_default_backend_for_device(device),
                store=rendezvous_store(opt) if "RANK" in os.environ else dist.HashStore(),
                rank=rank,
                world_size=world,
                timeout=timedelta(seconds=opt.timeout),
                device_id=None if device.type == "cpu" else device,
            )
        except (dist.DistNetworkError, dist.DistStoreError) as problem:
            raise RunError(
                f"the processes could not meet at {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} "
                f"({str(problem).splitlines()[0]}); if that port is taken, give torchrun another --master-port"
            ) from problem
        try:
            yield cls(rank, world, device)
        except RuntimeError as problem:
            if world == 1 or not (isinstance(problem, dist.DistError) or "gloo" in str(problem)):
                raise
            # what went wrong first stands with the process that ended; this one's traceback says nothing of it
            logging.getLogger(NAME).exception("another process was lost", extra={"long": True})
            reason = str(problem).splitlines()[0].split("] ")[-1]
            raise RunError(
                f"another process was lost ({reason}); its own message says why, or it was killed, for example for "
                "want of memory; the same command continues the run",
                1,
            ) from None
        finally:
            dist.destroy_process_group()
            # a thread of gloo that still holds its last tensor when Python ends would abort the process (torch 2.14)
            time.sleep(0.1)

    def prepare(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, ready to train; from here on each process draws random numbers of its own."""
        if opt.compile:
            net.compile(dynamic=False)  # what is compiled must not depend on which batch came first
        self.share_batch_norm(net)
        net = self.to_device(net, opt)
        setup_seed(opt.seed + self.rank, opt.deterministic)
        return net

    def to_device(self, net: nn.Module, opt: RunOptions) -> nn.Module:
        """The model on the device, to be evaluated."""
        return net.to(self.device)

    def autocast(self, opt: RunOptions) -> AbstractContextManager[Any]:
        """Around a forward pass: computes in the number format of `--precision`."""
        return torch.autocast(self.device.type, FORMATS[opt.precision]) if opt.precision != "fp32" else nullcontext()

    @contextmanager
    def evaluating(self, net: nn.Module) -> Iterator[None]:
        """Around an evaluation: evaluation mode, no gradients, and the same buffers in every process."""
        self.same_buffers(net)
        training = {module: module.training for module in net.modules()}  # a frozen batch norm is not in training
        net.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in training.items():
                module.training = mode

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    def any_process(self, yes: bool) -> bool:
        """Whether any process says yes."""
        if self.world == 1:
            return yes  # without a look at the GPU
        return bool(self.total(torch.tensor(float(yes), device=self.device)) > 0)

    def broadcast(self, value: T) -> T:
        """The value of process 0."""
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one after another, on the device; their numbers may differ."""
        rows = rows.to(self.device)
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(self.world)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        shares = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(shares, padded)
        return torch.cat([share[:size] for share, size in zip(shares, sizes, strict=True)])

    @contextmanager
    def raise_together(self) -> Iterator[None]:
        """Around work that may fail in one process only: then all raise its error. They leave it together."""
        problem: RunError | None = None
        try:
            yield
        except (RunError, OSError) as error:
            problem = error if isinstance(error, RunError) else disk_error(error)
        found: list[RunError | None] = [None] * self.world
        dist.all_gather_object(found, problem)
        problems = {rank: one for rank, one in enumerate(found) if one}
        for rank, one in problems.items():
            shared = len(problems) == self.world and len(set(map(str, problems.values()))) == 1
            raise one if shared else RunError(f"rank {rank}: {one}", one.code)

    def check_equal(self, facts: dict[str, Any]) -> None:
        """Raises an error in all processes if their facts differ."""
        with self.raise_together():
            differing = [name for name, fact in self.broadcast(facts).items() if facts[name] != fact]
            if differing:
                raise RunError(f"not the same as in process 0: {', '.join(differing)}; start all processes alike")

    def share_batch_norm(self, net: nn.Module) -> None:
        """Lets batch norms see the whole batch, and not only the share of their process, where torch can."""
        if self.world > 1 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
            if self.device.type == "cuda":
                nn.SyncBatchNorm.convert_sync_batchnorm(net)
            else:
                logging.getLogger(__package__).warning(
                    "torch synchronises batch norms between GPUs only; here each process normalises its own share"
                )

    def same_buffers(self, net: nn.Module) -> None:
        """Copies those buffers of process 0 that a checkpoint holds to all: statistics of batch norms differ."""
        saved = net.state_dict().keys()
        for name, buffer in net.named_buffers():
            if name in saved:
                whole = buffer.contiguous()  # a part of another tensor cannot be sent
                dist.broadcast(whole, src=0)
                buffer.copy_(whole)


def rendezvous_store(opt: RunOptions) -> dist.Store:
    """A part of torchrun's store that processes of an earlier start have not used.

    torchrun keeps one store over all its restarts, with the addresses of dead processes still in it (seen in 2.14), and
    each host counts restarts by itself. So process 0 makes a new name, and answers each process that asks for it.
    """
    timeout = timedelta(seconds=opt.timeout)
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    own = uuid4().hex
    if rank > 0:
        store.set(f"process {rank} asks", own)
        name = store.get(own).decode()
        store.add(name, 1)
        return dist.PrefixStore(name, store)
    answered = {""}
    deadline = time.monotonic() + opt.timeout
    while store.add(own, 0) < world - 1:
        if time.monotonic() > deadline:
            raise dist.DistStoreError(f"not all of them started within {opt.timeout} s")
        for other in range(1, world):
            key = f"process {other} asks"
            question = store.get(key).decode() if store.check([key]) else ""
            if question not in answered:
                store.set(question, own)
                answered.add(question)
        time.sleep(0.01)
    return dist.PrefixStore(own, store)
