"""An edit of a run: which work, calls and time of the host take another time, by which factor.

A `Change` is in a user's words; what it comes to in a report are edits (see
`analysis.measures.predictions.edits`), and so is what advice would cure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.replay.lags import NEVER, Lags

if TYPE_CHECKING:
    from analysis.measures.replay.recorded_run import RecordedRun

NO_WAIT_NS: Final = NEVER // 4
"""A tail with which a wait never holds anything up."""


@dataclass(frozen=True)
class Stretches:
    """Stretches of the time of threads; those of one thread may overlap, and count once.

    Attributes:
        thread: ``(I,)`` global thread id.
        start_ns: ``(I,)``.
        end_ns: ``(I,)``.
    """

    thread: Int64
    start_ns: Int64
    end_ns: Int64

    def of_thread(self, *threads: int) -> IntervalUnion:
        """Return the stretches of one thread, or of any of several."""
        mine = np.isin(self.thread, threads)
        return IntervalUnion.of(self.start_ns[mine], self.end_ns[mine])


@dataclass(frozen=True)
class Edit:
    """What is changed of a run; what is None stays as it was.

    Attributes:
        work: ``(M,)`` the factor of the time that device work (on a CPU, operators) runs.
        gone: ``(M,)`` which work is left out.
        stretches: the host's time between calls that is changed, and also on a CPU the operators in
            it.
        by: its factor.
        calls: ``(C,)`` the factor of the host's time in CUDA calls.
        unwaited: ``(C,)`` which calls wait for nothing any more.
        unqueued: ``(C,)`` which launches need no room of their own in a queue.
        unheld: ``(M,)`` which work follows on no work of another stream any more.
        host: the factor of all of the host's time.
        apart: ``(M,)`` which work runs beside what follows it.
        until: ``(M,)`` which work follows on all work that runs beside.
    """

    work: Float64 | None = None
    gone: Bools | None = None
    stretches: Stretches | None = None
    by: float = 0.0
    calls: Float64 | None = None
    unwaited: Bools | None = None
    unqueued: Bools | None = None
    unheld: Bools | None = None
    host: float = 1.0
    apart: Bools | None = None
    until: Bools | None = None


def scaled(times_ns: Int64, factor: Float64 | float) -> Int64:
    """Return times by a factor, in whole nanoseconds."""
    result: Int64 = np.rint(times_ns * factor).astype(np.int64)
    return result


def edited_lags(run: RecordedRun, lags: Lags, edit: Edit) -> Lags:
    """Return the lags of a run after an edit; that work runs beside is not for lags to say."""
    call, node = run.chain.call, run.order.node
    if edit.work is not None:
        lags = replace(lags, took_ns=scaled(lags.took_ns, edit.work[run.rows]))
    if edit.gone is not None:
        lags = without_work(run, lags, edit.gone[run.rows])
    if edit.stretches is not None:
        gap = np.minimum(gap_inside(run, edit.stretches), lags.gap_ns)
        lags = replace(lags, gap_ns=lags.gap_ns - gap + scaled(gap, edit.by))
    if edit.calls is not None:
        factor = np.where(call == NONE, 1.0, edit.calls[call])
        early = begun_early_ns(run, lags)
        lags = replace(lags, host_ns=scaled(lags.host_ns, factor))
        # The part of a launch's call before which its work had begun goes with the call.
        launched = np.where(node == NONE, 1.0, factor[node]) if len(factor) else np.ones(len(node))
        lags = replace(lags, lag_ns=lags.lag_ns - early + scaled(early, launched))
    if edit.unwaited is not None:
        free = (call != NONE) & edit.unwaited[call]
        own = run.waits.own[free]
        lag = lags.lag_ns.copy()
        # What is not waited for is not staged by the call either: it is launched as others are.
        lag[own[own != NONE]] = np.minimum(lag[own[own != NONE]], 0)
        tail = np.where(free[run.waits.node], NO_WAIT_NS, lags.tail_ns)
        lags = replace(lags, tail_ns=tail, lag_ns=lag)
    if edit.unqueued is not None:
        free = (call != NONE) & edit.unqueued[call]
        lags = replace(lags, queue_ns=np.where(free, NO_WAIT_NS, lags.queue_ns))
    if edit.unheld is not None:
        free = edit.unheld[run.rows]
        edge = np.where(free[run.order.edge_to], NO_WAIT_NS, lags.edge_ns)
        lags = replace(lags, edge_ns=edge, late_ns=np.where(free, 0, lags.late_ns))
    return host_scaled(run, lags, edit.host)


def without_work(run: RecordedRun, lags: Lags, gone: Bools) -> Lags:
    """Return lags of a run in which some work, ``(M,)``, takes no time and waits for no launch."""
    return replace(
        lags,
        lag_ns=np.where(gone, np.minimum(lags.lag_ns, 0), lags.lag_ns),
        follow_ns=np.where(gone, np.minimum(lags.follow_ns, 0), lags.follow_ns),
        edge_ns=np.where(gone[run.order.edge_to], np.minimum(lags.edge_ns, 0), lags.edge_ns),
        late_ns=np.where(gone, 0, lags.late_ns),
        took_ns=np.where(gone, 0, lags.took_ns),
    )


def gap_inside(run: RecordedRun, stretches: Stretches) -> Int64:
    """Return ``(K,)`` how much of the host's time before each call lies in stretches.

    Until a thread takes over from another one, the time may be either's.
    """
    chain = run.chain
    inside = np.zeros(len(chain), np.int64)
    for thread in np.unique(stretches.thread).tolist():
        rows = np.flatnonzero(chain.thread == thread)
        cover = stretches.of_thread(thread)
        inside[rows] = cover.within(chain.from_ns[rows], chain.start_ns[rows])
    over = np.flatnonzero(chain.taken_over)
    pairs = np.stack([chain.thread[over], chain.thread[chain.before[over]]])
    for thread, other in np.unique(pairs, axis=1).T.tolist():
        rows = over[(pairs[0] == thread) & (pairs[1] == other)]
        cover = stretches.of_thread(thread, other)
        inside[rows] = cover.within(chain.from_ns[rows], chain.start_ns[rows])
    return inside


def host_scaled(run: RecordedRun, lags: Lags, factor: float) -> Lags:
    """Return lags with the host's time between and in its calls by a factor.

    A launch reaches its device at the end of its call, or some of the call's time earlier; a copy
    that its call waits for begins when the host has prepared it. That part of the lag is its.
    """
    if factor == 1:
        return lags
    own = run.waits.own[run.waits.own != NONE]
    of_host = begun_early_ns(run, lags)
    of_host[own] = lags.lag_ns[own].clip(0)
    return replace(
        lags,
        gap_ns=scaled(lags.gap_ns, factor),
        host_ns=scaled(lags.host_ns, factor),
        lag_ns=lags.lag_ns - of_host + scaled(of_host, factor),
    )


def begun_early_ns(run: RecordedRun, lags: Lags) -> Int64:
    """Return ``(M,)`` how long before its launch's return work began, inside the call; negative.

    Work that begins before its call does is a matter of clocks, not of the host.
    """
    node = run.order.node
    if not len(run.chain):
        return np.zeros(len(node), np.int64)
    host = np.where((node == NONE) | run.waits.waiting[node], 0, lags.host_ns[node])
    early: Int64 = np.maximum(np.minimum(lags.lag_ns, 0), -host)
    return early
