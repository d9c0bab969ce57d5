"""When a GPU was idle, and why: the gaps between what it did, per process and device.

Busy is the union of kernels, graph replays, copies and sets, and what the profiler took where
NVIDIA's expert rule ``gpu_gaps`` counts it as busy. Graph replays that rule does not know, and it
knows only three names of the profiler's overhead; later exporters name the flushes more closely
(``CUDA profiling data flush on cudaProfilerStop``), and all of them count here. Overhead that
reaches beyond the first or last work is cut there, where the rule drops it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, distinct, innermost_of_any
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.arithmetic.union import IntervalUnion
from analysis.recorded.device_work import COPY as COPIED
from analysis.recorded.device_work import DeviceWork, device_work
from analysis.source import device_tables, tables

if TYPE_CHECKING:
    from analysis.recorded.cuda_calls import CudaCalls
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

CAUSES: Final = ("host", "copy", "synchronisation", "launch_latency", "unknown", "stream_wait")
"""Why a GPU was idle; unknown where the launch of what followed was not recorded."""

HOST, COPY, SYNCHRONISATION, LAUNCH_LATENCY, UNKNOWN, STREAM_WAIT = range(len(CAUSES))

SLOW_CALL_NS: Final = 100_000
"""Ten times what a launch takes; one that takes longer mostly loads the kernel's module first."""

RESUME_NS: Final = 1_000_000
"""Within this a training loop launches again after it has waited; later, it did something else."""


DEVICE_BITS: Final = 32
"""For the device, shifted by one as it may be -1, of a number that holds the process too."""

OVERHEAD: Final = re.compile(r"CUDA profiling (?:overhead|stop overhead|data flush\b.*)$")


@dataclass(frozen=True)
class DeviceActivity:
    """When one device was busy for one process.

    Attributes:
        process: process id.
        device: CUDA ordinal.
        busy: when it was not idle.
        overhead_ns: how much of that was only the profiler.
    """

    process: int
    device: int
    busy: IntervalUnion
    overhead_ns: int

    @property
    def idle_ns(self) -> int:
        """The time that the device was idle between its first and its last work."""
        return self.busy.span_ns - self.busy.busy_ns

    def did(self, done: DeviceWork) -> Bools:
        """Return ``(M,)`` which device work this device did for this process."""
        rows: Bools = (done.process == self.process) & (done.device == self.device)
        return rows


@dataclass(frozen=True)
class IdleGaps:
    """The gaps of a report in which a GPU was idle, device by device, in order of time.

    Attributes:
        done: what the GPUs did.
        places: where they did it, by process and device.
        place: ``(G,)`` position in ``places``.
        start_ns: ``(G,)`` the end of what ran before.
        end_ns: ``(G,)`` the start of what ran next.
        cause: ``(G,)`` position in `CAUSES`.
        call: ``(G,)`` the call that started the work after the gap, or `NONE`.
    """

    done: DeviceWork
    places: list[DeviceActivity]
    place: Int64
    start_ns: Int64
    end_ns: Int64
    cause: Int64
    call: Int64

    def __len__(self) -> int:
        return len(self.place)

    @property
    def duration_ns(self) -> Int64:
        """``(G,)`` the length of each gap."""
        return self.end_ns - self.start_ns

    @property
    def process(self) -> Int64:
        """``(G,)`` the process of each gap."""
        return np.array([at.process for at in self.places], np.int64)[self.place]

    @property
    def device(self) -> Int64:
        """``(G,)`` the CUDA ordinal of each gap's device."""
        return np.array([at.device for at in self.places], np.int64)[self.place]

    def take(self, kept: Int64) -> IdleGaps:
        """Return the gaps at some positions."""
        fields = ("place", "start_ns", "end_ns", "cause", "call")
        return replace(self, **{field: getattr(self, field)[kept] for field in fields})

    def of_places(self, device: int | None, process: int | None) -> IdleGaps:
        """Return the gaps of one device or process; None stands for all."""
        kept = [
            number
            for number, at in enumerate(self.places)
            if (device is None or at.device == device)
            and (process is None or at.process == process)
        ]
        if len(kept) == len(self.places):
            return self
        renumbered = np.full(len(self.places), NONE, np.int64)
        renumbered[kept] = np.arange(len(kept))
        found = self.take(np.flatnonzero(renumbered[self.place] != NONE))
        places = [self.places[number] for number in kept]
        return replace(found, places=places, place=renumbered[found.place])

    def by_cause(self, kept: Bools | None = None) -> dict[str, int]:
        """Return the idle time of each cause, in ns, of all gaps or of those a mask keeps."""
        chosen = np.ones(len(self), np.bool_) if kept is None else kept
        time = sums(self.cause[chosen], self.duration_ns[chosen], len(CAUSES))
        return dict(zip(CAUSES, time.tolist(), strict=True))


