"""Somebody's training script, which torchrun starts: gloo, DDP, a few steps, nothing of ours in it.

`SCRIPT` is its text. `RECORDED` is the same script where its steps but the first and the last are
recorded from inside. The model goes before its process group does: where it is the last to hold the
group, torch 2.13 joins gloo's threads with Python's lock held, and one of them may wait for that.
"""

from typing import Final

SCRIPT: Final = """
import os
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def step(model, optimizer):
    inputs, targets = torch.randn(16, 32), torch.randint(8, (16,))
    loss = torch.nn.functional.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def train(steps):
    layers = [torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 8)]
    model = DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        step(model, optimizer)


def main(steps):
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(rank)
    train(steps)
    total = torch.tensor(float(rank))
    dist.all_reduce(total)
    print(f"rank {rank} of {size}, of {os.environ['LOCAL_WORLD_SIZE']} here, sum {total:.0f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]))
"""

_STEPS: Final = """\
    for _ in range(steps):
        step(model, optimizer)
"""

_RECORDED_STEPS: Final = """\
    from profiling.recorders import record

    with record("long", steps=range(1, steps - 1)) as recording:
        for _ in range(steps):
            with recording.step():
                step(model, optimizer)
"""

RECORDED: Final = SCRIPT.replace(_STEPS, _RECORDED_STEPS)
