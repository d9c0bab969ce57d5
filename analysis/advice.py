"""Advice: where a finding has a known cure, one line that names both, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import idle, idle_causes
from analysis.advice_on_model import attention, optimizer, tf32
from analysis.cover import Cover
from analysis.measured import Measured
from analysis.mfu import step_times
from analysis.range_sums import launched
from analysis.render import duration, percent, scaled
from analysis.vocabulary import canonical

if TYPE_CHECKING:
    from analysis.attribution import Attribution
    from analysis.report import Report

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

WORTH_A_LINE: Final = 0.05
"""Of the measured time. Steps differ by some percent among themselves: less is not seen in them."""

COPY_SHARE: Final = 0.01
"""Copies get a line sooner: a step needs next to none, and the cure is one word."""

LAUNCH_IDLE: Final = 0.2
"""A GPU that waits longer for launches gains more from fewer of them than from faster kernels."""

LAUNCH_RANGE: Final = 0.5
"""A range is launch-bound when the GPU is idle for most of its time."""

OVERHEAD: Final = 0.1
"""Slowed by more than this, what was measured is also the profiler."""

ATTRIBUTED: Final = 0.5
"""With less than half of the time inside ranges, most answers are about the lesser half."""

GRAPHS: Final = 0.1
"""A tenth of the time in graphs that are not looked into can hide the kernels that matter."""

NAMED: Final = 3
"""How many ranges a line names at most."""


def advice(report: Report, found: Attribution) -> list[str]:
    """Return one line for each finding that has a known cure; none where there is nothing to say.

    Warm-up, and what lies outside the steps (or the phases), does not count.

    Args:
        report: what was recorded.
        found: its work, attributed.
    """
    return advise(Measured(report, found))


def advise(measured: Measured) -> list[str]:
    """Return the same of what is read already."""
    on_gpu = (copies, pageable, synchronisation, launches, elsewhere, graphs, tf32)
    anywhere = (optimizer, attention, overhead, missing_ranges)
    rules = anywhere if measured.found.work.on_cpu else (*on_gpu, *anywhere)
    return [line for rule in rules for line in rule(measured)]


def copies(measured: Measured) -> list[str]:
    """Return a line on copies that are synchronous by the names of their calls."""
    moves = measured.moves
    chosen = moves.synchronous & ~moves.pageable & measured.during(moves.process, moves.launch_ns)
    if not costly(measured, chosen):
        return []
    return [
        f"{int(chosen.sum()):,} synchronous copies kept the host waiting for "
        f"{duration(time_in_calls(measured, chosen))}: copy asynchronously (non_blocking=True in "
        "PyTorch, cudaMemcpyAsync in CUDA)"
    ]


def pageable(measured: Measured) -> list[str]:
    """Return a line on copies of pageable memory: synchronous, whatever the call is named."""
    moves = measured.moves
    chosen = moves.pageable & measured.during(moves.process, moves.launch_ns)
    if not costly(measured, chosen):
        return []
    moved, took = int(moves.bytes[chosen].sum()), int(moves.duration_ns[chosen].sum())
    return [
        f"{int(chosen.sum()):,} copies of pageable memory, {scaled(moved, 'B')} at "
        f"{scaled(moved / max(took, 1) * 1e9, 'B/s')}, kept the host waiting for "
        f"{duration(time_in_calls(measured, chosen))}: pin the memory (pin_memory=True in a "
        "DataLoader, or tensor.pin_memory()) and copy with non_blocking=True"
    ]


def costly(measured: Measured, chosen: Bools) -> bool:
    """Return whether the ``(N,)`` chosen copies, and idle time for copies, are worth a line."""
    found = measured.idle
    waits = measured.gaps & (found.cause == idle_causes.CAUSES.index(idle_causes.COPY))
    took = int(measured.moves.duration_ns[chosen].sum()) + int(found.duration_ns[waits].sum())
    return bool(chosen.any()) and took / measured.wall_ns >= COPY_SHARE


def time_in_calls(measured: Measured, chosen: Bools) -> int:
    """Return how long, in ns, the host was in the calls of the ``(N,)`` chosen copies.

    Of each thread what overlaps counts once; threads are added up.
    """
    moves = measured.moves
    call = moves.call[chosen]
    call = call[call >= 0]
    total = 0
    for thread in np.unique(moves.calls.thread[call]):
        mine = call[moves.calls.thread[call] == thread]
        total += Cover.of(moves.calls.start_ns[mine], moves.calls.end_ns[mine]).busy_ns
    return total


def synchronisation(measured: Measured) -> list[str]:
    """Return a line on time the GPU lost because the host had waited for it."""
    found = measured.idle
    chosen = measured.gaps & (found.cause == idle_causes.CAUSES.index(idle_causes.SYNCHRONISATION))
    lost = int(found.duration_ns[chosen].sum())
    if lost / measured.wall_ns < WORTH_A_LINE:
        return []
    where = most(measured, chosen)
    return [
        f"the GPU was idle for {duration(lost)} ({percent(lost / measured.wall_ns)}) after the "
        f"host had waited for it{where}: leave .item(), .cpu() and synchronize() out of the loop"
    ]


def most(measured: Measured, chosen: Bools) -> str:
    """Return in words which ranges the host mostly was in during the ``(G,)`` chosen gaps."""
    where = idle.ranges_of(measured.idle, measured.found.ranges)
    lost: dict[str, int] = {}
    time = measured.idle.duration_ns
    for row in np.flatnonzero(chosen).tolist():
        label = canonical(where[row])
        lost[label] = lost.get(label, 0) + int(time[row])
    lost.pop("", None)
    first = sorted(lost, key=lambda label: -lost[label])[:NAMED]
    return f", most of it in {listed(first)}" if first else ""


def listed(labels: list[str]) -> str:
    """Return names in a row.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(part for part in (", ".join(labels[:-1]), labels[-1]) if part)


