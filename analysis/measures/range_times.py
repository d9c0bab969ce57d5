"""What each range launched: operations, their span, busy and summed time, and whose own it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Slices, contained, innermost
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.arithmetic.union import covered_by_group
from analysis.attribution.launches import Launches, range_intervals
from analysis.attribution.origin import origin
from analysis.costs.lost_time import lost_times
from analysis.costs.range_costs import range_costs
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected

PAIRS_AT_ONCE: Final = 1_000_000
"""How many pairs of range and operation are held in memory together."""


@dataclass(frozen=True)
class Operations:
    """All operations of a GPU (on a CPU: operators) by thread and time of their launch.

    Attributes:
        launch: ``(N,)`` threads and times of the calls.
        start_ns: ``(N,)`` on the device.
        end_ns: ``(N,)`` on the device.
        kernel_ns: ``(N,)`` what counts as kernel time; none of a copy.
        new_call: ``(N,)`` whether its call is another than the one before: several kernels may
            come from one launch.
        row: ``(N,)`` its position among all device work.
    """

    launch: Launches
    start_ns: Int64
    end_ns: Int64
    kernel_ns: Int64
    new_call: Bools
    row: Int64


@dataclass(frozen=True)
class RangeTimes:
    """The times of each range's operations, in the order of the ranges; 0 without operations.

    ``first_ns`` is where the span on the device begins; ``lost_ns`` is of the operations with an
    ideal time, which are ``modelled`` many; ``flops`` is MISSING where not known, and
    ``backward_ns`` everywhere where no work of the report has an origin.
    """

    gpu_ops: Int64
    first_ns: Int64
    span_ns: Int64
    busy_ns: Int64
    kernel_ns: Int64
    self_ns: Int64
    lost_ns: Int64
    modelled: Int64
    flops: Int64
    backward_ns: Int64


def operations(chosen: Selected) -> Operations:
    """Return all operations that count and have a known launch, in the order of their launches."""
    attribution = chosen.attribution
    launches, work = attribution.all_launches, attribution.work
    if work.calls is not None:
        start, end, correlation = work.calls.start_ns, work.calls.end_ns, np.arange(len(work))
    else:
        done = attribution.device
        start, end, correlation = done.start_ns, done.end_ns, done.correlation
    kernel_ns = np.append(work.duration_ns, np.zeros(len(launches) - len(work), np.int64))
    rows = np.flatnonzero(launches.known & chosen.all_work)
    launch = launches.take(rows)
    order = np.lexsort((start[rows], correlation[rows], launch.start_ns, launch.thread))
    rows, launch = rows[order], launch.take(order)
    thread, number = launch.thread, correlation[rows]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (thread[1:] != thread[:-1]) | (number[1:] != number[:-1])
    return Operations(
        launch=launch,
        start_ns=start[rows],
        end_ns=end[rows],
        kernel_ns=kernel_ns[rows],
        new_call=fresh,
        row=rows,
    )


def range_times(chosen: Selected) -> RangeTimes:
    """Return the times of each range's operations, by the rule of NVIDIA's nvtx_gpu_proj_sum.

    Args:
        chosen: the work that counts. All ranges have an entry.
    """
    ranges = chosen.attribution.ranges
    # First: they take much memory for a while.
    flops, backward_ns = range_costs(chosen).flops, backward_times(chosen)
    done = operations(chosen)
    around, launched = range_intervals(ranges), done.launch
    slices = contained(around, launched)
    first, span = first_and_span(slices, done)
    own = innermost(around, launched)
    self_ns = sums(own[own != NONE], done.kernel_ns[own != NONE], len(ranges))
    del own
    lost_ns, modelled = lost_by_range(chosen, slices, done.row)
    return RangeTimes(
        gpu_ops=slices.sums(done.new_call.astype(np.int64)),
        first_ns=first,
        span_ns=span,
        busy_ns=busy_times(slices, done),
        kernel_ns=slices.sums(done.kernel_ns),
        self_ns=self_ns,
        lost_ns=lost_ns,
        modelled=modelled,
        flops=flops,
        backward_ns=backward_ns,
    )


def range_spans(chosen: Selected) -> Int64:
    """Return the ``span_ns`` of `range_times` alone, ``(R,)``, in half of its time."""
    done = operations(chosen)
    return first_and_span(contained(range_intervals(chosen.attribution.ranges), done.launch), done)[
        1
    ]


def first_and_span(slices: Slices, done: Operations) -> tuple[Int64, Int64]:
    """Return when the first operation of each range began, and until the last ended: ``(R,)``."""
    first, span = np.zeros(slices.owners, np.int64), np.zeros(slices.owners, np.int64)
    holders = slices.holders()
    first[holders] = slices.least(done.start_ns)
    span[holders] = slices.most(done.end_ns) - first[holders]
    return first, span


def lost_by_range(chosen: Selected, slices: Slices, row: Int64) -> tuple[Int64, Int64]:
    """Return what the operations of each range lost, and of how many that is known, ``(R,)`` each.

    Args:
        chosen: the work that counts.
        slices: the operations in each range.
        row: ``(N,)`` the position of each operation among all device work; ranked work comes first.
    """
    lost = lost_times(chosen.attribution)
    known = ~np.isnan(lost)
    if not known.any():
        nothing = np.broadcast_to(np.int64(0), slices.owners)
        return nothing, nothing
    whole = np.append(np.where(known, lost, 0).astype(np.int64), 0)
    ranked = np.minimum(row, len(lost))
    return slices.sums(whole[ranked]), slices.sums(np.append(known, False)[ranked].astype(np.int64))


def busy_times(slices: Slices, done: Operations) -> Int64:
    """Return how long the operations of each range kept the device busy, ``(R,)``.

    Where the operations of a slice do not overlap, as on a single stream, it is their sum. Only
    the rest is looked at pair by pair, some millions of pairs at a time.
    """
    duration = done.end_ns - done.start_ns
    result = slices.sums(duration)
    if not len(slices.owner):
        return result
    crowded = np.zeros(len(duration) + 1, np.int64)
    crowded[2:] = np.cumsum(done.start_ns[1:] < np.maximum.accumulate(done.end_ns)[:-1])
    per_slice = crowded[slices.high] - crowded[np.minimum(slices.low + 1, slices.high)]
    several = np.bincount(slices.owner, minlength=slices.owners) > 1
    overlapping = several.copy()
    overlapping[slices.owner[per_slice > 0]] = True
    chosen = np.flatnonzero(overlapping[slices.owner])
    sizes = np.cumsum(slices.high[chosen] - slices.low[chosen])
    group = sizes // PAIRS_AT_ONCE
    # All slices of one range must be in one group.
    owner = slices.owner[chosen]
    group = np.maximum.accumulate(group[np.searchsorted(owner, owner, side="left")])
    for number in np.unique(group):
        part = chosen[group == number]
        some = Slices(slices.owner[part], slices.low[part], slices.high[part], slices.owners)
        owner, operation = some.pairs()
        start, end = done.start_ns[operation], done.end_ns[operation]
        covered = covered_by_group(owner, start, end, slices.owners)
        result[slices.owner[part]] = covered[slices.owner[part]]
    return result


def backward_times(chosen: Selected) -> Int64:
    """Return the time of the backward pass that each range's work brought about, ``(R,)``."""
    attribution = chosen.attribution
    place = origin(attribution).creator
    known = np.flatnonzero(place.known)
    if not len(known):
        return np.broadcast_to(np.int64(tables.MISSING), len(attribution.ranges))
    order = known[np.lexsort((place.start_ns[known], place.thread[known]))]
    time = np.where(chosen.work, attribution.work.duration_ns, 0)
    return contained(range_intervals(attribution.ranges), place.take(order)).sums(time[order])