def idle_gaps(report: Report) -> IdleGaps:
    """Return when and why the GPUs of a report were idle, found once; empty if none worked."""
    return report.once(_idle_times)


def _idle_times(report: Report) -> IdleGaps:
    done = device_work(report)
    overhead = profiler_overhead(report)
    place_of = done.process << DEVICE_BITS | done.device + 1
    places, parts = [], []
    for number, code in enumerate(distinct(place_of).tolist()):
        rows = np.flatnonzero(place_of == code)
        process, device = code >> DEVICE_BITS, (code & ((1 << DEVICE_BITS) - 1)) - 1
        place, (start, end, following) = gaps_of_device(done, rows, overhead, process, device)
        places.append(place)
        parts.append((np.full(len(start), number, np.int64), start, end, following))
    if not parts:
        none = np.empty(0, np.int64)
        return IdleGaps(done, places, none, none, none, none, none)
    at, start, end, following = (np.concatenate(column) for column in zip(*parts, strict=True))
    cause = idle_causes(done, start, end, following)
    return IdleGaps(done, places, at, start, end, cause, done.call[following])


def profiler_overhead(report: Report) -> tuple[Int64, Int64, Int64]:
    """Return when the profiler itself held up a process: starts, ends, process ids."""
    rows = device_tables.overhead(report)
    names, name = tables.named(report, rows["name_id"])
    counts = np.array([OVERHEAD.match(text) is not None for text in names], np.bool_)[name]
    process = process_of(rows["thread"])
    return rows["start_ns"][counts], rows["end_ns"][counts], process[counts]


def gaps_of_device(
    done: DeviceWork,
    rows: Int64,
    overhead: tuple[Int64, Int64, Int64],
    process: int,
    device: int,
) -> tuple[DeviceActivity, tuple[Int64, Int64, Int64]]:
    """Return when one device was busy for one process, and the gaps between.

    Args:
        done: what the GPUs did.
        rows: what this device did for this process; not empty.
        overhead: as `profiler_overhead` returns it.
        process: its id.
        device: its ordinal.

    Returns:
        The place, and ``(G,)`` starts, ends and work that followed (of several the first launched).
    """
    start, end = done.start_ns[rows], done.end_ns[rows]
    first, last = int(start.min()), int(end.max())
    taken = overhead[2] == process
    # An overhead on one thread holds up all devices of its process, as NVIDIA counts it.
    low, high = overhead[0][taken].clip(first, last), overhead[1][taken].clip(first, last)
    busy = IntervalUnion.of(np.append(start, low), np.append(end, high))
    begin, finish = busy.gaps
    launched = done.calls.start_ns[done.call[rows]] if len(done.calls) else start
    order = np.lexsort((launched, start))
    following = rows[order[np.searchsorted(start[order], finish, side="left")]]
    only = busy.busy_ns - IntervalUnion.of(start, end).busy_ns
    return DeviceActivity(process, device, busy, only), (begin, finish, following)


def idle_causes(done: DeviceWork, start_ns: Int64, end_ns: Int64, following: Int64) -> Int64:
    """Return the cause of each gap, ``(G,)``: what the host did meanwhile.

    The call that started the next work tells. Begun before the gap, it was in time, and the gap is
    `launch_latency`. Begun later, the host was late: for a `synchronisation` or a `copy` if it was
    in such a call for half of that time, or when the gap began and until `RESUME_NS` before the
    launch (it waited for the very work that had just ended, and could not launch ahead); else
    `host`. Where the call itself was open for half of the gap it was the cause: of a copy it fills
    a buffer, so `copy`; of anything else, if it took over `SLOW_CALL_NS`, `host`.

    Args:
        done: what the GPUs did.
        start_ns: ``(G,)``.
        end_ns: ``(G,)``.
        following: ``(G,)`` positions in the device work.

    Returns:
        ``(G,)`` positions in `CAUSES`.
    """
    call, calls = done.call[following], done.calls
    cause = np.full(len(call), UNKNOWN, np.int64)
    known = np.flatnonzero(call != NONE)
    call, start, end = call[known], start_ns[known], end_ns[known]
    begun, returned = calls.start_ns[call], calls.end_ns[call]
    late = begun > start
    cause[known[~late]] = LAUNCH_LATENCY
    process = done.process[following[known]]
    cause[known[late]] = late_causes(done, call[late], process[late], start[late])
    busy = 2 * (np.minimum(returned, end) - np.maximum(begun, start)) >= end - start
    copies = done.kind[following[known]] == COPIED
    cause[known[busy & (returned - begun > SLOW_CALL_NS)]] = HOST
    cause[known[busy & copies]] = COPY
    return cause


