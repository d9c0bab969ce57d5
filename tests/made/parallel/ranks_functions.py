"""What ranks run in the tests of their launcher."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist

from model.parallel import ParallelError, process_group
from model.parallel.collectives import all_reduce
from profiling.processes.notes import SendMessage


def add(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Add up the ranks' numbers."""
    with process_group("gloo", arguments["timeout_s"]) as device:
        tensor = torch.tensor(float(dist.get_rank() + 1))
        tell({"before": float(tensor)})
        all_reduce(tensor).wait()
        tell({"after": float(tensor)})
        listening = addresses_listened_at()
        dist.barrier()
        return {"sum": float(tensor), "device": str(device), "listening": listening}


def addresses_listened_at() -> list[str]:
    """Return where this rank and its launcher listen."""
    return [
        connection.laddr.ip
        for process in (psutil.Process(), psutil.Process().parent())
        if process
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def fail(arguments: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Fail on one rank, in the way that is asked for, while the others wait for it."""
    rank = int(os.environ["RANK"])
    Path(arguments["pids"], str(rank)).write_text(str(os.getpid()))
    with process_group("gloo", 60.0):
        dist.barrier()
        if rank == arguments["rank"]:
            _end(arguments["how"])
        all_reduce(torch.zeros(1)).wait()
    return {}


def _end(how: str) -> None:
    if how == "raises":
        raise ValueError("no such thing\nand more")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "aborts":
        os.kill(os.getpid(), signal.SIGABRT)
    if how == "exits":
        print("I go", file=sys.stderr, flush=True)
        os._exit(3)
    if how == "memory":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
    if how == "refuses":
        raise ParallelError("the ranks have different models: a is b")
    if how == "hangs":
        time.sleep(600)


def leave_early(_: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    """Let rank 0 end while rank 1 waits for it."""
    with process_group("gloo", 60.0):
        if dist.get_rank():
            all_reduce(torch.zeros(1)).wait()
    return {}


def nccl(_: dict[str, Any], tell: SendMessage) -> dict[str, Any]:
    with process_group("nccl", 60.0):
        return {}
