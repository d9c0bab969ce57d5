"""Which range a kernel belongs to: by the thread and time of the CUDA call that launched it.

This is NVIDIA's rule (``nvtx_gpu_proj_sum``): a range has the work whose whole launching call it
contains, on its own thread, bounds included. A kernel runs later than it is launched, so comparing
its own time on the device with a range would be wrong. CPU operators launch themselves. A range
that another thread ended is on no thread, and has none. Unlike NVIDIA's, our own commands count a
launch once where it was recorded twice, and the replay of a CUDA graph is work like a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, Slices, contained, innermost
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import ordered, parents
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.inferred import Marked
from analysis.recorded.device_work import DeviceWork, device_work
from analysis.recorded.work import NO_WORK, Work, has_device_work, has_work, ranked_work
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

T = TypeVar("T")
Given = TypeVarTuple("Given")


class Launches(Intervals):
    """The calls that launched pieces of work, ``N`` of them: on which thread, and when.

    The thread is `tables.MISSING` where no launch was recorded.
    """

    @cached_property
    def known(self) -> Bools:
        """``(N,)`` which pieces of work have a recorded launch."""
        known: Bools = self.thread != tables.MISSING
        return known

    @cached_property
    def process(self) -> Int64:
        """``(N,)`` the process of each launch, or `tables.MISSING`."""
        return np.where(self.known, process_of(self.thread), tables.MISSING)


@dataclass(frozen=True)
class Attribution:
    """All work of a report beside its ranges, whatever counts of it.

    Of what a GPU did, kernels and graph replays are ranked work, ``N`` of them; they come first
    among all ``M`` rows of device work. In a report of a CPU run both are its operators.

    Attributes:
        report: what was recorded.
        work: the ranked work.
    """

    report: Report
    work: Work
    _kept: dict[object, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: Callable[[Attribution, *Given], T], *given: *Given) -> T:
        """Return what a function makes of all this, made when first asked for and then kept."""
        key = (make, *given)
        if key not in self._kept:
            self._kept[key] = make(self, *given)
        return cast(T, self._kept[key])

    @classmethod
    def of(cls, report: Report) -> Attribution:
        """Return the work and the ranges of a report, read once.

        Raises:
            ReportError: it holds neither kernels nor operators.
        """
        return report.once(_of_work)

    @classmethod
    def of_any(cls, report: Report) -> Attribution:
        """Return the work and the ranges of a report that need not hold any ranked work."""
        return report.once(_of_any)

    @classmethod
    def of_devices(cls, report: Report) -> Attribution:
        """Return the GPUs' work and the ranges of a report; CPU operators are no work here."""
        return Attribution.of(report) if has_device_work(report) else cls(report, NO_WORK)

    @cached_property
    def ranges(self) -> Ranges:
        """The NVTX ranges of the host, ``R`` of them, with those that are inferred."""
        return Marked.of(self.report).ranges

    @cached_property
    def recorded(self) -> Ranges:
        """The ranges that were recorded, none that is inferred."""
        ranges = self.ranges
        return ranges.take(~ranges.inferred) if ranges.inferred.any() else ranges

    @cached_property
    def parents(self) -> Int64:
        """``(R,)`` the innermost other range around each, on its thread, or `NONE`."""
        ranges = self.ranges
        return parents(ranges.start_ns, ranges.end_ns, ranges.thread)

    @cached_property
    def device(self) -> DeviceWork:
        """The table of device work, ``M`` rows; not for a report of a CPU run."""
        return device_work(self.report)

    @cached_property
    def all_launches(self) -> Launches:
        """``(M,)`` the launches of all device work, copies and sets too; on a CPU, operators."""
        if self.work.calls is not None:
            calls = self.work.calls
            return Launches(calls.thread, calls.start_ns, calls.end_ns)
        return Launches(*self.device.launches)

    @cached_property
    def launches(self) -> Launches:
        """``(N,)`` the launch of each piece of ranked work."""
        return self.all_launches.take(slice(len(self.work)))

    @cached_property
    def ran(self) -> tuple[Int64, Int64]:
        """``(N,)`` starts and ends of the ranked work: on its device, or on the CPU."""
        at = self.work.calls if self.work.calls is not None else self.device
        return at.start_ns[: len(self.work)], at.end_ns[: len(self.work)]

    @cached_property
    def warmup(self) -> Ranges:
        """The NVTX ranges that mark warm-up."""
        return self.ranges.take(self.ranges.called(names.WARMUP))

    @cached_property
    def all_in_warmup(self) -> Bools:
        """``(M,)`` which device work was launched during a warm-up range of its process."""
        launches = self.all_launches
        return during_ranges(launches.start_ns, launches.process, self.warmup)

    @property
    def work_in_warmup(self) -> Bools:
        """``(N,)`` which ranked work was launched during a warm-up range."""
        return self.all_in_warmup[: len(self.work)]

    @cached_property
    def ranges_in_warmup(self) -> Bools:
        """``(R,)`` which ranges began during a warm-up range, warm-up ranges themselves too."""
        return during_ranges(self.ranges.start_ns, self.ranges.process, self.warmup)

    @cached_property
    def own(self) -> Int64:
        """``(N,)`` the innermost range around each launch, a position in ``ranges``, or `NONE`.

        The whole chain is that range and its parents. Of ranges that overlap without nesting the
        last to begin counts.
        """
        return innermost(range_intervals(self.ranges), self.launches)

    @cached_property
    def placed(self) -> Bools:
        """``(N,)`` which work has at least one recorded range around its launch."""
        return launched_inside(self.recorded, self.launches)


