"""What a CPU run would take after a change: each step is one thread, and nothing waits for another.

A change shortens the self time of the operators and the walls of the ranges that it names, on the
thread of the step; everything else stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.steps import Steps, steps_of_report
from analysis.measures.replay.scope import scope, scope_of_ranges
from analysis.measures.replay.step_bounds import step_threads
from analysis.measures.replay.times import Blind, Times
from analysis.show.errors import ReportError

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.replay.change import Change
    from analysis.measures.replay.scope import Scope
    from analysis.recorded.operators import Operators

LAUNCHES: Final = "a CPU run launches nothing that could be put into a graph, or overlap"


@dataclass(frozen=True)
class ThreadTime:
    """Factors of the time of one thread, stretch by stretch.

    Attributes:
        bound_ns: ``(B,)`` ascending, where the factor changes.
        factor: ``(B + 1,)`` before the first bound, between each two, after the last.
    """

    bound_ns: Int64
    factor: Float64

    @classmethod
    def of(cls, scopes: list[tuple[IntervalUnion, float]]) -> ThreadTime:
        """Return the time of a thread of which some unions of intervals have factors."""
        sides = [side for union, _ in scopes for side in (union.start_ns, union.end_ns)]
        bounds = np.unique(np.concatenate([np.empty(0, np.int64), *sides]))
        inside = np.append(bounds[:1] - 1, bounds) if len(bounds) else np.zeros(1, np.int64)
        result = np.ones(len(inside))
        for union, factor in scopes:
            result[union.contains(inside)] *= factor
        return cls(bounds, result)

    def at(self, instant_ns: Int64) -> Float64:
        """Return ``(N,)`` the factor at some instants."""
        return self.factor[np.searchsorted(self.bound_ns, instant_ns, side="right")]

    def after(self, low: int, high: int, busy: IntervalUnion, idle: float) -> float:
        """Return how long a window takes, with the time outside of some union by a further factor.

        Args:
            low: when it begins.
            high: when it ends.
            busy: the operators' time.
            idle: the factor of the rest.
        """
        inner = self.bound_ns[(self.bound_ns > low) & (self.bound_ns < high)]
        start = np.append(low, inner)
        end = np.append(inner, high)
        covered = busy.within(start, end)
        return float((self.at(start) * (covered + idle * (end - start - covered))).sum())


@dataclass(frozen=True)
class CpuPredictions:
    """Predictions for a run on a CPU.

    Attributes:
        attribution: its operators beside its ranges.
        steps: its steps that count, or None where none is marked.
    """

    attribution: Attribution
    steps: Steps | None
    on_cpu = True
    distrust = None
    unrecorded_host = None

    @classmethod
    def of(cls, attribution: Attribution) -> CpuPredictions:
        """Return what predicts the run of a report whose work is CPU operators."""
        return cls(attribution, steps_of_report(attribution))

    @property
    def operators(self) -> Operators:
        """The operators of the run."""
        calls = self.attribution.work.calls
        assert calls is not None, "a report without kernels is ranked by operators"
        return calls

    @cached_property
    def windows(self) -> tuple[Int64, Int64, Int64]:
        """``(W,)`` threads, starts and ends: of the whole run first, then of each process's steps.

        The whole is that of the thread with most operators' time.
        """
        calls = self.operators
        threads, place = np.unique(calls.thread, return_inverse=True)
        main = threads[np.bincount(place.ravel(), calls.self_ns).argmax()]
        mine = calls.thread == main
        whole = (main, calls.start_ns[mine].min(), calls.end_ns[mine].max())
        if self.steps is None:
            thread, start, end = (np.array([value], np.int64) for value in whole)
            return thread, start, end
        parts = (step_threads(self.attribution, self.steps), self.steps.start_ns, self.steps.end_ns)
        thread, start, end = (
            np.append(np.int64(value), part) for value, part in zip(whole, parts, strict=True)
        )
        return thread, start, end

    @cached_property
    def recorded(self) -> Times:
        """What was recorded."""
        _, start, end = self.windows
        return self._times((end - start).astype(np.float64), self.operators.self_ns)

    @property
    def blind(self) -> Blind:
        """The recorded window: there are no waits to withhold."""
        return Blind(self.recorded.whole_ns, self.recorded.whole_ns)

    def predict(self, change: Change, host: float = 1.0) -> Times:
        """Return what the run takes after a change.

        Args:
            change: what is changed.
            host: a further factor of the time outside of operators.

        Raises:
            ReportError: there is nothing of a name, or the change is about launches.
        """
        if change.graph or change.overlap:
            raise ReportError(self.attribution.report.path, LAUNCHES, "change something else")
        factor = np.ones(len(self.operators.name))
        ranges: list[tuple[Scope, float]] = []
        for name, by in change.scale.items():
            found = scope(self.attribution, name)
            if found.ranges is None:
                factor[found.work] *= by
            else:
                ranges.append((found, by))
        ranges += [(scope_of_ranges(self.attribution, name), 0.0) for name in change.remove]
        thread, start, end = self.windows
        times, took = np.empty(len(thread)), self.operators.self_ns.astype(np.float64)
        for one in np.unique(thread).tolist():
            rows, mine = np.flatnonzero(thread == one), self.operators.thread == one
            times[rows], took[mine] = self._of_thread(
                one, start[rows], end[rows], factor.copy(), ranges, change.host * host
            )
        return self._times(times, took)

    def _of_thread(
        self,
        thread: int,
        start_ns: Int64,
        end_ns: Int64,
        factor: Float64,
        scopes: list[tuple[Scope, float]],
        host: float,
    ) -> tuple[Float64, Float64]:
        """Return ``(W,)`` how long windows of a thread take, and its operators by themselves."""
        calls, listed = self.operators, []
        for found, by in scopes:
            assert found.ranges is not None, "a scope of ranges has ranges"
            ranges = self.attribution.ranges.take(found.ranges)
            mine = ranges.thread == thread
            union = IntervalUnion.of(ranges.start_ns[mine], ranges.end_ns[mine])
            listed.append((union, by))
            # Work of its backward pass that no range of the thread holds.
            factor[found.work & ~union.contains(calls.start_ns)] *= by
        time = ThreadTime.of(listed)
        mine = calls.thread == thread
        busy = IntervalUnion.of(calls.start_ns[mine], calls.end_ns[mine])
        at = time.at(calls.start_ns)
        rows = np.flatnonzero(mine & (factor != 1))
        less = (1 - factor[rows]) * calls.self_ns[rows] * at[rows]
        order = np.argsort(calls.start_ns[rows], kind="stable")
        running = np.append(0.0, np.cumsum(less[order]))
        begun = calls.start_ns[rows][order]
        low, high = np.searchsorted(begun, start_ns), np.searchsorted(begun, end_ns)
        whole = [
            time.after(*window, busy, host)
            for window in zip(start_ns.tolist(), end_ns.tolist(), strict=True)
        ]
        left: Float64 = np.maximum(np.array(whole) - (running[high] - running[low]), 0.0)
        return left, (factor * calls.self_ns * at)[mine]

    def _times(self, windows: Float64, took_ns: Float64 | Int64) -> Times:
        """Return what the windows, and the operators by themselves, take."""
        whole = np.rint(windows).astype(np.int64)
        steps = np.zeros(0 if self.steps is None else self.steps.count, np.int64)
        if self.steps is not None:
            np.maximum.at(steps, self.steps.number, whole[1:])
        took = np.rint(took_ns).astype(np.int64)
        return Times(int(whole[0]), steps, took, np.empty(0, np.int64))
