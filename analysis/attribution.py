"""Which range a kernel belongs to: by the thread and time of the CUDA call that launched it.

This is NVIDIA's rule (``nvtx_gpu_proj_sum``): a range has the work whose whole launching call it
contains, on its own thread, bounds included. A kernel runs later than it is launched, so comparing
its own time on the device with a range would be wrong. CPU operators launch themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import nvtx, tables
from analysis.intervals import NONE, parents
from analysis.kernels import Work, load
from profiling import names

if TYPE_CHECKING:
    from analysis.nvtx import Ranges
    from analysis.report import Report

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PROCESS_BITS: Final = ~0xFFFFFF
"""What a global thread id and its process's global id have in common."""


@dataclass(frozen=True)
class Launches:
    """Where and when each kernel, graph replay or operator was launched.

    Attributes:
        thread: ``(N,)`` global thread id, or `tables.MISSING` where no launch was recorded.
        start_ns: ``(N,)`` of the call.
        end_ns: ``(N,)`` of the call.
    """

    thread: Int64
    start_ns: Int64
    end_ns: Int64

    @property
    def known(self) -> Bools:
        """Which have a recorded launch."""
        known: Bools = self.thread != tables.MISSING
        return known


@dataclass(frozen=True)
class Attribution:
    """All work of a report beside its ranges."""

    report: Report
    work: Work
    ranges: Ranges

    @classmethod
    def of(cls, report: Report) -> Attribution:
        """Read both from a report.

        Raises:
            ReportError: it holds neither kernels nor operators.
        """
        return cls(report, load(report), nvtx.load(report))

    @cached_property
    def launches(self) -> Launches:
        """The launch of each piece of work."""
        return launches(self.report, self.work)

    @cached_property
    def warmup(self) -> Ranges:
        """The warm-up ranges."""
        return self.ranges.take(self.ranges.called(names.WARMUP))

    @cached_property
    def work_in_warmup(self) -> Bools:
        """Which work was launched during a warm-up range, on any thread of its process."""
        found = self.launches
        process = np.where(found.known, (found.thread >> 24) & 0xFFFFFF, tables.MISSING)
        return within(found.start_ns, process, self.warmup)

    @cached_property
    def ranges_in_warmup(self) -> Bools:
        """Which ranges began during a warm-up range, the warm-up ranges themselves included."""
        return within(self.ranges.start_ns, self.ranges.process, self.warmup)

    @cached_property
    def totals(self) -> tuple[Int64, Int64]:
        """How much work each range launched, and its time: ``(N,)`` counts, ``(N,)`` ns."""
        return totals(self.ranges, self.launches, self.work.duration_ns)

    @cached_property
    def range_costs(self) -> dict[tuple[str, int], int]:
        """The least bytes a range moves, by its name and payload, where the report says."""
        return tables.range_bytes(self.report)

    @cached_property
    def placed(self) -> Bools:
        """Which work has at least one range around its launch."""
        return placed(self.ranges, self.launches)


def launches(report: Report, work: Work) -> Launches:
    """Return the launch of each piece of work, in the order of ``work``.

    A correlation id is unique only within a process, so the process is compared too. One launch
    may be recorded twice (``cudaLaunchKernel`` and ``cudaLaunchKernel_v7000``): the earlier counts.
    """
    if work.calls is not None:
        calls = work.calls
        return Launches(calls.thread, calls.start_ns, calls.end_ns)
    fields = ("correlation", "global_pid")
    parts = [tables.device_work(report, table, *fields) for table in (tables.KERNEL, tables.GRAPH)]
    correlation, process = (np.concatenate([part[field] for part in parts]) for field in fields)
    calls_ = tables.runtime_calls(report)
    place = lookup(
        (process & PROCESS_BITS, correlation),
        (calls_["thread"] & PROCESS_BITS, calls_["correlation"]),
        calls_["start_ns"],
    )
    found = place != NONE
    columns = [np.where(found, _take(calls_[name], place), tables.MISSING) for name in _CALL]
    return Launches(*columns)


_CALL: Final = ("thread", "start_ns", "end_ns")


def _take(values: Int64, place: Int64) -> Int64:
    return values[place] if len(values) else np.full(len(place), tables.MISSING, np.int64)


