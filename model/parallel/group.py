"""Join the ranks of a run, as torchrun or `profiling.processes.ranks` has started them.

torchrun --nproc-per-node 2 train.py

with process_group() as device:
    model = DataParallel(TransformerLM(config).to(device))
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

VARIABLES: Final = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What tells a process which rank it is and where the others are."""

TIMEOUT_S: Final = 600.0


class ParallelError(RuntimeError):
    """The ranks cannot train together: what is wrong, and what to do."""


@contextmanager
def process_group(
    backend: str | None = None, timeout_s: float = TIMEOUT_S
) -> Iterator[torch.device]:
    """Be a rank while inside; one that fails in here is expected to end.

    Args:
        backend: ``gloo`` for tensors on CPUs, ``nccl`` for a GPU a rank; None takes NCCL where
            there is a GPU.
        timeout_s: how long one collective may wait for other ranks.

    Yields:
        The device of this rank.

    Raises:
        ParallelError: nobody has said which rank this is, NCCL has too few GPUs, or the others
            cannot be reached.
    """
    if missing := [name for name in VARIABLES if name not in os.environ]:
        raise ParallelError(
            f"{missing[0]} is not set, so this is no rank; start it with torchrun "
            "--nproc-per-node N"
        )
    chosen = backend or ("nccl" if torch.cuda.is_available() else "gloo")
    device = torch.device("cpu")
    if chosen == "nccl":
        check_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])))
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            chosen,
            timeout=timedelta(seconds=timeout_s),
            device_id=device if chosen == "nccl" else None,
        )
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        said = str(error).splitlines()[0]
        raise ParallelError(
            f"the ranks did not meet at {where} ({said}); see that the port is free, and that "
            "all ranks were started"
        ) from None
    yield device
    # Only now: after a failure there is no parting in order, which would wait for the others, and
    # closing the connections would make them fail before this rank has said why it did.
    dist.destroy_process_group()


def check_gpus(ranks: int) -> None:
    """Refuse more ranks than GPUs.

    Raises:
        ParallelError: NCCL wants one for each.
    """
    if (count := torch.cuda.device_count()) < ranks:
        raise ParallelError(
            f"NCCL wants a GPU for each of {ranks} ranks, and this machine has {count}; use fewer "
            "ranks, or gloo"
        )
