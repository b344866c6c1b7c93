"""A language model beside the loop of nanoGPT, with the same network, text and optimizer: python -m bench.tokens"""

from __future__ import annotations

import logging
import math
import sys
import time
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import loops, projects
from bench.measure import Result, Table, finish, ratio, turns

CLIP = 1.0


def nanogpt(project: str, opt: Any, facts: dict[str, Any], steps: int) -> loops.Epoch:
    """As its train.py has it for one process without a GPU, with the rate set anew before each step and a line of the log
    every 20 steps: blocks from random places of a memory map, made anew for each batch against a leak."""
    path = f"{opt.data_dir}/train.txt"

    def get_batch() -> tuple[Tensor, Tensor]:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        ix = torch.randint(len(data) - opt.block, (opt.batch_size,))
        x = torch.stack([torch.from_numpy(data[i : i + opt.block].astype(np.int64)) for i in ix])
        y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + opt.block].astype(np.int64)) for i in ix])
        return x, y

    def epoch() -> float:
        torch.manual_seed(0)
        model = projects.module(project, "model").build_model(opt, facts)
        decay = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
        rest = [parameter for parameter in model.parameters() if parameter.dim() < 2]
        groups = [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=opt.lr, betas=(0.9, 0.999), fused=True)
        x, y = get_batch()
        began = 0.0
        for step in range(steps):
            if step == 1:
                began = time.process_time()
            lr = 0.5 * (1.0 + math.cos(math.pi * step / steps)) * opt.lr
            for group in optimizer.param_groups:
                group["lr"] = lr
            logits = model(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1), ignore_index=-1)
            x, y = get_batch()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step % 20 == 0:
                loss.item()
        return (time.process_time() - began) / (steps - 1)

    return epoch


def generated(project: str, opt: Any) -> loops.Epoch:
    """The project's own train.py, from its first step to its last one, without the evaluation after it."""
    train, run = projects.module(project, "train"), projects.module(project, "engine.run")
    process = projects.module(project, "engine").Process.start(opt).__enter__()
    vars(train).update(
        train_logger=loops.quiet(train.train_logger),
        evaluate=lambda *_: SimpleNamespace(compute=lambda: {"bits_per_byte": 0.0}),
        sample=lambda *_: "",
    )
    logging.getLogger(project).setLevel(logging.CRITICAL)
    times: list[float] = []
    step = run.Run.step

    def timed_step(self: Any, **more: Any) -> None:
        step(self, **more)
        times.append(time.process_time())

    run.Run.step = timed_step

    def epoch() -> float:
        times.clear()
        train.train(opt, process)
        return (times[-1] - times[0]) / (len(times) - 1)

    return epoch


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    rounds, steps = (2, 8) if quick else (7, 40)
    result = Result("tokens")
    projects.make("tokens", task="language_model", clip=CLIP, warmup=0)
    for what, sizes in (("default", {}), ("tiny", {"width": 32, "depth": 2, "heads": 2, "block": 32})):
        folder = projects.scratch() / what
        options = projects.module("tokens", "options").Options(
            data_dir=str(folder), run_dir=str(folder / "run"), epochs=1, new_run=True, deterministic=False, **sizes
        )
        count = steps * options.batch_size * options.block + 1
        folder.mkdir()
        text = np.random.default_rng(0).integers(97, 123, count, dtype=np.uint8)
        text.tofile(folder / "train.txt")
        text[: options.block * 4].tofile(folder / "val.txt")
        facts = {"vocabulary": 256, "block": options.block, "tokenizer": "bytes"}
        times = turns(
            {
                "nanoGPT's loop": nanogpt("tokens", options, facts, steps),
                "generated": generated("tokens", options),
            },
            rounds,
        )
        tokens = options.batch_size * options.block
        how = f"{steps} steps of {tokens:,} tokens a turn, {rounds} turns, processor time of one thread"
        table = Table(
            f"Tokens a second, {what} model", how, ["", "tokens a second", "times nanoGPT's time", "middle half"]
        )
        for name, values in times.items():
            found = ratio(times, name, "nanoGPT's loop")
            row = [
                name,
                f"{tokens / median(values):,.0f}",
                f"{found.value:.2f}",
                f"{found.low:.2f} to {found.high:.2f}",
            ]
            table.rows.append(row)
        result.tables.append(table)
        most = 1.05 if what == "default" else 1.25
        over = ratio(times, "generated", "nanoGPT's loop").value
        result.aim(f"language model, {what}: generated over nanoGPT's loop", over, most=most)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
