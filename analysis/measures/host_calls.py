"""Which CUDA call the host was in while a GPU was idle, and for how long it loaded kernels.

Looked at is the thread that launched what ended the gap; where that was outside of all calls for
longer than in any, or is not known, the other threads that give this device work.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64, coded
from analysis.arithmetic.containment import Intervals, distinct, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.idle import DEVICE_BITS, SLOW_CALL_NS
from analysis.recorded.cuda_calls import without_version
from analysis.recorded.device_work import KERNEL
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.measures.idle import DeviceActivity, IdleGaps
    from analysis.recorded.device_work import DeviceWork

LOADS: Final = re.compile(
    r"cu(?:da)?(?:Library|Module)(?:Load|Get(?:Function|Kernel|Module))|cu(?:Link|FuncLoad)"
)
"""Calls that load kernels, or ask for one, which loads it where that is left to its first use."""


def host_calls(gaps: IdleGaps) -> list[str]:
    """Return the name of the call that the host was in for longest during each gap, ``(G,)``.

    It is "" where the host was outside of all calls for longer than in those of any one name.
    """
    calls = gaps.done.calls
    # The versions of a call are one name: a call may be recorded under both, one inside the other.
    names, kinds = coded(without_version(name) for name in (calls.names if len(calls) else ()))
    kind = kinds[calls.name] if len(calls) else kinds
    launching = launching_threads(gaps)
    times = Intervals(calls.thread, calls.start_ns, calls.end_ns)
    name, spent = longest_calls(times, kind, Intervals(launching, gaps.start_ns, gaps.end_ns))
    for number, place in enumerate(gaps.places):
        rows = np.flatnonzero((gaps.place == number) & (name == NONE))
        for thread in distinct(feeding_threads(gaps.done, place)).tolist() if len(rows) else ():
            some = rows[launching[rows] != thread]
            windows = Intervals(np.full(len(some), thread), gaps.start_ns[some], gaps.end_ns[some])
            found = longest_calls(times, kind, windows)
            longer = found[1] > spent[some]
            name[some[longer]], spent[some[longer]] = found[0][longer], found[1][longer]
    return list(np.array([*names, ""], object)[name])


def launching_threads(gaps: IdleGaps) -> Int64:
    """Return ``(G,)`` the thread that launched what ended each gap, or `tables.MISSING`."""
    thread = np.full(len(gaps), tables.MISSING, np.int64)
    known = gaps.call != NONE
    thread[known] = gaps.done.calls.thread[gaps.call[known]]
    return thread


def feeding_threads(done: DeviceWork, place: DeviceActivity) -> Int64:
    """Return the threads that gave a device its work, one for each piece whose launch is known."""
    started = done.call[place.did(done)]
    threads: Int64 = done.calls.thread[started[started != NONE]]
    return threads


def longest_calls(calls: Intervals, kind: Int64, gaps: Intervals) -> tuple[Int64, Int64]:
    """Return which kind of call took the longest part of each window on its thread.

    Args:
        calls: all calls; of those that nest the innermost counts.
        kind: ``(C,)`` of each call.
        gaps: ``G`` windows, each with the thread that is looked at.

    Returns:
        ``(G,)`` kinds, `NONE` where the thread was outside of all calls for longer; and ``(G,)``
        for how long the thread was in calls of that kind, else 0.
    """
    result, spent = np.full(len(gaps), NONE, np.int64), np.zeros(len(gaps), np.int64)
    start_ns, end_ns = gaps.start_ns, gaps.end_ns
    for number in distinct(gaps.thread).tolist():
        rows, mine = np.flatnonzero(gaps.thread == number), np.flatnonzero(calls.thread == number)
        # Most calls lie in no gap, and need not be taken apart.
        idle = IntervalUnion.of(start_ns[rows], end_ns[rows])
        mine = mine[idle.within(calls.start_ns[mine], calls.end_ns[mine]) > 0]
        begin, finish, which = stretches(calls.start_ns[mine], calls.end_ns[mine])
        gap, at, took = shared_times(begin, finish, start_ns[rows], end_ns[rows])
        kinds = int(kind.max(initial=0)) + 1
        pair, group = np.unique(gap * kinds + kind[mine[which[at]]], return_inverse=True)
        time = sums(group, took, len(pair))
        outside = end_ns[rows] - start_ns[rows] - sums(gap, took, len(rows))
        # In this order the last of each gap is the kind with most time, the only one that stays.
        order = np.argsort(time, kind="stable")
        order = order[time[order] >= outside[pair[order] // kinds]]
        result[rows[pair[order] // kinds]] = pair[order] % kinds
        spent[rows[pair[order] // kinds]] = time[order]
    return result, spent


def stretches(start_ns: Int64, end_ns: Int64) -> tuple[Int64, Int64, Int64]:
    """Return the stretches in which a thread was in one and the same innermost call, in order.

    Args:
        start_ns: ``(C,)`` of the calls of one thread.
        end_ns: ``(C,)``.

    Returns:
        ``(S,)`` starts, ends, and positions of the calls.

    >>> [column.tolist() for column in stretches(np.array([0, 2]), np.array([9, 5]))]
    [[0, 2, 5], [2, 5, 9], [0, 1, 0]]
    """
    edges = np.unique(np.append(start_ns, end_ns))
    here = np.zeros(max(len(edges) - 1, 0), np.int64)
    call = innermost_of_any(
        Intervals(np.zeros(len(start_ns), np.int64), start_ns, end_ns),
        Intervals(here, edges[:-1], edges[1:]),
    )
    inside = np.flatnonzero(call != NONE)
    return edges[inside], edges[inside + 1], call[inside]


def shared_times(
    begin: Int64, finish: Int64, start_ns: Int64, end_ns: Int64
) -> tuple[Int64, Int64, Int64]:
    """Return each pair of a window and a stretch that share time.

    Args:
        begin: ``(S,)`` of stretches that do not overlap, ascending.
        finish: ``(S,)``.
        start_ns: ``(G,)`` of the windows.
        end_ns: ``(G,)``.

    Returns:
        ``(P,)`` windows, stretches, and how much time both share.
    """
    low = np.searchsorted(finish, start_ns, side="right")
    count = (np.searchsorted(begin, end_ns, side="left") - low).clip(0)
    window = np.repeat(np.arange(len(start_ns)), count)
    at = np.arange(len(window)) + np.repeat(low - np.cumsum(count) + count, count)
    return (
        window,
        at,
        np.minimum(finish[at], end_ns[window]) - np.maximum(begin[at], start_ns[window]),
    )


def loading_ns(gaps: IdleGaps) -> Int64:
    """Return ``(G,)`` for how long the launching thread loaded kernels in each gap."""
    calls, thread = gaps.done.calls, launching_threads(gaps)
    loads = loading_calls(gaps.done)
    result = np.zeros(len(gaps), np.int64)
    for number in distinct(calls.thread[loads]).tolist():
        mine = loads & (calls.thread == number)
        rows = np.flatnonzero(thread == number)
        cover = IntervalUnion.of(calls.start_ns[mine], calls.end_ns[mine])
        result[rows] = cover.within(gaps.start_ns[rows], gaps.end_ns[rows])
    return result


def loading_calls(done: DeviceWork) -> Bools:
    """Return ``(C,)`` which calls load kernels: by their names, or slow first launches of a kernel.

    CUDA loads a kernel when it is first launched on a device, unless it is told to load all at the
    start. A launch can be slow for other reasons, above all for a full queue; then no GPU is idle.
    """
    calls = done.calls
    if not len(calls):
        return np.empty(0, np.bool_)
    result = calls.like(LOADS)
    launched = np.flatnonzero((done.kind == KERNEL) & (done.call != NONE))
    call = done.call[launched]
    slow = calls.end_ns[call] - calls.start_ns[call] > SLOW_CALL_NS
    if slow.any():
        place = tables.compact(done.process[launched] << DEVICE_BITS | done.device[launched] + 1)[1]
        kernel = place * len(done.names) + done.name[launched]
        first = np.full(int(kernel.max()) + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, kernel, calls.start_ns[call])
        result[call[slow & (calls.start_ns[call] == first[kernel])]] = True
    return result