def lookup(wanted: tuple[Int64, Int64], known: tuple[Int64, Int64], start_ns: Int64) -> Int64:
    """Return for each wanted (process, correlation) the position of the earliest known one.

    Args:
        wanted: ``(N,)`` processes and correlation ids.
        known: ``(M,)`` likewise.
        start_ns: ``(M,)``: among several of the same ids, the least counts.

    Returns:
        ``(N,)`` positions, or `NONE`.

    >>> one = np.array([1])
    >>> lookup((one, np.array([7])), (one.repeat(2), np.array([7, 7])), np.array([9, 4])).tolist()
    [1]
    """
    if not len(known[0]):
        return np.full(len(wanted[0]), NONE, np.int64)
    processes = np.unique(known[0])
    row = np.searchsorted(processes, wanted[0]).clip(max=len(processes) - 1)
    same = processes[row] == wanted[0]
    lowest, highest = int(known[1].min()), int(known[1].max())
    width = highest - lowest + 1
    keys = np.searchsorted(processes, known[0]) * width + (known[1] - lowest)
    sought = row * width + (wanted[1] - lowest).clip(0, width - 1)
    same &= (wanted[1] >= lowest) & (wanted[1] <= highest)
    order = np.lexsort((start_ns, keys))
    ordered = keys[order]
    place = np.searchsorted(ordered, sought).clip(max=len(order) - 1)
    same &= ordered[place] == sought
    return np.where(same, order[place], NONE)


def within(instant_ns: Int64, process: Int64, windows: Ranges) -> Bools:
    """Return which instants lie inside a range of their process, whatever the thread."""
    inside = np.zeros(len(instant_ns), np.bool_)
    for number in np.unique(windows.process):
        of_it = windows.process == number
        start, end = windows.start_ns[of_it], windows.end_ns[of_it]
        order = np.argsort(start, kind="stable")
        reach = np.maximum.accumulate(end[order])
        last = np.searchsorted(start[order], instant_ns, side="right") - 1
        # Half open: what begins at the very end of a warm-up is not part of it.
        hit = (last >= 0) & (instant_ns < reach[last.clip(0)]) & (process == number)
        inside |= hit
    return inside


def totals(ranges: Ranges, found: Launches, duration_ns: Int64) -> tuple[Int64, Int64]:
    """Return how much work each range contains the launch of, and its summed time.

    Args:
        ranges: ``R`` of them.
        found: of ``N`` pieces of work.
        duration_ns: ``(N,)``.

    Returns:
        ``(R,)`` counts and ``(R,)`` nanoseconds.
    """
    counts, sums = np.zeros(len(ranges), np.int64), np.zeros(len(ranges), np.int64)
    for thread in np.intersect1d(ranges.thread, found.thread[found.known]):
        rows = np.flatnonzero(ranges.thread == thread)
        calls = np.flatnonzero(found.thread == thread)
        order = calls[np.lexsort((-found.end_ns[calls], found.start_ns[calls]))]
        begin, finish = found.start_ns[order], found.end_ns[order]
        low = np.searchsorted(begin, ranges.start_ns[rows], side="left")
        high = np.searchsorted(begin, ranges.end_ns[rows], side="right")
        running = np.concatenate([[0], np.cumsum(duration_ns[order])])
        counts[rows] = np.maximum(high - low, 0)
        sums[rows] = np.where(high > low, running[high] - running[low], 0)
        # A call that begins inside and ends outside does not belong. Where calls do not nest it is
        # the last one; where they do, the calls around it may be such as well.
        outer = parents(begin, finish)
        last = high - 1
        while True:
            active = np.flatnonzero(last >= low)
            if not len(active):
                break
            over = active[finish[last[active]] > ranges.end_ns[rows[active]]]
            counts[rows[over]] -= 1
            sums[rows[over]] -= duration_ns[order[last[over]]]
            following = np.full(len(last), NONE, np.int64)
            following[active] = outer[last[active]]
            last = following
    return counts, sums


def placed(ranges: Ranges, found: Launches) -> Bools:
    """Return which work has a range around the whole of its launch, on its thread."""
    result = np.zeros(len(found.thread), np.bool_)
    for thread in np.intersect1d(ranges.thread, found.thread[found.known]):
        rows = ranges.thread == thread  # ordered by start
        calls = np.flatnonzero(found.thread == thread)
        reach = np.maximum.accumulate(ranges.end_ns[rows])
        last = np.searchsorted(ranges.start_ns[rows], found.start_ns[calls], side="right") - 1
        result[calls] = (last >= 0) & (found.end_ns[calls] <= reach[last.clip(0)])
    return result
