"""What ranges hold together: FLOPs, bytes and time of the ranges and launches inside them.

A range has what lies inside it on its own thread. `step` and `backward` wait for autograd's thread,
so they have what lies inside them on any thread of their process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.containment import Intervals, Slices, contained, distinct
from analysis.arithmetic.intervals import NONE, parents
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import costs
from analysis.recorded.timeline import TABLES, Timeline
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RANKED: Final = (tables.KERNEL, tables.GRAPH)
"""What `analysis.kernels.load` reads, in this order."""

WAITING: Final = (names.STEP, names.WARMUP, names.BACKWARD)
"""Ranges on whose behalf another thread works."""


@dataclass(frozen=True)
class RangeSums:
    """What each range holds, in the order of the report's ranges.

    Attributes:
        flops: ``(R,)`` its own FLOPs, or those of the ranges inside it, or `tables.MISSING`.
        bytes: ``(R,)`` the least bytes likewise; missing as soon as those of one part are.
        kernel_ns: ``(R,)`` the time of the work launched inside.
        window_ns: ``(R,)`` from when it was open and the GPU free, to the end of its last work; 0
            where it launched nothing on a GPU.
        idle_ns: ``(R,)`` how much of that window the GPU had nothing to do.
        unscaled: how many softmax ranges keep the FLOPs that were recorded.
    """

    flops: Int64
    bytes: Int64
    kernel_ns: Int64
    window_ns: Int64
    idle_ns: Int64
    unscaled: int


def range_sums(
    found: Attribution,
    softmax_flops: int = costs.SOFTMAX_FLOPS,
    timeline: Timeline | None = None,
) -> RangeSums:
    """Return what each range holds.

    Args:
        found: the ranges and the work.
        softmax_flops: per element of a softmax, forward.
        timeline: of the same report, if it has been read already.
    """
    own, unscaled = costs.flops(found, softmax_flops)
    moved = costs.least_bytes(found)
    flops, size = inside(found, own, moved)
    held = launched(found)
    kernel_ns = np.zeros(len(found.ranges), np.int64)
    window_ns, idle_ns = kernel_ns.copy(), kernel_ns.copy()
    device = None
    if not found.work.on_cpu:
        device = on_device(timeline or Timeline.of(found.report))
    for rows, slices, order in held:
        kernel_ns[rows] = slices.sums(found.work.duration_ns[order])
        if device is not None and len(slices.owner):
            start, end, busy = device
            holders = rows[slices.holders()]
            first, last = slices.least(start[order]), slices.most(end[order])
            window_ns[holders], idle_ns[holders] = windows(found, holders, first, last, busy)
    return RangeSums(flops, size, kernel_ns, window_ns, idle_ns, unscaled)


def waiting(found: Attribution) -> Bools:
    """Return which ranges have the work of other threads too."""
    return found.ranges.where(lambda name: name in WAITING)


def inside(found: Attribution, own: Int64, moved: Int64) -> tuple[Int64, Int64]:
    """Return the FLOPs and least bytes of each range, its own or those inside it.

    Args:
        found: the ranges.
        own: ``(R,)`` FLOPs, or `tables.MISSING`.
        moved: ``(R,)`` bytes, or `tables.MISSING`.
    """
    ranges = found.ranges
    has = np.flatnonzero((own != tables.MISSING) & ~ranges.elsewhere)
    # Of ranges with FLOPs inside one another the outermost tells all of them.
    around = parents(ranges.start_ns[has], ranges.end_ns[has], ranges.thread[has])
    outer = has[around == NONE]
    flops, size = own.copy(), moved.copy()
    for rows, place in places(found):
        lacks = rows[own[rows] == tables.MISSING]
        order = outer[np.lexsort((ranges.start_ns[outer], place[outer]))]
        times = (ranges.start_ns, ranges.end_ns)
        slices = contained(
            Intervals(place, *times).take(lacks),
            Intervals(place, *times).take(order),
        )
        some = slices.counts() > 0
        flops[lacks[some]] = slices.sums(own[order])[some]
        unknown = slices.sums((moved[order] == tables.MISSING).astype(np.int64))
        whole = np.where(unknown > 0, tables.MISSING, slices.sums(moved[order]))
        size[lacks[some]] = whole[some]
    return flops, size


def places(found: Attribution) -> list[tuple[Int64, Int64]]:
    """Return which ranges to sum by thread and which by process: rows, and ``(R,)`` places."""
    ranges, waits = found.ranges, waiting(found)
    local = ~ranges.elsewhere
    return [
        (np.flatnonzero(local & ~waits), ranges.thread),
        (np.flatnonzero(local & waits), ranges.process),
    ]


def launched(found: Attribution) -> list[tuple[Int64, Slices, Int64]]:
    """Return what the ranges launched: rows of ranges, slices of work, and the order of that."""
    launches, ranges = found.launches, found.ranges
    known = np.flatnonzero(launches.known)
    process = (launches.thread >> 24) & 0xFFFFFF
    result = []
    for (rows, place), of_launch in zip(places(found), (launches.thread, process), strict=True):
        order = known[np.lexsort((launches.start_ns[known], of_launch[known]))]
        calls = Intervals(of_launch, launches.start_ns, launches.end_ns).take(order)
        spans = Intervals(place, ranges.start_ns, ranges.end_ns).take(rows)
        result.append((rows, contained(spans, calls), order))
    return result


def on_device(timeline: Timeline) -> tuple[Int64, Int64, dict[int, IntervalUnion]]:
    """Return when each piece of work ran, and when each process kept any GPU busy.

    The work that is ranked, kernels and graph replays, stands first in a timeline and in its order.
    """
    ranked = np.isin(timeline.kind, [TABLES.index(table) for table in RANKED])
    busy = {}
    for process in distinct(timeline.process).tolist():
        mine = timeline.process == process
        busy[process] = IntervalUnion.of(timeline.start_ns[mine], timeline.end_ns[mine])
    return timeline.start_ns[ranked], timeline.end_ns[ranked], busy


def windows(
    found: Attribution, rows: Int64, first_ns: Int64, last_ns: Int64, busy: dict[int, IntervalUnion]
) -> tuple[Int64, Int64]:
    """Return how long ranges had the GPU to themselves, and how long of that it was idle.

    Args:
        found: the ranges.
        rows: ``(O,)`` those that launched work.
        first_ns: ``(O,)`` when their first work began.
        last_ns: ``(O,)`` when their last work ended.
        busy: when each process kept a GPU busy.
    """
    window, idle = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for process, cover in busy.items():
        mine = np.flatnonzero(found.ranges.process[rows] == process)
        first, last = first_ns[mine], last_ns[mine]
        # Before the first work the GPU may have waited for this range's host already.
        free = np.maximum(cover.since(first), found.ranges.start_ns[rows[mine]])
        begin = np.minimum(first, free)
        window[mine] = last - begin
        idle[mine] = window[mine] - cover.within(begin, last)
    return window, idle
