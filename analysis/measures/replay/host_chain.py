"""The host's part of a replay: which CUDA call follows on which, thread by thread.

Only calls that start work, that can wait for work, or with which a thread takes over from another
one are kept; all others are part of the host's time between. Of calls inside one another (MPI and
cuBLAS wrap CUDA's; ``cudaLaunchKernel`` is recorded twice by some) the outermost counts. Instants
that a prediction asks for, such as the bounds of steps, stand in the chain as calls of no length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Clock, Intervals, distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.recorded.cuda_calls import without_version

if TYPE_CHECKING:
    from analysis.recorded.cuda_calls import CudaCalls
    from analysis.recorded.device_work import DeviceWork

HANDOVER_NS: Final = 50_000
"""A thread that made no call for that long, while another one did, took over from that one."""

WAITS: Final = (
    re.compile(r"(?!)"),
    re.compile(r"cu(?:da)?(?:Device|Thread|Ctx)Synchronize"),
    re.compile(r"cu(?:da)?StreamSynchronize"),
    re.compile(r"cu(?:da)?EventSynchronize"),
    re.compile(
        r"cu(?:da)?(?:Memcpy|Memset)(?!.*[Aa]sync)"
        r"|cuda(?:Free|FreeHost|FreeArray|FreeMipmappedArray)$|cuMemFree(?!Async)"
    ),
)
"""What a call waits for, by its name: `NOTHING`, a device, a stream, an event, a device or memory.

By name, because the kind that CUPTI records for it is not to be trusted. Frees and copies do not
always wait; whether one did is for the recorded times to say.
"""

NOTHING, DEVICE, STREAM, EVENT, MEMORY = range(len(WAITS))


@dataclass(frozen=True)
class HostChain:
    """The calls of all threads that matter to a replay, ``K`` of them, by start.

    Attributes:
        call: ``(K,)`` position among the CUDA calls, or `NONE` of an instant that was asked for.
        name: ``(K,)`` the position of the call's name, or `NONE`.
        thread: ``(K,)`` global thread id.
        process: ``(K,)`` process id.
        start_ns: ``(K,)``.
        end_ns: ``(K,)``.
        waits: ``(K,)`` what it can wait for, a position in `WAITS`.
        before: ``(K,)`` the call on whose end it follows, or `NONE` from ``origin_ns`` on.
        taken_over: ``(K,)`` whether that call is of another thread.
        of_call: ``(C,)`` where each CUDA call, or the one around it, stands here, or `NONE`.
        marks: ``(I,)`` where the instants that were asked for stand.
        origin_ns: when the chain begins.
    """

    call: Int64
    name: Int64
    thread: Int64
    process: Int64
    start_ns: Int64
    end_ns: Int64
    waits: Int64
    before: Int64
    taken_over: Bools
    of_call: Int64
    marks: Int64
    origin_ns: int

    def __len__(self) -> int:
        return len(self.call)

    @property
    def from_ns(self) -> Int64:
        """``(K,)`` when what a call follows on had ended, the origin where nothing is before."""
        if not len(self):
            return self.start_ns
        return np.where(self.before == NONE, self.origin_ns, self.end_ns[self.before])

    @property
    def gap_ns(self) -> Int64:
        """``(K,)`` the time of the host's own between what a call follows on and the call."""
        return self.start_ns - self.from_ns


