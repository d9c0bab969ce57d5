"""Which range a kernel belongs to: by the thread and time of the CUDA call that launched it.

This is NVIDIA's rule (``nvtx_gpu_proj_sum``): a range has the work whose whole launching call it
contains, on its own thread, bounds included. A kernel runs later than it is launched, so comparing
its own time on the device with a range would be wrong. CPU operators launch themselves. A range
that another thread ended is on no thread, and has none. Unlike NVIDIA's, our own commands count a
launch once where it was recorded twice, and the replay of a CUDA graph is work like a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.containment import Intervals, Slices, contained, innermost
from analysis.arithmetic.intervals import NONE, ordered
from analysis.kernels import Work, load
from analysis.recorded import ranges as nvtx
from analysis.recorded.correlation import callers
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


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
    """All work of a report beside its ranges.

    Attributes:
        report: what was recorded.
        work: what ran.
        ranges: of the host.
        warmup_counts: whether a warm-up is like any other part; then there is none to leave out.
    """

    report: Report
    work: Work
    ranges: Ranges
    warmup_counts: bool = False

    @classmethod
    def of(cls, report: Report, *, warmup_counts: bool = False) -> Attribution:
        """Read both from a report.

        Raises:
            ReportError: it holds neither kernels nor operators.
        """
        return cls(report, load(report), nvtx.load(report), warmup_counts)

    @cached_property
    def launches(self) -> Launches:
        """The launch of each piece of work."""
        return launches(self.report, self.work)

    @cached_property
    def warmup(self) -> Ranges:
        """The warm-up ranges; none where they count like any other."""
        called = self.ranges.called(names.WARMUP)
        return self.ranges.take(called & (not self.warmup_counts))

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
    def own(self) -> Int64:
        """``(N,)`` the innermost range around each launch, a position in ``ranges``, or `NONE`.

        The whole chain is that range and its parents. Of ranges that overlap without nesting the
        last to begin counts.
        """
        return innermost(spans(self.ranges), calls(self.launches))

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
    return calls_of(report, process, correlation)


def calls_of(report: Report, process: Int64, correlation: Int64) -> Launches:
    """Return the launch of what ran on a GPU, by ``(N,)`` global process and correlation ids."""
    rows = tables.runtime_calls(report)
    place = callers((process, correlation), (rows["thread"], rows["correlation"]), rows["start_ns"])
    found = place != NONE
    columns = [np.where(found, _take(rows[name], place), tables.MISSING) for name in _CALL]
    return Launches(*columns)


_CALL: Final = ("thread", "start_ns", "end_ns")


def _take(values: Int64, place: Int64) -> Int64:
    return values[place] if len(values) else np.full(len(place), tables.MISSING, np.int64)


def spans(ranges: Ranges) -> Intervals:
    """Return ranges as intervals on threads; one that another thread ended contains nothing."""
    end = np.where(ranges.elsewhere, ranges.start_ns - 1, ranges.end_ns)
    return Intervals(ranges.thread, ranges.start_ns, end)


def calls(found: Launches) -> Intervals:
    """Return launches as intervals on threads."""
    return Intervals(found.thread, found.start_ns, found.end_ns)


def slices(ranges: Ranges, found: Launches) -> tuple[Slices, Int64]:
    """Return which launches each range contains, and ``(L,)`` the order the slices are of."""
    known = np.flatnonzero(found.known)
    thread, start, end = found.thread[known], found.start_ns[known], found.end_ns[known]
    order = known[ordered(start, end, thread)]
    return contained(spans(ranges), calls(found).take(order)), order


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
    inside, order = slices(ranges, found)
    return inside.counts(), inside.sums(duration_ns[order])


def placed(ranges: Ranges, found: Launches) -> Bools:
    """Return which work has a range around the whole of its launch, on its thread."""
    inside, order = slices(ranges, found)
    result = np.zeros(len(found.thread), np.bool_)
    result[order] = inside.covered(len(order))
    return result
