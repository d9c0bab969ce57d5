"""A run of several ranks, a report each: steps with a data loader, compute and an all-reduce."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.made.reports.build_report import Kernel, Range, make_report

REDUCE: Final = "ncclDevKernel_AllReduce_Sum_f32_RING_LL"
MICRO: Final = 1000
STEP: Final = 1000 * MICRO
LOAD: Final = 100 * MICRO
COMPUTE: Final = 400 * MICRO
TRANSFER: Final = 50 * MICRO


def rank_reports(
    folder: Path,
    ranks: int,
    *,
    steps: int = 5,
    loads: Mapping[tuple[int, int], int] | None = None,
    run: Mapping[int, Mapping[str, str]] | None = None,
) -> list[Path]:
    """Write a report a rank, each on a clock of its own, and return their paths.

    Args:
        folder: where to.
        ranks: how many.
        steps: how many each has.
        loads: by rank and step, what the data loader takes longer then.
        run: by rank, what else its run says of itself.
    """
    slow = loads or {}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    starts = [0]
    for step in range(steps):
        longest = max(slow.get((rank, step), 0) for rank in range(ranks))
        starts.append(starts[-1] + STEP + longest)
    for rank in range(ranks):
        clock = 7_000 * rank
        kernels, ranges = [], []
        for step in range(steps):
            begin = starts[step] + clock
            ready = begin + LOAD + slow.get((rank, step), 0)
            last = max(slow.get((other, step), 0) for other in range(ranks))
            met = begin + LOAD + last + COMPUTE + TRANSFER
            # Each rank is a little later than the one before it.
            compute = Kernel(
                "ampere_sgemm_128x64_nn", ready + MICRO + rank, ready + COMPUTE, launch=ready + 500
            )
            reduce = Kernel(REDUCE, ready + COMPUTE + rank, met, launch=ready + 2 * MICRO, stream=9)
            kernels += [compute, reduce]
            ranges += [
                Range("step", begin, starts[step + 1] + clock - 10),
                Range("load batch", begin + 10, ready - 10),
                Range("forward", ready, ready + 1_800),
                Range("nccl:all_reduce", ready + 1_900, ready + 2_600),
            ]
        told = {"rank": str(rank), "world_size": str(ranks), **(run or {}).get(rank, {})}
        paths.append(
            make_report(
                folder / f"run.rank{rank}.sqlite",
                kernels=kernels,
                ranges=ranges,
                gpus=["NVIDIA H100 80GB HBM3"],
                run=told,
            )
        )
    return paths
