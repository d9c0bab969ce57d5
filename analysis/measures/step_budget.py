"""The budget of a step: its wall time on each device, cut into parts that add up to it exactly.

Each instant of a step counts once, for the first of these that is going on then: a matrix product,
other work whose bytes are known, work that is not modelled, a collective, a copy, work that is left
out (of warm-up, or of a range that was named), the profiler's own overhead; else the device is
idle, for a cause, or in what is left out. What a part of the first two could not have been faster
than, by the roofline, is its ideal time; the rest is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE, self_intervals
from analysis.arithmetic.statistics import sums
from analysis.arithmetic.union import IntervalUnion
from analysis.costs.costed_calls import costed_calls
from analysis.costs.device_peaks import DevicePeaks, ideal_of_work, ideal_times
from analysis.measures import idle
from analysis.measures.idle_parts import IDLE_PARTS, idle_parts
from analysis.recorded.device_work import RANKED
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.costs.costed_calls import CostedCalls
    from analysis.measures.idle import IdleGaps
    from analysis.measures.window import MeasuredWindow
    from analysis.recorded.device_work import DeviceWork

PARTS: Final = (
    *("matrix_ideal", "matrix_lost", "memory_ideal", "memory_lost", "not_modelled"),
    *("communication", "copies", "left_out", "profiler"),
    *IDLE_PARTS,
)
"""The parts of a step's wall time; those from `launch_starved` on are causes of idle time."""

IN_WORDS: Final = {
    "matrix_ideal": "matrix products, at the peak rate",
    "matrix_lost": "matrix products, lost",
    "memory_ideal": "memory-bound work, at the bandwidth",
    "memory_lost": "memory-bound work, lost",
    "not_modelled": "work that is not modelled",
    "communication": "communication, exposed",
    "copies": "copies, exposed",
    "left_out": "what is left out",
    "profiler": "the profiler's own overhead",
    "launch_starved": "idle: the host launched too slowly",
    "host_busy": "idle: the host did something else",
    "synchronisation": "idle: the host had waited",
    "blocking_copy": "idle: the host was in a copy",
    "stream_wait": "idle: waiting for another stream",
    "launch_latency": "idle: launch latency",
    "unknown": "idle: cause not recorded",
}
"""What each part is called for people."""

IDEAL: Final = ("matrix_ideal", "memory_ideal", "not_modelled", "left_out")
"""The parts that the same work takes at best, as far as anything is known of it."""

MATRIX, MEMORY, NOT_MODELLED, COMMUNICATION, COPIES, LEFT_OUT = range(6)
"""Classes of what a device does, the first that is going on counts."""

CLASSES: Final = 6
FIRST_CAUSE: Final = PARTS.index(IDLE_PARTS[0])