def host_chain(
    done: DeviceWork, marks: tuple[Int64, Int64], until_ns: int | None = None
) -> HostChain:
    """Return the calls of a report that matter to a replay.

    Args:
        done: what the GPUs did.
        marks: ``(I,)`` threads and ``(I,)`` instants that are asked for.
        until_ns: calls that begin later are left out; None for none.
    """
    calls = done.calls
    outer = outermost_calls(calls)
    launching = np.zeros(len(calls), np.bool_)
    launching[outer[done.call[done.call != NONE]]] = True
    waits = np.zeros(len(calls), np.int64)
    for number, pattern in enumerate(WAITS):
        fits = np.array([bool(pattern.match(without_version(name))) for name in calls.names])
        if fits.any():
            waits[outer[fits[calls.name]]] = number
    is_outer = np.zeros(len(calls), np.bool_)
    is_outer[outer] = True
    first = calls.start_ns[launching].min(initial=np.iinfo(np.int64).max)
    origin = int(min(first, marks[1].min(initial=first)))
    if origin == np.iinfo(np.int64).max:  # no launch was recorded
        origin = int(done.start_ns.min(initial=0))
    counts = is_outer & (calls.start_ns >= origin)
    if until_ns is not None:
        counts &= calls.start_ns <= until_ns
    rows = np.flatnonzero(counts)
    count = len(rows)
    thread = np.append(calls.thread[rows], marks[0])
    start = np.append(calls.start_ns[rows], marks[1])
    end = np.append(calls.end_ns[rows], marks[1])
    matters = np.append(
        launching[rows] | (waits[rows] != NOTHING), np.ones(len(marks[0]), np.bool_)
    )
    before, taken_over = followed(thread, start, end, matters)
    kept = np.flatnonzero(matters | taken_over)
    kept = kept[np.lexsort((end[kept], start[kept]))]
    place = np.full(len(thread), NONE, np.int64)
    place[kept] = np.arange(len(kept))
    own = last_on_thread(thread[kept], start[kept], end[kept])
    taken_over = taken_over[kept]
    follows = np.where(taken_over, place[before[kept]], own)
    # Of two that begin and end at once either could be said to be first.
    follows[follows >= np.arange(len(kept))] = NONE
    of_row = np.full(len(calls), NONE, np.int64)
    of_row[rows] = place[:count]
    position = np.append(rows, np.full(len(marks[0]), NONE, np.int64))[kept]
    known = position != NONE
    named, waiting = np.full(len(kept), NONE, np.int64), np.zeros(len(kept), np.int64)
    named[known], waiting[known] = calls.name[position[known]], waits[position[known]]
    return HostChain(
        call=position,
        name=named,
        thread=thread[kept],
        process=process_of(thread[kept]),
        start_ns=start[kept],
        end_ns=end[kept],
        waits=waiting,
        before=follows,
        taken_over=taken_over & (follows != NONE),
        of_call=of_row[outer] if len(calls) else of_row,
        marks=place[count:],
        origin_ns=origin,
    )


def outermost_calls(calls: CudaCalls) -> Int64:
    """Return for each call the outermost one of its thread that it lies in, ``(C,)``."""
    order = np.lexsort((-calls.end_ns, calls.start_ns, calls.thread))
    outer = np.empty(len(order), np.int64)
    if not len(order):
        return outer
    thread, start, end = calls.thread[order], calls.start_ns[order], calls.end_ns[order]
    # One thread after another on one line of time, so that one running maximum serves them all.
    rank = np.cumsum(np.append(0, thread[1:] != thread[:-1]))
    shift = rank * int(end.max() - start.min() + 2) - int(start.min())
    reach = np.maximum.accumulate(end + shift)
    first = np.append(True, (start + shift)[1:] >= reach[:-1])
    outer[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return outer


def last_on_thread(thread: Int64, start_ns: Int64, end_ns: Int64) -> Int64:
    """Return ``(N,)`` the position of the last that ended before each on its thread, or `NONE`.

    An instant that was asked for may lie inside a call: it follows on what was before that, and
    what is after it on the call.
    """
    order = np.lexsort((start_ns, end_ns, thread))
    of_thread, start, end = thread[order], start_ns[order], end_ns[order]
    clock = Clock(Intervals(of_thread, start, end))
    ended, begun = clock(of_thread, end), clock(of_thread, start)
    place = np.minimum(np.searchsorted(ended, begun, side="right"), np.arange(len(order))) - 1
    same = (place >= 0) & (of_thread[place] == of_thread) if len(order) else place >= 0
    result = np.full(len(order), NONE, np.int64)
    result[order] = np.where(same, order[place], NONE) if len(order) else NONE
    return result


def followed(thread: Int64, start_ns: Int64, end_ns: Int64, matters: Bools) -> tuple[Int64, Bools]:
    """Return which calls take over from another thread of their process, and from which call.

    Args:
        thread: ``(N,)`` of outermost calls.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``.
        matters: ``(N,)`` which calls others can follow on: a thread that only asks, now and then,
            whether work is done hands nothing over.

    Returns:
        ``(N,)`` the last to end among the calls of other threads that lie between a call and the
        one before it on its own thread, and ``(N,)`` whether there is one and the time between is
        over `HANDOVER_NS`.
    """
    previous = last_on_thread(thread, start_ns, end_ns)
    known = previous != NONE
    ended = np.where(known, end_ns[previous], np.iinfo(np.int64).min)
    quiet = ~known | (start_ns - ended > HANDOVER_NS)
    found = np.full(len(thread), NONE, np.int64)
    process = process_of(thread)
    for one in distinct(process).tolist():
        of_it = process == one
        if len(distinct(thread[of_it])) < 2:
            continue
        source = np.flatnonzero(of_it & matters)
        source = source[np.argsort(end_ns[source], kind="stable")]
        rows = np.flatnonzero(of_it & quiet)
        # What takes no time would else be found to follow on itself.
        before = start_ns[rows] - (start_ns[rows] == end_ns[rows])
        last = np.searchsorted(end_ns[source], before, side="right") - 1
        place = source[last.clip(0)] if len(source) else last
        good = (last >= 0) & (end_ns[place] > ended[rows]) & (thread[place] != thread[rows])
        found[rows[good]] = place[good]
    return found, found != NONE
