"""What a time line shows of a report: its tables, what serves what, and why devices were idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.containment import innermost
from analysis.arithmetic.intervals import NONE
from analysis.attribution.launches import Launches, range_intervals
from analysis.attribution.origin import origin
from analysis.attribution.work_phases import phase_ranges, ranges_around
from analysis.measures.idle import CAUSES, idle_gaps
from analysis.recorded.cuda_calls import cuda_calls
from analysis.recorded.device_work import device_work
from analysis.recorded.operators import cpu_operators, has_operators
from analysis.source.tables import thread_names

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.attribution.launches import Attribution
    from analysis.measures.idle import IdleGaps
    from analysis.recorded.cuda_calls import CudaCalls
    from analysis.recorded.device_work import DeviceWork
    from analysis.recorded.operators import Operators
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report


@dataclass(frozen=True)
class Happened:
    """What a report holds, as tables in memory; what it has none of is empty or None.

    Attributes:
        work: of devices.
        calls: of the host to CUDA.
        ranges: those that are inferred among them.
        drawn_under: ``(R,)`` the range of another thread that each range serves (autograd's the
            `backward` of the thread that waits), a position among them, or `NONE`.
        operators: of a CPU.
        idle: ``(M,)`` of each piece of device work why its device had been idle right before, one
            more than a position in ``causes``; 0 where it had not.
        origin: ``(M,)`` the forward range whose backward pass each piece of device work is, a
            position among them, or `NONE`.
        causes: of idle time, in words.
        threads: names of threads by global id.
    """

    work: DeviceWork
    calls: CudaCalls
    ranges: Ranges
    drawn_under: Int64
    operators: Operators | None
    idle: Int64
    origin: Int64
    causes: Sequence[str]
    threads: Mapping[int, str]


def happened(report: Report, attribution: Attribution) -> Happened:
    """Return all that happened in a report, whatever counts of it."""
    return Happened(
        work=device_work(report),
        calls=cuda_calls(report),
        ranges=attribution.ranges,
        drawn_under=ranges_served(attribution),
        operators=cpu_operators(report) if has_operators(report) else None,
        idle=idle_before(idle_gaps(report)),
        origin=forward_ranges(attribution, len(device_work(report))),
        causes=CAUSES,
        threads=dict(thread_names(report)),
    )


def idle_before(gaps: IdleGaps) -> Int64:
    """Return ``(M,)`` the cause of the idle time that ended with each piece of device work.

    It is one more than a position in `CAUSES`, 0 where there was none. Where the profiler's own
    overhead parts two gaps, the second counts.
    """
    done = gaps.done
    result = np.zeros(len(done), np.int64)
    for number, place in enumerate(gaps.places):
        rows = np.flatnonzero(place.did(done))
        if not len(rows):  # of a device whose number no report should hold
            continue
        rows = rows[np.argsort(done.start_ns[rows], kind="stable")]
        mine = gaps.place == number
        following = rows[np.searchsorted(done.start_ns[rows], gaps.end_ns[mine], side="left")]
        result[following] = gaps.cause[mine] + 1
    return result


def forward_ranges(attribution: Attribution, count: int) -> Int64:
    """Return ``(M,)`` the innermost forward range that work is the backward of, or `NONE`."""
    result = np.full(count, NONE, np.int64)
    if attribution.work.calls is None and len(attribution.work):
        intervals = range_intervals(attribution.ranges)
        result[: len(attribution.work)] = innermost(intervals, origin(attribution).creator)
    return result


def ranges_served(attribution: Attribution) -> Int64:
    """Return ``(R,)`` the phase on another thread that each range is drawn under, or `NONE`.

    It is sought as for work (*caller*): where the range's own thread has no phase open.
    """
    ranges = attribution.ranges
    taken, _ = phase_ranges(attribution, warmup_counts=True)
    chosen = np.flatnonzero(taken)
    result = np.full(len(ranges), NONE, np.int64)
    if not len(chosen) or len(np.unique(ranges.thread)) == len(np.unique(ranges.process)):
        return result
    opened = Launches(ranges.thread, ranges.start_ns, ranges.end_ns)
    place, by_caller = ranges_around(opened, ranges.take(taken))
    rows, phase = np.flatnonzero(by_caller), chosen[place[by_caller]]
    # A step begins together with its first phase, and is around it.
    others = ranges.thread[rows] != ranges.thread[phase]
    result[rows[others]] = phase[others]
    return result
