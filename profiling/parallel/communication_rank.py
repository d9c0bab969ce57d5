"""Time all-reduces on one rank; `profiling.communication` starts as many as there are to be."""

from timeit import default_timer
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from analysis.show.render import binary
from model.parallel import process_group
from model.parallel.collectives import all_reduce
from profiling.common.machine import available_bytes
from profiling.common.timing import synchronize, to_ns
from profiling.parallel.communication import ITEM_BYTES
from profiling.processes.notes import SendMessage


def measure(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Time every size in turn, telling of each when it is done.

    Args:
        arguments: ``backend``, ``sizes`` in bytes, ``warmup``, ``steps``, ``timeout_s``.
        tell: gets ``{"bytes": …, "times_ns": […]}``, or ``"lacks"`` with what is wanting instead.

    Returns:
        Nothing more.
    """
    with process_group(arguments["backend"], arguments["timeout_s"]) as device:
        for size in arguments["sizes"]:
            if lacks := missing_memory(size, device):
                tell({"bytes": size, "lacks": lacks})
                continue
            tensor = torch.empty(size // ITEM_BYTES, device=device)
            tell({"bytes": size, "started": True})
            all_reduce_times(tensor, arguments["warmup"])
            tell({"bytes": size, "times_ns": all_reduce_times(tensor, arguments["steps"])})
            del tensor
    return {}


def all_reduce_times(tensor: Tensor, steps: int) -> list[int]:
    """Return how long each of some all-reduces takes on this rank, from an idle device to one.

    Raises:
        RuntimeError: a sum is wrong.
    """
    device, ranks = str(tensor.device), dist.get_world_size()
    times_ns = []
    for _ in range(steps):
        tensor.fill_(1.0)
        synchronize(device)
        dist.barrier()  # else one that comes late is counted as a slow network
        start_s = default_timer()
        all_reduce(tensor).wait()
        synchronize(device)
        times_ns.append(to_ns(default_timer() - start_s))
        if not (tensor[0] == tensor[-1] == ranks):
            raise RuntimeError(f"an all-reduce of ones over {ranks} ranks gave {float(tensor[0])}")
    return times_ns


def missing_memory(size: int, device: torch.device) -> str:
    """Return what is lacking for a tensor of this size on every rank; the same on all ranks."""
    mine = available_bytes(str(device))
    # One machine's memory is that of all ranks on a CPU; gloo and NCCL work in place.
    needed = size if device.type == "cuda" else size * dist.get_world_size()
    least = torch.tensor(mine, device=device)
    dist.all_reduce(least, op=dist.ReduceOp.MIN)
    free = int(least)
    if needed <= free:
        return ""
    return f"needs {binary(needed)}, {binary(free)} are free"