def late_causes(done: DeviceWork, call: Int64, process: Int64, start_ns: Int64) -> Int64:
    """Return what kept the host from a call that it began after the GPU had become idle.

    A copy of a few bytes to the host is a wait for the work before it, not a copy that takes time.
    What another thread of the process waited in counts too, if it was waiting when the gap began
    and was done before the call: autograd's thread launches after the main thread has waited.
    """
    calls = done.calls
    begun, thread = calls.start_ns[call], calls.thread[call]
    of_call = process_of(calls.thread)
    cause = np.full(len(call), HOST, np.int64)
    read_back = done.read_back
    waits = (calls.synchronise | read_back, done.blocking_copy & ~read_back)
    own = [time_waited(calls, wait, calls.thread, thread, start_ns, begun) for wait in waits]
    others = [
        time_waited(calls, wait, of_call, process, start_ns, begun, own=False) for wait in waits
    ]
    alone = (own[0] == 0) & (own[1] == 0)
    sync, copy = (np.where(alone, other, mine) for mine, other in zip(own, others, strict=True))
    cause[(sync > 0) & (sync >= copy)] = SYNCHRONISATION
    cause[copy > sync] = COPY
    return cause


def time_waited(
    calls: CudaCalls,
    chosen: Bools,
    place_of_call: Int64,
    place: Int64,
    start_ns: Int64,
    end_ns: Int64,
    *,
    own: bool = True,
) -> Int64:
    """Return how much of each window some CUDA calls took, 0 where they did not matter.

    Args:
        calls: all calls.
        chosen: ``(C,)`` those that wait.
        place_of_call: ``(C,)`` the thread, or the process, of each; ``place`` of each window.
        place: ``(G,)``.
        start_ns: ``(G,)``.
        end_ns: ``(G,)``.
        own: a call matters if it was open at the start and until `RESUME_NS` before the end, or for
            half of the window. Otherwise, if it was open at the start, until then, and no longer.
    """
    result = np.zeros(len(place), np.int64)
    for number in distinct(place):
        some = chosen & (place_of_call == number)
        rows = np.flatnonzero(place == number)
        begin, end = start_ns[rows], end_ns[rows]
        cover = IntervalUnion.of(calls.start_ns[some], calls.end_ns[some])
        inside, until = cover.within(begin, end), cover.until(begin)
        matters = (until > begin) & (end - until <= RESUME_NS)
        if own:
            matters |= 2 * inside >= end - begin
        else:
            matters &= until <= end
        result[rows] = np.where(matters, inside, 0)
    return result


def host_ranges(idle: IdleGaps, ranges: Ranges) -> list[str]:
    """Return the name of the innermost range the host was in during each gap, "" where in none.

    Where the host was late, that is halfway through its delay, else when it launched what came
    next; on the launching thread, and where that has no range open, on any of its process.
    """
    calls, known = idle.done.calls, idle.call != NONE
    instant = (idle.start_ns + idle.end_ns) // 2
    thread = np.full(len(idle), tables.MISSING, np.int64)
    if known.any():
        call = idle.call[known]
        begun = calls.start_ns[call]
        start = idle.start_ns[known]
        instant[known] = np.where(begun > start, (start + begun) // 2, begun)
        thread[known] = calls.thread[call]
    times = (ranges.start_ns, ranges.end_ns)
    found = innermost_of_any(Intervals(ranges.thread, *times), Intervals(thread, instant, instant))
    rest = np.flatnonzero(found == NONE)
    found[rest] = innermost_of_any(
        Intervals(ranges.process, *times),
        Intervals(idle.process[rest], instant[rest], instant[rest]),
    )
    inside = found != NONE
    code = np.full(len(found), len(ranges.names))
    code[inside] = ranges.name[found[inside]]
    return list(np.array([*ranges.names, ""], object)[code])