def launches(measured: Measured) -> list[str]:
    """Return a line on a GPU that waits for the host to launch, and on the ranges it does so in."""
    short = measured.idle.duration_ns < idle_causes.RESUME_NS
    chosen = late(measured) & short
    lost = int(measured.idle.duration_ns[chosen].sum())
    share = lost / measured.wall_ns
    if share < LAUNCH_IDLE:
        return []
    bound = launch_bound(measured)
    where = f"; launch-bound: {listed(bound)}" if bound else most(measured, chosen)
    return [
        f"the GPU waited {duration(lost)} ({percent(share)} of the time) for launches{where}: "
        "launch less (torch.compile, CUDA graphs with mode='reduce-overhead', fused operators) "
        "or give each launch more (a larger batch)"
    ]


def elsewhere(measured: Measured) -> list[str]:
    """Return a line on a GPU that waits for a host that does something else than launching."""
    time = measured.idle.duration_ns
    chosen = late(measured) & (time >= idle_causes.RESUME_NS)
    lost = int(time[chosen].sum())
    share = lost / measured.wall_ns
    if share < WORTH_A_LINE:
        return []
    return [
        f"the GPU was idle for {duration(lost)} ({percent(share)} of the time) in "
        f"{int(chosen.sum()):,} gaps of {duration(idle_causes.RESUME_NS)} or more while the host "
        f"did something else{most(measured, chosen)}: do that ahead or on another thread "
        "(DataLoader workers, prefetching, asynchronous saving)"
    ]


def late(measured: Measured) -> Bools:
    """Return ``(G,)`` which gaps are there because the host was late, or a launch took its time."""
    causes = [
        idle_causes.CAUSES.index(cause) for cause in (idle_causes.HOST, idle_causes.LAUNCH_LATENCY)
    ]
    chosen: Bools = measured.gaps & np.isin(measured.idle.cause, causes)
    return chosen


def launch_bound(measured: Measured) -> list[str]:
    """Return the ranges in which the GPU was idle for most of their time, worst first.

    Operators' own ranges (``aten::…``, autograd's) are left out: nobody fuses one operator.
    """
    ranges, sums = measured.found.ranges, measured.sums
    kept = np.flatnonzero(~measured.found.ranges_in_warmup)
    count = len(ranges.names)
    window, lost = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.add.at(window, ranges.name[kept], sums.window_ns[kept])
    np.add.at(lost, ranges.name[kept], sums.idle_ns[kept])
    totals: dict[str, list[int]] = {}
    for name, size, gone in zip(ranges.names, window.tolist(), lost.tolist(), strict=True):
        if size and "::" not in name and "Backward0" not in name:
            total = totals.setdefault(canonical(name), [0, 0])
            total[0] += size
            total[1] += gone
    bound = {
        label: gone
        for label, (size, gone) in totals.items()
        if gone > LAUNCH_RANGE * size and gone > WORTH_A_LINE * measured.wall_ns
    }
    return sorted(bound, key=lambda label: -bound[label])[:NAMED]


def graphs(measured: Measured) -> list[str]:
    """Return a line on CUDA graphs that were recorded as a whole."""
    work = measured.found.work
    is_graph = np.array([source == "graph" for source in work.sources], np.bool_)[work.kind]
    time = int(work.duration_ns[is_graph & measured.work].sum())
    if time / measured.kernel_ns < GRAPHS:
        return []
    return [
        f"{percent(time / measured.kernel_ns)} of the time is in CUDA graphs that were recorded "
        "as a whole: record with --cuda-graph-trace=node to see their kernels"
    ]


def overhead(measured: Measured) -> list[str]:
    """Return a line on steps that recording slowed."""
    report = measured.report
    recorded, bare = step_times(report, "step_ns"), step_times(report, "unprofiled_step_ns")
    if min(len(recorded), len(bare)) < 2:
        return []
    before, after = float(np.median(bare)), float(np.median(recorded))
    more = after / max(before, 1) - 1
    if more < OVERHEAD or recorded.min() <= bare.max():
        return []
    less = ""
    if report.recorder.startswith("nsys"):
        less = ", or record less (--sample=none --cpuctxsw=none)"
    return [
        f"recording slowed a step by {percent(more)}, from {duration(before)} to "
        f"{duration(after)}: compare shares rather than times{less}"
    ]


def missing_ranges(measured: Measured) -> list[str]:
    """Return a line on work that no range is around."""
    found = measured.found
    if not len(found.ranges):
        return [
            "no NVTX ranges in this report, so no part of the model can be told from another: "
            "put the parts into spans (profiling.spans: span, annotate)"
        ]
    inside = np.zeros(len(found.work.kind), np.bool_)
    for _, slices, order in launched(found):
        inside[order] |= slices.covered(len(order))
    share = int(found.work.duration_ns[inside & measured.work].sum()) / measured.kernel_ns
    if share >= ATTRIBUTED:
        return []
    return [
        f"only {percent(share)} of the time was launched inside a range: put the other parts of "
        "the model into spans too (profiling.spans: span, annotate)"
    ]