@dataclass(frozen=True)
class StepBudgets:
    """The budgets of the steps that count, each on each device of its process: ``W`` of them.

    Attributes:
        step: ``(W,)`` numbers from 0.
        process: ``(W,)`` process ids, or `tables.MISSING`.
        device: ``(W,)`` CUDA ordinals; `tables.MISSING` of a CPU.
        start_ns: ``(W,)`` when the step began.
        wall_ns: ``(W,)`` how long it was.
        parts_ns: ``(W, len(PARTS))`` what it went into; a row adds up to its ``wall_ns``.
        whole: whether the recording as a whole stands for one step.
        peaks: by which ideal times were reckoned.
    """

    step: Int64
    process: Int64
    device: Int64
    start_ns: Int64
    wall_ns: Int64
    parts_ns: Int64
    whole: bool
    peaks: DevicePeaks

    def __len__(self) -> int:
        return len(self.step)

    @property
    def on_cpu(self) -> bool:
        """Whether operators of a CPU stand for kernels."""
        return bool((self.device == tables.MISSING).all())

    def median_step(self) -> int:
        """Return the number of the step whose time, on all devices together, is the median."""
        numbers, place = np.unique(self.step, return_inverse=True)
        wall = sums(place, self.wall_ns, len(numbers))
        return int(numbers[np.argsort(wall, kind="stable")[(len(numbers) - 1) // 2]])

    def window_of_median_step(self) -> tuple[int, int] | None:
        """Return when the median step begins on any device and ends on all; None without any."""
        if not len(self):
            return None
        rows = self.step == self.median_step()
        start = self.start_ns[rows]
        return int(start.min()), int((start + self.wall_ns[rows]).max())


@dataclass(frozen=True)
class Pieces:
    """Stretches of time in which one device did something for one process.

    Attributes:
        start_ns: ``(M,)``.
        end_ns: ``(M,)``.
        kind: ``(M,)`` positions among the classes.
        ideal_ns: ``(M,)`` the least time each could have taken; NaN where not known.
    """

    start_ns: Int64
    end_ns: Int64
    kind: Int64
    ideal_ns: Float64

    def joined(self, start_ns: Int64, end_ns: Int64) -> Pieces:
        """Return these and stretches of what is left out, ``(L,)``."""
        count = len(start_ns)
        return Pieces(
            np.append(self.start_ns, start_ns),
            np.append(self.end_ns, end_ns),
            np.append(self.kind, np.full(count, LEFT_OUT)),
            np.append(self.ideal_ns, np.full(count, np.nan)),
        )

    def of_kind(self, kind: int) -> IntervalUnion:
        """Return when anything of a class was going on."""
        mine = self.kind == kind
        return IntervalUnion.of(self.start_ns[mine], self.end_ns[mine])


def step_budgets(measured: MeasuredWindow) -> StepBudgets:
    """Return the budget of every step that counts, on every device; without steps of the whole.

    A step's window is that of its range on the host. Without steps it is `MeasuredWindow.windows`,
    on a CPU from the first start of an operator to the last end.
    """
    attribution = measured.attribution
    calls = costed_calls(attribution)
    peaks = DevicePeaks.of(measured.report, attribution.work)
    ideal_ns = ideal_times(calls, peaks)
    if attribution.work.on_cpu:
        return _on_cpu(measured, calls, ideal_ns, peaks)
    return _on_gpus(measured, calls, ideal_ns, peaks)


def _on_gpus(
    measured: MeasuredWindow, calls: CostedCalls, ideal_ns: Float64, peaks: DevicePeaks
) -> StepBudgets:
    done, gaps = measured.done, measured.every_gap
    kind, ideal = classes_of_work(measured, calls, ideal_ns, peaks)
    cause = FIRST_CAUSE + measured.idle_part
    cause[measured.left_out_gaps] = PARTS.index("left_out")
    steps = measured.chosen.steps
    found = []
    for number, place in enumerate(gaps.places):
        if steps is None:
            low, high = measured.windows[number][:, None]
        else:
            low, high = steps.times_of(place.process)
        here = place.did(done)
        pieces = Pieces(done.start_ns[here], done.end_ns[here], kind[here], ideal[here])
        parts = split(pieces, low, high)
        parts[:, PARTS.index("profiler")] = place.busy.within(low, high) - parts.sum(1)
        mine = gaps.place == number
        ends = edges(done, gaps, number, int(low.min(initial=0)), int(high.max(initial=0)))
        start, end, why = (
            np.append(of_gaps[mine], of_edges)
            for of_gaps, of_edges in zip((gaps.start_ns, gaps.end_ns, cause), ends, strict=True)
        )
        for part in (PARTS.index("left_out"), *range(FIRST_CAUSE, len(PARTS))):
            idle_then = IntervalUnion.of(start[why == part], end[why == part])
            parts[:, part] += idle_then.within(low, high)
        of_place = np.full(len(low), place.process), np.full(len(low), place.device)
        number_of = (
            steps.number[steps.process == place.process] if steps else np.zeros(len(low), np.int64)
        )
        found.append((number_of, *of_place, low, high - low, parts))
    return _joined(found, peaks, whole=steps is None)


def _on_cpu(
    measured: MeasuredWindow, calls: CostedCalls, ideal_ns: Float64, peaks: DevicePeaks
) -> StepBudgets:
    operators = measured.attribution.work.calls
    assert operators is not None, "a CPU run has operators"
    kind, ideal = classes_of_work(measured, calls, ideal_ns, peaks)
    # An operator's self time lies between the operators inside it.
    start, end, owner = self_intervals(operators.start_ns, operators.end_ns, operators.thread)
    share = (end - start) / np.maximum(operators.self_ns[owner], 1)
    steps, counts = measured.chosen.steps, measured.chosen.work
    found = []
    for process in np.unique(operators.process).tolist():
        mine = operators.process[owner] == process
        if steps is None:
            at = counts & (operators.process == process)
            if not at.any():
                continue
            low = operators.start_ns[at].min(keepdims=True)
            high = operators.end_ns[at].max(keepdims=True)
            number = np.zeros(1, np.int64)
        else:
            low, high = steps.times_of(process)
            number = steps.number[steps.process == process]
        of_it = owner[mine]
        pieces = Pieces(start[mine], end[mine], kind[of_it], ideal[of_it] * share[mine])
        left_out = measured.chosen.left_out_ranges
        inside = left_out.process == process
        pieces = pieces.joined(left_out.start_ns[inside], left_out.end_ns[inside])
        parts = split(pieces, low, high)
        parts[:, PARTS.index("host_busy")] = high - low - parts.sum(1)
        place = np.full(len(low), process), np.full(len(low), tables.MISSING)
        found.append((number, *place, low, high - low, parts))
    return _joined(found, peaks, whole=steps is None)


def _joined(
    found: list[tuple[Int64, Int64, Int64, Int64, Int64, Int64]], peaks: DevicePeaks, *, whole: bool
) -> StepBudgets:
    if not found:
        none = np.empty(0, np.int64)
        parts = none.reshape(0, len(PARTS))
        return StepBudgets(none, none, none, none, none, parts, whole, peaks)
    step, process, device, start, wall, parts = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    return StepBudgets(step, process, device, start, wall, parts, whole, peaks)


def classes_of_work(
    measured: MeasuredWindow, calls: CostedCalls, ideal_ns: Float64, peaks: DevicePeaks
) -> tuple[Int64, Float64]:
    """Return the class of all device work (on a CPU of the operators), and its ideal time.

    The ideal time of a call is that of its work together: each piece has its part by its time.

    Args:
        measured: a report.
        calls: what cost something.
        ideal_ns: ``(C,)`` of each call, NaN where not known.
        peaks: of the device.

    Returns:
        ``(M,)`` positions among the classes, ``(M,)`` ns, NaN where not known.
    """
    work = measured.attribution.work
    count = len(work) if work.on_cpu else len(measured.done)
    kind, ideal = np.full(count, NOT_MODELLED, np.int64), np.full(count, np.nan)
    ideal[: len(work)] = ideal_of_work(calls, ideal_ns, work.duration_ns)
    known = ~np.isnan(ideal_ns)
    if not peaks.known:  # then what a call costs is told, and not what is lost
        known = np.where(calls.is_matrix, calls.flops, calls.bytes) != tables.MISSING
    owned = np.flatnonzero(calls.owner != NONE)
    modelled = owned[known[calls.owner[owned]]]
    kind[modelled] = np.where(calls.is_matrix[calls.owner[modelled]], MATRIX, MEMORY)
    communicates = np.zeros(count, np.bool_)
    communicates[: len(work)] = work.in_category("collective")
    kind[communicates] = COMMUNICATION
    if not work.on_cpu:
        kind[measured.done.kind >= RANKED] = COPIES
    kind[measured.chosen.left_out_work] = LEFT_OUT
    return kind, ideal


def split(pieces: Pieces, low: Int64, high: Int64) -> Int64:
    """Return how much of each window was work, by part; the causes of idle time are left 0.

    Args:
        pieces: what a device did.
        low: ``(W,)`` starts of windows that do not overlap, ascending.
        high: ``(W,)`` ends.

    Returns:
        ``(W, len(PARTS))`` ns.
    """
    parts = np.zeros((len(low), len(PARTS)), np.int64)
    cover = IntervalUnion.of(np.empty(0, np.int64), np.empty(0, np.int64))
    before = np.zeros(len(low), np.int64)
    columns = (("matrix_ideal", "matrix_lost"), ("memory_ideal", "memory_lost"), ("not_modelled",))
    for kind, names in enumerate((*columns, ("communication",), ("copies",), ("left_out",))):
        cover = cover.joined(pieces.of_kind(kind))
        covered = cover.within(low, high)
        time, before = covered - before, covered
        if len(names) == 1:
            parts[:, PARTS.index(names[0])] = time
            continue
        least = np.minimum(np.floor(ideal_in_windows(pieces, kind, low, high)), time)
        parts[:, PARTS.index(names[0])] = least
        parts[:, PARTS.index(names[1])] = time - parts[:, PARTS.index(names[0])]
    return parts


def ideal_in_windows(pieces: Pieces, kind: int, low: Int64, high: Int64) -> Float64:
    """Return the ideal time of a class of work in each window, ``(W,)``.

    A piece that is faster than its ideal time (its operands were in a cache) counts as it took.
    One that reaches into several windows counts in each by its part there.
    """
    some = np.flatnonzero((pieces.kind == kind) & ~np.isnan(pieces.ideal_ns))
    start, end = pieces.start_ns[some], pieces.end_ns[some]
    ideal = np.minimum(pieces.ideal_ns[some], end - start)
    result = np.zeros(len(low))
    if not len(low):
        return result
    first = np.searchsorted(high, start, side="right").clip(max=len(low) - 1)
    last = (np.searchsorted(low, end, side="left") - 1).clip(0)
    rate = ideal / np.maximum(end - start, 1)
    window, left = first.copy(), np.arange(len(some))
    while len(left):  # nearly all lie in one window
        at = window[left]
        inside = np.minimum(end[left], high[at]) - np.maximum(start[left], low[at])
        np.add.at(result, at, rate[left] * np.maximum(inside, 0))
        window[left] += 1
        left = left[window[left] <= last[left]]
    return result


def edges(
    done: DeviceWork, gaps: IdleGaps, number: int, low: int, high: int
) -> tuple[Int64, Int64, Int64]:
    """Return the idle time before a device's first work and after its last, and their parts.

    Args:
        done: what the GPUs did.
        gaps: the gaps in between.
        number: the device's position in ``gaps.places``.
        low: when the first window begins.
        high: when the last ends.

    Returns:
        ``(E,)`` starts, ends and positions in `PARTS`.
    """
    place = gaps.places[number]
    first, last = int(place.busy.start_ns[0]), int(place.busy.end_ns[-1])
    start, end, part = [], [], []
    if low < first:
        rows = np.flatnonzero(place.did(done))
        following = rows[np.argsort(done.start_ns[rows], kind="stable")[:1]]
        bounds = np.full(len(following), low), np.full(len(following), first)
        cause = idle.idle_causes(done, *bounds, following)
        found = idle_parts(done, cause, done.call[following], bounds[1] - bounds[0]) + FIRST_CAUSE
        start.append(low)
        end.append(first)
        # Of a device whose number no report should hold nothing is found to follow.
        part.append(int(np.append(found, PARTS.index("unknown"))[0]))
    if last < high:
        calls = done.calls
        waits = calls.synchronise & (process_of(calls.thread) == place.process)
        cover = IntervalUnion.of(calls.start_ns[waits], calls.end_ns[waits])
        waited = int(cover.within(np.array([last]), np.array([high]))[0])
        start.append(last)
        end.append(high)
        name = "synchronisation" if 2 * waited >= high - last else "host_busy"
        part.append(PARTS.index(name))
    return np.array(start, np.int64), np.array(end, np.int64), np.array(part, np.int64)
