"""What a CPU run would take after a change: each step is one thread, and nothing waits for another.

A change shortens the self time of the operators and the walls of the ranges that it names, on the
thread of the step; everything else stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.steps import Steps, steps_of_report
from analysis.measures.predictions.edits import edits as edits_of
from analysis.measures.predictions.step_bounds import step_threads
from analysis.measures.predictions.times import Blind, Times
from analysis.measures.step_times import slowdown, step_times

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.predictions.change import Change
    from analysis.measures.predictions.edit import Edit
    from analysis.recorded.operators import Operators

DISPATCH_NS: Final = 20_000
"""What of an operator is the host's, at most: to dispatch it, and to record that."""

ROUNDS: Final = 30

HOST: Final = "host"
"""What a run is limited by that spends most of its time outside of operators."""


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
        whole = (NONE, 0, 0)
        if len(threads):
            main = int(threads[np.bincount(place.ravel(), calls.self_ns).argmax()])
            mine = calls.thread == main
            whole = (main, int(calls.start_ns[mine].min()), int(calls.end_ns[mine].max()))
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

    def edits(self, change: Change) -> list[Edit]:
        """Return what a change comes to.

        Raises:
            ReportError: there is nothing of a name, or it is about launches and waits.
        """
        return edits_of(self.attribution, change)

    def predict(self, edits: Sequence[Edit], host: float = 1.0) -> Times:
        """Return what the run takes after some edits, all of them together.

        Args:
            edits: what is changed.
            host: the factor of the host's time in the run that is changed: of the time outside of
                operators, and of the first `DISPATCH_NS` of each operator.
        """
        return self._times(*self._after(edits, host))

    @cached_property
    def unrecorded_host(self) -> float | None:
        """The factor of the host's time in the run without a recorder; None where not known.

        It is not where the steps that were not recorded do not differ from the others, or too few
        were measured to tell.
        """
        report = self.attribution.report
        noted, bare = (step_times(report, key) for key in ("step_ns", "unprofiled_step_ns"))
        slower = slowdown(noted, bare)
        if slower is None or self.steps is None:
            return None
        wanted, low, high = float(np.median(bare)), 0.0, 1.0
        if float(np.median(self.recorded.step_ns)) <= wanted:
            return 1.0
        for _ in range(ROUNDS):
            middle = (low + high) / 2
            found = float(np.median(self.predict([], middle).step_ns))
            low, high = (middle, high) if found < wanted else (low, middle)
        return high

    def limit(self, edits: Sequence[Edit], host: float = 1.0) -> str:
        """Return what the median step, or the whole, takes longest for after some edits.

        That is a category of operators, or the time outside of operators.
        """
        times, left = self._after(edits, host)
        window = 0
        if self.steps is not None:
            took = self._times(times, left).step_ns
            middle = int(np.argsort(took, kind="stable")[(len(took) - 1) // 2])
            rows = np.flatnonzero(self.steps.number == middle)
            window = 1 + int(rows[int(times[1:][rows].argmax())])
        thread, start, end = (int(column[window]) for column in self.windows)
        calls, work = self.operators, self.attribution.work
        rows = np.flatnonzero(
            (calls.thread == thread) & (calls.start_ns >= start) & (calls.start_ns < end)
        )
        labels = sorted(set(work.categories))
        number = np.array([labels.index(label) for label in work.categories], np.int64)
        spent = dict(
            zip(labels, np.bincount(number[work.kind[rows]], left[rows], len(labels)), strict=True)
        )
        spent[HOST] = times[window] - left[rows].sum()
        return max(spent, key=lambda name: spent[name])

    def _after(self, edits: Sequence[Edit], host: float) -> tuple[Float64, Float64]:
        """Return ``(W,)`` what windows take after some edits, ``(N,)`` operators by themselves."""
        thread, start, end = self.windows
        calls = self.operators
        own = calls.self_ns.astype(np.float64)
        times, took, outside = np.empty(len(thread)), own.copy(), host
        for edit in edits:
            outside *= edit.host
        dispatched = 1 - (1 - host) * np.minimum(own, DISPATCH_NS) / np.maximum(own, 1)
        for one in np.unique(thread).tolist():
            rows = np.flatnonzero(thread == one)
            factor, time = self._of_thread(one, edits)
            factor = factor * dispatched
            mine = calls.thread == one
            busy = IntervalUnion.of(calls.start_ns[mine], calls.end_ns[mine])
            changed = np.flatnonzero(mine & (factor != 1))
            begun = calls.start_ns[changed]
            took[mine] = (factor * calls.self_ns * time.at(calls.start_ns))[mine]
            less = (1 - factor[changed]) * calls.self_ns[changed] * time.at(begun)
            order = np.argsort(begun, kind="stable")
            running = np.append(0.0, np.cumsum(less[order]))
            low, high = (np.searchsorted(begun[order], bound[rows]) for bound in (start, end))
            bounds = zip(start[rows].tolist(), end[rows].tolist(), strict=True)
            whole = np.array([time.after(*window, busy, outside) for window in bounds])
            times[rows] = np.maximum(whole - (running[high] - running[low]), 0.0)
        return times, took

    def _of_thread(self, thread: int, edits: Sequence[Edit]) -> tuple[Float64, ThreadTime]:
        """Return ``(N,)`` factors of the operators' self times, and those of a thread's time."""
        factor, stretches = np.ones(len(self.operators.name)), []
        for edit in edits:
            if edit.work is not None:
                factor = factor * edit.work
            if edit.stretches is not None:
                stretches.append((edit.stretches.of_thread(thread), edit.by))
        return factor, ThreadTime.of(stretches)

    def _times(self, windows: Float64, took_ns: Float64 | Int64) -> Times:
        """Return what the windows, and the operators by themselves, take."""
        whole = np.rint(windows).astype(np.int64)
        steps = np.zeros(0 if self.steps is None else self.steps.count, np.int64)
        if self.steps is not None:
            np.maximum.at(steps, self.steps.number, whole[1:])
        took = np.rint(took_ns).astype(np.int64)
        return Times(int(whole[0]), steps, took, np.empty(0, np.int64))
