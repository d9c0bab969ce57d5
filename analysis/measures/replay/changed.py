"""The lags of a changed run: what a `Change` makes of those that were recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.replay.host_chain import NOTHING
from analysis.measures.replay.lags import NEVER, Lags
from analysis.measures.replay.scope import Scope, scope, scope_of_ranges

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.replay.change import Change
    from analysis.measures.replay.recorded_run import RecordedRun

NO_WAIT_NS: Final = NEVER // 4
"""A tail with which a wait never holds anything up."""


@dataclass(frozen=True)
class HostTime:
    """The host's time inside some ranges.

    Attributes:
        inside: ``(K,)`` which calls of the chain lie in them, or start work of theirs.
        gap_ns: ``(K,)`` how much of the time before each call does.
    """

    inside: Bools
    gap_ns: Int64


def changed_lags(run: RecordedRun, attribution: Attribution, change: Change, lags: Lags) -> Lags:
    """Return the lags of a run after a change.

    Args:
        run: as it was recorded.
        attribution: its work beside its ranges, warm-up too.
        change: what is changed; that collectives overlap is for `with_overlap`.
        lags: those that it changes.

    Raises:
        ReportError: there is nothing of a name.
    """
    for name, factor in change.scale.items():
        found = scope(attribution, name)
        if found.work.any() or found.ranges is None:
            work = np.where(found.work, factor, 1.0)
            lags = replace(lags, took_ns=scaled(lags.took_ns, work))
        else:
            host = host_time(run, attribution, found)
            lags = host_scaled_inside(lags, host, factor)
    for name in change.graph:
        lags = launched_at_once(run, attribution, scope_of_ranges(attribution, name), lags)
    for name in change.remove:
        lags = removed(run, attribution, scope_of_ranges(attribution, name), lags)
    return host_scaled(run, lags, change.host)


def scaled(times_ns: Int64, factor: Float64 | float) -> Int64:
    """Return times by a factor, in whole nanoseconds."""
    result: Int64 = np.rint(times_ns * factor).astype(np.int64)
    return result


def host_scaled(run: RecordedRun, lags: Lags, factor: float) -> Lags:
    """Return lags with the host's time between and in its calls by a factor.

    A launch reaches its device at the end of its call, or some of the call's time earlier; a copy
    that its call waits for begins when the host has prepared it. That part of the lag is its.
    """
    if factor == 1:
        return lags
    own = run.waits.own[run.waits.own != NONE]
    of_host = np.minimum(lags.lag_ns, 0)
    of_host[own] = lags.lag_ns[own]
    return replace(
        lags,
        gap_ns=scaled(lags.gap_ns, factor),
        host_ns=scaled(lags.host_ns, factor),
        lag_ns=lags.lag_ns - of_host + scaled(of_host, factor),
    )


def host_scaled_inside(lags: Lags, host: HostTime, factor: float) -> Lags:
    """Return lags with the host's time inside some ranges by a factor."""
    gap = np.minimum(host.gap_ns, lags.gap_ns)
    return replace(
        lags,
        gap_ns=lags.gap_ns - gap + scaled(gap, factor),
        host_ns=np.where(host.inside, scaled(lags.host_ns, factor), lags.host_ns),
    )


def removed(run: RecordedRun, attribution: Attribution, found: Scope, lags: Lags) -> Lags:
    """Return lags of a run without some ranges: their work, calls and waits take no time."""
    host = host_time(run, attribution, found)
    gone = found.work
    lags = host_scaled_inside(lags, host, 0.0)
    return replace(
        lags,
        tail_ns=np.where(host.inside[run.waits.node], NO_WAIT_NS, lags.tail_ns),
        queue_ns=np.where(host.inside, NO_WAIT_NS, lags.queue_ns),
        lag_ns=np.where(gone, np.minimum(lags.lag_ns, 0), lags.lag_ns),
        follow_ns=np.where(gone, np.minimum(lags.follow_ns, 0), lags.follow_ns),
        edge_ns=np.where(gone[run.order.edge_to], np.minimum(lags.edge_ns, 0), lags.edge_ns),
        late_ns=np.where(gone, 0, lags.late_ns),
        took_ns=np.where(gone, 0, lags.took_ns),
    )


def launched_at_once(run: RecordedRun, attribution: Attribution, found: Scope, lags: Lags) -> Lags:
    """Return lags of a run in which the first launch of each range's work launches all of it.

    What the host did in the range from then on is left out, but for its waits.
    """
    assert found.ranges is not None, "a scope of ranges has ranges"
    chain, ranges = run.chain, attribution.ranges.take(found.ranges)
    host = host_time(run, attribution, found)
    launching = np.zeros(len(chain), np.bool_)
    launching[run.order.node[run.order.node != NONE]] = True
    inside = host.inside & launching & (run.waits.own == NONE)
    # Each call belongs to the last range that began before it in its process.
    instance = np.full(len(chain), NONE, np.int64)
    for process in np.unique(ranges.process).tolist():
        begun = np.sort(ranges.start_ns[ranges.process == process])
        rows = np.flatnonzero(inside & (chain.process == process))
        instance[rows] = np.searchsorted(begun, chain.start_ns[rows], side="right")
    rows = np.flatnonzero(inside)
    key = np.stack([chain.process[rows], instance[rows]])
    _, first = np.unique(key, axis=1, return_index=True)
    heads = np.zeros(len(chain), np.bool_)
    heads[rows[first]] = True
    follows = inside & ~heads
    gap = np.where(heads, 0, np.minimum(host.gap_ns, lags.gap_ns))
    waits = chain.waits != NOTHING
    return replace(
        lags,
        gap_ns=lags.gap_ns - gap,
        host_ns=np.where(follows & ~waits, 0, lags.host_ns),
        queue_ns=np.where(follows, NO_WAIT_NS, lags.queue_ns),
    )


def host_time(run: RecordedRun, attribution: Attribution, found: Scope) -> HostTime:
    """Return the host's time inside some ranges, and inside those of threads that work for them."""
    chain, order = run.chain, run.order
    assert found.ranges is not None, "a scope of ranges has ranges"
    ranges = attribution.ranges.take(found.ranges & ~attribution.ranges.elsewhere)
    inside, covered = np.zeros((2, len(chain)), np.bool_)
    inside[order.node[found.work & (order.node != NONE)]] = True
    gap = np.zeros(len(chain), np.int64)
    for thread in np.unique(chain.thread).tolist():
        rows = np.flatnonzero(chain.thread == thread)
        mine = ranges.thread == thread
        if not mine.any() and inside[rows].any():  # it works for a range of another thread
            mine = ranges.process == chain.process[rows[0]]
        cover = IntervalUnion.of(ranges.start_ns[mine], ranges.end_ns[mine])
        if not len(cover):
            continue
        start, end = chain.start_ns[rows], chain.end_ns[rows]
        took = cover.within(start, end)
        covered[rows] = (took >= end - start) & cover.contains(start) & (end > start)
        gap[rows] = cover.within(chain.from_ns[rows], start)
    # Backward work that comes from a forward range may have no range around it: between two of its
    # launches that follow on one another the time is its own.
    alone = inside & ~covered
    between = np.flatnonzero(alone & (chain.before != NONE) & ~chain.taken_over)
    between = between[alone[chain.before[between]]]
    gap[between] = chain.gap_ns[between]
    return HostTime(inside | covered, gap)
