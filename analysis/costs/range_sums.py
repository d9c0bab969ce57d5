"""What ranges launched on a GPU, and how long it had nothing to do meanwhile.

A range has what lies inside it on its own thread. `step` and `backward` wait for autograd's thread,
so they have what lies inside them on any thread of their process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.containment import Intervals, Slices, contained, distinct
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import costs
from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import DevicePeaks, ideal_of_work, ideal_times
from analysis.costs.range_costs import RangeCosts, range_costs, rows_to_sum

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selected import Selected


@dataclass(frozen=True)
class RangeSums(RangeCosts):
    """The costs, kernel time and idle time of each range, in the order of the report's ranges.

    Attributes:
        kernel_ns: ``(R,)`` the time of the work launched inside.
        window_ns: ``(R,)`` from when it was open and the GPU free, to the end of its last work; 0
            where it launched nothing on a GPU.
        idle_ns: ``(R,)`` how much of that window the GPU had nothing to do.
        modelled_ns: ``(R,)`` how much of the kernel time has an ideal time.
        ideal_ns: ``(R,)`` that ideal time, by the device's peaks.
    """

    kernel_ns: Int64
    window_ns: Int64
    idle_ns: Int64
    modelled_ns: Int64
    ideal_ns: Float64


def range_sums(
    chosen: Selected,
    softmax_flops: int = costs.SOFTMAX_FLOPS,
    peaks: DevicePeaks | None = None,
) -> RangeSums:
    """Return the costs, kernel time and idle time of each range, by the work that counts.

    Args:
        chosen: the part of a report that counts.
        softmax_flops: per element of a softmax, forward.
        peaks: of the device; without them nothing has an ideal time.
    """
    attribution = chosen.attribution
    cost = range_costs(chosen, softmax_flops)
    kernel_ns = np.zeros(len(attribution.ranges), np.int64)
    window_ns, idle_ns, modelled_ns = kernel_ns.copy(), kernel_ns.copy(), kernel_ns.copy()
    ideal_ns = np.zeros(len(kernel_ns))
    calls = costed_calls(attribution, softmax_flops=softmax_flops)
    ideal = np.full(len(attribution.work), np.nan)
    if peaks is not None:
        ideal = ideal_of_work(calls, ideal_times(calls, peaks), attribution.work.duration_ns)
    known = ~np.isnan(ideal)
    # Whole picoseconds add up exactly, in whatever order.
    ideal_ps = np.where(known, np.round(np.nan_to_num(ideal) * 1000), 0).astype(np.int64)
    busy = {} if attribution.work.on_cpu else busy_by_process(attribution)
    start_ns, end_ns = attribution.ran
    for rows, slices, order in launched_by_ranges(chosen):
        time = attribution.work.duration_ns[order]
        kernel_ns[rows] = slices.sums(time)
        modelled_ns[rows] = slices.sums(np.where(known[order], time, 0))
        ideal_ns[rows] = slices.sums(ideal_ps[order]) / 1000
        if busy and len(slices.owner):
            holders = rows[slices.holders()]
            first, last = slices.least(start_ns[order]), slices.most(end_ns[order])
            window_ns[holders], idle_ns[holders] = gpu_windows(
                attribution, holders, first, last, busy
            )
    return RangeSums(
        **vars(cost),
        kernel_ns=kernel_ns,
        window_ns=window_ns,
        idle_ns=idle_ns,
        modelled_ns=modelled_ns,
        ideal_ns=ideal_ns,
    )


def launched_by_ranges(chosen: Selected) -> list[tuple[Int64, Slices, Int64]]:
    """Return the work launched in ranges: positions of ranges, slices of work, and its order."""
    attribution = chosen.attribution
    launches, ranges = attribution.launches, attribution.ranges
    known = np.flatnonzero(launches.known & chosen.work)
    of_place = (launches.thread, launches.process)
    result = []
    for (rows, place), of_launch in zip(rows_to_sum(attribution), of_place, strict=True):
        order = known[np.lexsort((launches.start_ns[known], of_launch[known]))]
        calls = Intervals(of_launch, launches.start_ns, launches.end_ns).take(order)
        spans = Intervals(place, ranges.start_ns, ranges.end_ns).take(rows)
        result.append((rows, contained(spans, calls), order))
    return result


def busy_by_process(attribution: Attribution) -> dict[int, IntervalUnion]:
    """Return for each process the time in which it kept any GPU busy."""
    done, busy = attribution.device, {}
    for process in distinct(done.process).tolist():
        mine = done.process == process
        busy[process] = IntervalUnion.of(done.start_ns[mine], done.end_ns[mine])
    return busy


def gpu_windows(
    attribution: Attribution,
    rows: Int64,
    first_ns: Int64,
    last_ns: Int64,
    busy: dict[int, IntervalUnion],
) -> tuple[Int64, Int64]:
    """Return how long ranges had the GPU to themselves, and how much of that it was idle.

    Args:
        attribution: the ranges.
        rows: ``(O,)`` those that launched work.
        first_ns: ``(O,)`` when their first work began.
        last_ns: ``(O,)`` when their last work ended.
        busy: when each process kept a GPU busy.
    """
    window, idle = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for process, cover in busy.items():
        mine = np.flatnonzero(attribution.ranges.process[rows] == process)
        first, last = first_ns[mine], last_ns[mine]
        # Before the first work the GPU may have waited for this range's host already.
        free = np.maximum(cover.since(first), attribution.ranges.start_ns[rows[mine]])
        begin = np.minimum(first, free)
        window[mine] = last - begin
        idle[mine] = window[mine] - cover.within(begin, last)
    return window, idle