def _of_work(report: Report) -> Attribution:
    return Attribution(report, ranked_work(report))


def _of_any(report: Report) -> Attribution:
    return Attribution.of(report) if has_work(report) else Attribution(report, NO_WORK)


def range_intervals(ranges: Ranges) -> Intervals:
    """Return ranges as intervals on threads; one that another thread ended contains nothing."""
    end = np.where(ranges.elsewhere, ranges.start_ns - 1, ranges.end_ns)
    return Intervals(ranges.thread, ranges.start_ns, end)


def launches_in_ranges(ranges: Ranges, launches: Launches) -> tuple[Slices, Int64]:
    """Return slices of the launches that each range contains, and ``(L,)`` the launches' order."""
    known = np.flatnonzero(launches.known)
    some = launches.take(known)
    order = known[ordered(some.start_ns, some.end_ns, some.thread)]
    return contained(range_intervals(ranges), launches.take(order)), order


def during_ranges(instant_ns: Int64, process: Int64, windows: Ranges) -> Bools:
    """Return which instants lie inside a range of their process, whatever the thread."""
    inside = np.zeros(len(instant_ns), np.bool_)
    for number in np.unique(windows.process):
        of_it = windows.process == number
        # Half open: what begins at the very end of a warm-up is not part of it.
        open_ = IntervalUnion.of(windows.start_ns[of_it], windows.end_ns[of_it])
        inside |= (process == number) & open_.contains(instant_ns)
    return inside


def launched_totals(ranges: Ranges, launches: Launches, duration_ns: Int64) -> tuple[Int64, Int64]:
    """Return the count and the summed time of the work launched inside each range.

    Args:
        ranges: ``R`` of them.
        launches: of ``N`` pieces of work.
        duration_ns: ``(N,)``.

    Returns:
        ``(R,)`` counts and ``(R,)`` nanoseconds.
    """
    inside, order = launches_in_ranges(ranges, launches)
    return inside.counts(), inside.sums(duration_ns[order])


def launched_inside(ranges: Ranges, launches: Launches) -> Bools:
    """Return which work has a range around the whole of its launch, on its thread."""
    inside, order = launches_in_ranges(ranges, launches)
    result = np.zeros(len(launches.thread), np.bool_)
    result[order] = inside.covered(len(order))
    return result
