"""The part of a report that is about the steps: warm-up, loading and the like left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.costs.range_sums import RangeSums, range_sums
from analysis.measures.host.activity import HostActivity, host_activity
from analysis.measures.idle import SLOW_CALL_NS, IdleGaps, idle_gaps
from analysis.measures.idle_parts import BUSY, LATENCY, STARVED, idle_parts, with_stream_waits
from analysis.show.render import duration
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selected import Selected
    from analysis.recorded.device_work import DeviceWork
    from analysis.source.report import Report


BEHIND: Final = 0.25
"""Of a step: a GPU that takes so much longer for it than the host does falls behind."""


@dataclass(frozen=True)
class MeasuredWindow:
    """The part of a report between the first and the last step, or phase.

    Attributes:
        chosen: the part of the report that counts.
    """

    chosen: Selected

    @property
    def attribution(self) -> Attribution:
        """All work of the report, attributed."""
        return self.chosen.attribution

    @property
    def report(self) -> Report:
        """The report that the window is of."""
        return self.attribution.report

    @cached_property
    def window(self) -> dict[int, tuple[int, int]]:
        """The window of each process: from its first step's (or phase's) start to the last's end.

        Where neither is marked, from the end of the first warm-up, if there is one, to the end.
        Where nothing is to be left out there is no window, unless some steps are asked for.
        """
        if self.chosen.warmup_counts and self.chosen.selection.steps is None:
            return {}
        ranges = self.attribution.ranges
        steps = ranges.called(names.STEP)
        steps |= ranges.where(lambda name: name in names.PHASES)
        chosen = ranges.take(steps & self.chosen.ranges)
        result: dict[int, tuple[int, int]] = {}
        if not len(chosen):
            if not self.chosen.leaves_warmup_out:
                return result
            warm = self.attribution.warmup
            for process in np.unique(warm.process).tolist():
                mine = warm.process == process
                first = IntervalUnion.of(warm.start_ns[mine], warm.end_ns[mine])
                result[process] = (int(first.end_ns[0]), np.iinfo(np.int64).max)
            return result
        for process in np.unique(chosen.process).tolist():
            mine = chosen.process == process
            result[process] = (int(chosen.start_ns[mine].min()), int(chosen.end_ns[mine].max()))
        return result

    def during(self, process: Int64, instant_ns: Int64) -> Bools:
        """Return ``(T,)`` which instants lie in the window of their process; all without one."""
        result = np.ones(len(instant_ns), np.bool_)
        for number, (start, end) in self.window.items():
            mine = process == number
            result[mine] = (start <= instant_ns[mine]) & (instant_ns[mine] <= end)
        return result

    @cached_property
    def work(self) -> Bools:
        """``(N,)`` which ranked work counts and was launched in the window."""
        launches = self.attribution.launches
        return self.during(launches.process, launches.start_ns) & self.chosen.work

    @cached_property
    def kernel_ns(self) -> int:
        """The summed time of the ranked work in the window, at least 1."""
        return max(int(self.attribution.work.duration_ns[self.work].sum()), 1)

    @property
    def done(self) -> DeviceWork:
        """The table of device work of the report."""
        return self.attribution.device

    @cached_property
    def every_gap(self) -> IdleGaps:
        """The gaps of the GPUs that count, before, between and after the steps too."""
        asked = self.chosen.selection
        return with_stream_waits(idle_gaps(self.report).of_places(asked.device, asked.process))

    @cached_property
    def idle_part(self) -> Int64:
        """``(G,)`` which part of a budget each gap belongs to: positions in `IDLE_PARTS`."""
        gaps = self.every_gap
        return idle_parts(self.done, gaps.cause, gaps.call, gaps.duration_ns)

    @cached_property
    def host_is_late(self) -> Bools:
        """``(G,)`` in which gaps of the window a GPU waited for a launch."""
        return self.gaps & np.isin(self.idle_part, (STARVED, BUSY, LATENCY))

    @cached_property
    def windows(self) -> Int64:
        """``(P, 2)`` the window of each device, of ``idle.places``, on its own time: from, until.

        It is the `window` of the host as far as the GPU has work before and after. A GPU
        lags behind: it ends no sooner than the last work launched in it, and what was launched
        before (in the warm-up) and still ran as it began is left out.
        """
        done, result = self.done, []
        known = done.call != NONE
        launched = np.full(len(done), NONE, np.int64)
        launched[known] = done.calls.start_ns[done.call[known]]
        for place in self.every_gap.places:
            first, last = int(place.busy.start_ns[0]), int(place.busy.end_ns[-1])
            if place.process not in self.window:
                result.append((first, last))
                continue
            low, high = self.window[place.process]
            here = known & place.did(done)
            earlier = done.end_ns[here & (launched < low)]
            own = done.end_ns[here & (low <= launched) & (launched <= high)]
            begin = min(max(low, first, int(earlier.max(initial=first))), last)
            result.append((begin, min(max(high, int(own.max(initial=begin)), begin), last)))
        return np.array(result, np.int64).reshape(-1, 2)

    @cached_property
    def idle(self) -> IdleGaps:
        """The gaps of the GPUs within their `windows`; a gap outside of them lasts 0 ns."""
        every = self.every_gap
        low, high = self.windows[every.place].T
        start = every.start_ns.clip(low, high)
        return replace(every, start_ns=start, end_ns=every.end_ns.clip(start, high))

    @cached_property
    def gaps(self) -> Bools:
        """``(G,)`` which gaps lie in the windows of their devices."""
        counts: Bools = self.idle.duration_ns > 0
        return counts

    @cached_property
    def left_out_gaps(self) -> Bools:
        """``(G,)`` which gaps of `idle` begin in a range that is left out."""
        return self.chosen.left_out_at(self.idle.start_ns, self.every_gap.process)

    @property
    def outside(self) -> str:
        """In words which time is not in the window; "" where all is."""
        if not self.window:
            return ""
        ranges = self.attribution.ranges
        if (ranges.called(names.STEP) & self.chosen.ranges).any():
            return "before and after the steps"
        phases = ranges.where(lambda name: name in names.PHASES) & self.chosen.ranges
        return "before and after the phases" if phases.any() else "before the end of the warm-up"

    @cached_property
    def host_late(self) -> tuple[Int64, HostActivity]:
        """The gaps of `SLOW_CALL_NS` or more in which the host came late, and what it did."""
        rows = np.flatnonzero(self.host_is_late & (self.idle.duration_ns >= SLOW_CALL_NS))
        return rows, host_activity(self.report, self.every_gap.take(rows))

    @cached_property
    def wall_ns(self) -> int:
        """The length of all GPUs' `windows` together, at least 1."""
        return max(int((self.windows[:, 1] - self.windows[:, 0]).sum()), 1)

    @cached_property
    def beyond_host_ns(self) -> int:
        """How much longer the window of a GPU is than its process's on the host; 0 where it is not.

        It is that of the GPU with most; a window that begins later too is no longer for that.
        """
        if self.chosen.steps is None or self.attribution.work.on_cpu:
            return 0
        longer = [0]
        for place, (low, high) in zip(self.every_gap.places, self.windows.tolist(), strict=True):
            if place.process in self.window:
                begin, end = self.window[place.process]
                longer.append((high - low) - (end - begin))
        return max(longer)

    @property
    def falls_behind(self) -> bool:
        """Whether a GPU takes so much longer for a step that the host is soon steps ahead."""
        steps = self.chosen.steps
        return steps is not None and self.beyond_host_ns > BEHIND * int(steps.wall_ns.sum())

    @cached_property
    def step_times_ns(self) -> Float64:
        """``(S,)`` how long each step took; a single mean of the GPU's where that falls behind.

        It is empty where no step is known.
        """
        steps = self.chosen.steps
        if steps is None:
            return np.empty(0)
        if not self.falls_behind:
            return steps.wall_ns.astype(np.float64)
        return np.array([float((self.windows[:, 1] - self.windows[:, 0]).max()) / steps.count])

    @property
    def lag_notes(self) -> tuple[str, ...]:
        """A line on a GPU that falls behind the host; none where it does not."""
        if not self.falls_behind:
            return ()
        return (
            "the GPU falls behind the host: what the steps launched takes "
            f"{duration(self.beyond_host_ns)} longer than they do, so the budget of a step is not "
            "that of its own work; wait for the GPU at the end of each recorded step to tell them "
            "apart",
        )

    @cached_property
    def sums(self) -> RangeSums:
        """The costs and times of each range, by the work that counts."""
        return range_sums(self.chosen)

    @cached_property
    def instances(self) -> int:
        """The number of step ranges that count; 1 where none is marked."""
        steps = self.attribution.ranges.called(names.STEP) & self.chosen.ranges
        return max(int(steps.sum()), 1)
