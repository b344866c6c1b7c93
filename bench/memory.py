"""How much memory a run takes, and whether it grows: python -m bench.memory"""

from __future__ import annotations

import sys

from bench import projects
from bench.measure import Result, Table, finish, peak_memory, run

# The same network, optimizer and images in a bare loop.
BARE = """
import sys
sys.path.insert(0, sys.argv[1])
import torch, torchvision
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from memory.model import build_model
from memory.options import Options
from memory.data import load_data
from memory.engine import Process
images, _ = load_data(Options(), Process.start(Options()).__enter__())
net = build_model(Options(), images.facts)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.002)
batches = DataLoader(TensorDataset(*images.kept), batch_size=64, shuffle=True, drop_last=True)
for epoch in range(20):
    total = 0.0
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x.float() / 255)[0], y)
        loss.backward()
        optimizer.step()
        total += loss.item()
"""

# The project's own training; says after how many steps it had how many MB.
GROWTH = """
import os, sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
train, run = (import_module("memory" + name) for name in (".train", ".engine.run"))
step, count = run.Run.step, 0
def watched(*words, **named):
    global count
    count += 1
    if count in (1000, 11000):
        pages = int(open("/proc/self/statm").read().split()[1])
        print(count, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, flush=True)
    return step(*words, **named)
run.Run.step = watched
sys.argv = ["train", "--new-run", "--epochs", "500", "--save-every", "100", *sys.argv[2:]]
train.launch(train.Options, train.train, train.show_plan)
"""


def main(quick: bool = False) -> None:
    folder = projects.make("memory")
    result = Result("memory")
    bare = peak_memory([sys.executable, "-c", BARE, str(folder)], folder)
    ours = peak_memory([sys.executable, "-m", "memory.train", "--run", "1"], folder)
    rows = [["bare loop", f"{bare:.0f}"], ["generated", f"{ours:.0f}"]]
    how = "whole processes, the default project on the digits, 20 epochs, with its picture at the end"
    result.tables.append(Table("The most memory of a run", how, ["", "MB"], rows))
    result.aim("most memory over the bare loop", ours / bare, most=1.1)
    if not quick:
        said = run([sys.executable, "-c", GROWTH, str(folder)], folder)
        early, late = (float(line.split()[1]) for line in said.splitlines()[:2])
        rows = [["1,000", f"{early:.1f}"], ["11,000", f"{late:.1f}"]]
        result.tables.append(Table("Growth", "resident memory of one run", ["after steps", "MB"], rows))
        result.aim("memory after 11,000 steps over that after 1,000", late / early, most=1.02)
    finish(result, keep=not quick)


if __name__ == "__main__":
    main("--quick" in sys.argv)
