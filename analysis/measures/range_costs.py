"""FLOPs and least bytes of every range: its own, or those of the ranges inside it.

A range has what lies inside it on its own thread. `step`, `warmup` and `backward` wait for
autograd's thread, so they have what lies inside them on any thread of their process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals, contained
from analysis.attribution import costs
from analysis.recorded.ranges import outermost
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selected import Selected

WAITING: Final = (names.STEP, names.WARMUP, names.BACKWARD)
"""Ranges on whose behalf another thread works: they have the work of all threads."""


@dataclass(frozen=True)
class RangeCosts:
    """The FLOPs and least bytes of each range, in the order of the report's ranges.

    Attributes:
        flops: ``(R,)``, or `tables.MISSING`.
        bytes: ``(R,)`` the least bytes likewise; missing as soon as those of one part are.
        unscaled: how many softmax ranges keep the FLOPs that were recorded.
    """

    flops: Int64
    bytes: Int64
    unscaled: int


def range_costs(chosen: Selected, softmax_flops: int = costs.SOFTMAX_FLOPS) -> RangeCosts:
    """Return the FLOPs and least bytes of each range: its own, else those of ranges inside it.

    Args:
        chosen: the part of a report that counts; what does not adds nothing to what is around it.
        softmax_flops: per element of a softmax, forward.
    """
    attribution = chosen.attribution
    ranges = attribution.ranges
    own, unscaled = costs.range_flops(attribution, softmax_flops)
    moved = costs.range_least_bytes(attribution)
    has = (own != tables.MISSING) & ~ranges.elsewhere
    # Of ranges with FLOPs inside one another the outermost tells all of them.
    outer = np.flatnonzero(has)[outermost(ranges.take(has))]
    outer = outer[chosen.ranges[outer]]
    flops, size = own.copy(), moved.copy()
    times = (ranges.start_ns, ranges.end_ns)
    for rows, place in rows_to_sum(attribution):
        lacks = rows[own[rows] == tables.MISSING]
        order = outer[np.lexsort((ranges.start_ns[outer], place[outer]))]
        slices = contained(
            Intervals(place, *times).take(lacks), Intervals(place, *times).take(order)
        )
        some = slices.counts() > 0
        flops[lacks[some]] = slices.sums(own[order])[some]
        unknown = slices.sums((moved[order] == tables.MISSING).astype(np.int64))
        whole = np.where(unknown > 0, tables.MISSING, slices.sums(moved[order]))
        size[lacks[some]] = whole[some]
    return RangeCosts(flops, size, unscaled)


def rows_to_sum(attribution: Attribution) -> list[tuple[Int64, Int64]]:
    """Return the ranges to sum by thread, and those by process: positions, and ``(R,)`` places."""
    ranges = attribution.ranges
    local, waits = ~ranges.elsewhere, ranges.where(lambda name: name in WAITING)
    return [
        (np.flatnonzero(local & ~waits), ranges.thread),
        (np.flatnonzero(local & waits), ranges.process),
    ]
