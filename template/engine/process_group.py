"""Several processes that learn together: how they meet, what they tell each other, and how they part."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from typing_extensions import Self

from .errors import RunError
from .options import RunOptions

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process: number `rank` of `world`, working on `device`."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def start(cls, opt: RunOptions) -> Self:
        """Joins the other processes that torchrun started; without torchrun this process is the only one."""
        if "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            raise RunError(
                f"Slurm started {os.environ['SLURM_NTASKS']} processes that do not know of each other; "
                "start one torchrun on each node:   sbatch launch/slurm.sh"
            )
        local_rank, world = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        if device.type != "cpu":
            count = torch.accelerator.device_count()
            if local_rank >= count:
                raise RunError(
                    f"there are {count} {device.type} devices here and no number {local_rank}; start no more processes "
                    "than devices (torchrun --nproc-per-node)"
                )
            device = torch.device(device.type, local_rank)
            torch.accelerator.set_device_index(local_rank)
        backend = dist.get_default_backend_for_device(device)
        try:
            dist.init_process_group(
                backend,
                store=meeting_place(opt) if "RANK" in os.environ else dist.HashStore(),
                rank=int(os.environ.get("RANK", "0")),
                world_size=world,
                timeout=timedelta(seconds=opt.timeout),
                device_id=None if device.type == "cpu" else device,
            )
        except (dist.DistNetworkError, dist.DistStoreError) as problem:
            raise RunError(
                f"the processes could not meet at {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')} "
                f"({str(problem).splitlines()[0]}); if that port is taken, give torchrun another --master-port"
            ) from problem
        return cls(rank=dist.get_rank(), world=world, device=device)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        return tensor

    def any_process(self, yes: bool) -> bool:
        """Whether any process says yes."""
        return bool(self.total(torch.tensor(float(yes), device=self.device)) > 0)

    def stop_now(self, asked: bool, step: int, opt: RunOptions) -> bool:
        """Whether to stop after this step because some process was asked to; they ask each other now and then."""
        return step % opt.agree_every == 0 and self.any_process(asked)

    def broadcast(self, value: T) -> T:
        """What process 0 knows, sent to all."""
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one after another and on the device; each may bring another number of them."""
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
    def main_process_first(self) -> Iterator[None]:
        """Process 0 goes first; the others find its work done."""
        if self.rank > 0:
            dist.barrier()
        try:
            yield
        finally:
            if self.rank == 0:
                dist.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around work that may fail in one process and not in another: then all stop with its sentence."""
        problem: RunError | None = None
        try:
            yield
        except (RunError, OSError) as error:
            problem = error if isinstance(error, RunError) else RunError(str(error))
        found: list[RunError | None] = [None] * self.world
        dist.all_gather_object(found, problem)
        problems = {rank: one for rank, one in enumerate(found) if one}
        for rank, one in problems.items():
            shared = len(problems) == self.world and len(set(map(str, problems.values()))) == 1
            raise one if shared else RunError(f"{one} (rank {rank})", one.code)

    def compare(self, facts: dict[str, Any]) -> None:
        """Stops all processes together, with one sentence, where one knows other facts than process 0."""
        found: list[dict[str, Any]] = [{}] * self.world
        dist.all_gather_object(found, facts)
        differing = []
        for name, wanted in found[0].items():
            ranks = [str(rank) for rank, other in enumerate(found) if other[name] != wanted]
            if ranks:
                differing.append(f"{name} (rank {', '.join(ranks[:8])}{', ...' if ranks[8:] else ''})")
        if differing:
            raise RunError(f"the processes differ from rank 0 in {', '.join(differing)}; start them all alike")

    def share_batch_norm(self, net: nn.Module) -> None:
        """Lets batch norms see the whole batch, of which each process has only a share, where torch can."""
        if self.world > 1 and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
            if self.device.type == "cuda":
                nn.SyncBatchNorm.convert_sync_batchnorm(net)
            else:
                logging.getLogger(__package__).warning(
                    "torch shares batch norms between GPUs only: here each process normalises its own part of a batch"
                )

    def same_buffers(self, net: nn.Module) -> None:
        """Gives all the buffers that a checkpoint holds, those of process 0: statistics of batch norms differ."""
        saved = net.state_dict().keys()
        for name, buffer in net.named_buffers():
            if name in saved:
                whole = buffer.contiguous()  # a part of another tensor cannot be sent
                dist.broadcast(whole, src=0)
                buffer.copy_(whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves the other processes."""
        if dist.is_initialized():
            dist.destroy_process_group()
            # a thread of gloo that still holds its last tensor when Python ends would abort the process (torch 2.14)
            time.sleep(0.1)


def meeting_place(opt: RunOptions) -> dist.Store:
    """Where the processes find each other: a part of torchrun's store that those of an earlier start have not used.

    torchrun keeps one store for all its restarts, in which the addresses of dead processes still stand (seen in 2.14),
    and counts restarts for each host alone; so process 0 gives the place a name, and tells it to those who ask now.
    """
    timeout = timedelta(seconds=opt.timeout)
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    mine = uuid4().hex
    if rank > 0:
        store.set(f"process {rank} asks", mine)
        name = store.get(mine).decode()
        store.add(name, 1)
        return dist.PrefixStore(name, store)
    answered = {""}
    deadline = time.monotonic() + opt.timeout
    while store.add(mine, 0) < world - 1:
        if time.monotonic() > deadline:
            raise dist.DistStoreError(f"not all came within {opt.timeout} s")
        for other in range(1, world):
            key = f"process {other} asks"
            question = store.get(key).decode() if store.check([key]) else ""
            if question not in answered:
                store.set(question, mine)
                answered.add(question)
        time.sleep(0.01)
    return dist.PrefixStore(mine, store)
