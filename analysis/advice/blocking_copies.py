"""Copies that keep the host: for how long, which idle time is theirs, and what is not their own.

A call that copies at once first waits for the kernels before it, whoever's memory it is: that time
is a synchronisation's. The same goes for a few bytes, which take no time themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.advice.finding import gpus_in_window
from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.union import IntervalUnion
from analysis.measures import gpu_time_split, idle
from analysis.recorded.device_work import RANKED, SMALL_BYTES

if TYPE_CHECKING:
    from analysis.measures.window import MeasuredWindow


def copies_that_block(measured: MeasuredWindow) -> Bools:
    """Return ``(M,)`` which copies that were launched in the measured window kept the host."""
    done = measured.done
    return (done.pageable | done.synchronous) & measured.during(done.process, done.launch_ns)


def large(measured: MeasuredWindow) -> Bools:
    """Return ``(M,)`` which device work moves so much that how it does matters."""
    enough: Bools = measured.done.bytes > SMALL_BYTES
    return enough


def gaps_of(measured: MeasuredWindow, chosen: Bools) -> Bools:
    """Return ``(G,)`` in which idle gaps some copies, ``(M,)``, kept the host, and no others more.

    A gap for a copy is that of the copy in whose call its process was for longest meanwhile.
    """
    done, gaps = measured.done, measured.every_gap
    result = np.zeros(len(gaps), np.bool_)
    for_copies = measured.gaps & (gaps.cause == idle.COPY)
    for process in np.unique(gaps.process[for_copies]).tolist():
        rows = np.flatnonzero(for_copies & (gaps.process == process))
        theirs, others = np.zeros((2, len(done.calls)), np.bool_)
        mine = (done.process == process) & (done.call >= 0)
        theirs[done.call[mine & chosen]] = True
        others[done.call[mine & ~chosen]] = True
        others &= done.blocking_copy & ~theirs
        own, other = (
            IntervalUnion.of(done.calls.start_ns[some], done.calls.end_ns[some]).within(
                gaps.start_ns[rows], gaps.end_ns[rows]
            )
            for some in (theirs, others)
        )
        result[rows] = (own > 0) & (own >= other)
    return result


class Held(NamedTuple):
    """For how long the host was in the calls of some copies, all threads added up.

    Attributes:
        copying_ns: for the copies themselves.
        waiting_ns: until kernels were done that ran before a copy could begin.
    """

    copying_ns: int
    waiting_ns: int


def held(measured: MeasuredWindow, chosen: Bools) -> Held:
    """Return for how long some copies, ``(M,)``, kept the host."""
    done, calls = measured.done, measured.done.calls
    chosen = chosen & (done.call >= 0)
    waiting = 0
    for here, _ in gpus_in_window(measured):
        kernels = gpu_time_split.union_of_work(measured, here & (done.kind < RANKED))
        rows = np.flatnonzero(here & chosen)
        begun, returned = calls.start_ns[done.call[rows]], calls.end_ns[done.call[rows]]
        waiting += int(kernels.within(begun, np.minimum(done.start_ns[rows], returned)).sum())
    total = 0
    for thread in np.unique(calls.thread[done.call[chosen]]).tolist():
        call = done.call[chosen]
        mine = call[calls.thread[call] == thread]
        total += IntervalUnion.of(calls.start_ns[mine], calls.end_ns[mine]).busy_ns
    return Held(max(total - waiting, 0), min(waiting, total))
