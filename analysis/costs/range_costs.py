"""FLOPs and least bytes of every range: its own, or those of the ranges inside it.

A range has what lies inside it on its own thread. `step`, `warmup` and `backward` wait for
autograd's thread, so they have what lies inside them on any thread of their process. A softmax that
is made of elementwise operators has its convention's FLOPs for each element that these have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals, contained
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.attribution import costs
from analysis.costs.costed_calls import SHAPES, CostedCalls, costed_calls
from analysis.recorded.ranges import outermost
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selected import Selected

OF_SPANS, OF_SHAPES = 1, 2
"""What a range's FLOPs are from: payloads, operators' shapes, or, added up, both."""

WAITING: Final = (names.STEP, names.WARMUP, names.BACKWARD)
"""Ranges on whose behalf another thread works: they have the work of all threads."""


@dataclass(frozen=True)
class RangeCosts:
    """The FLOPs and least bytes of each range, in the order of the report's ranges.

    Attributes:
        flops: ``(R,)``, or `tables.MISSING`.
        bytes: ``(R,)`` the least bytes likewise; missing as soon as those of one part are.
        unscaled: how many softmax ranges keep the FLOPs that were recorded.
        has_flops_of: ``(R,)`` what the FLOPs are from: 1 payloads, 2 operators' shapes, 3 both.
    """

    flops: Int64
    bytes: Int64
    unscaled: int
    has_flops_of: Int64


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
    calls = shaped_calls(chosen, softmax_flops)
    flops, size = own.copy(), moved.copy()
    source = np.where(own == tables.MISSING, 0, OF_SPANS)
    if not len(outer) + len(calls):
        return RangeCosts(flops, size, unscaled, source)
    parts_flops = np.append(own[outer], calls.flops)
    parts_bytes = np.append(moved[outer], calls.bytes)
    fused = np.array(["softmax" in name for name in calls.names], np.bool_)[calls.name]
    from_span = np.arange(len(parts_flops)) < len(outer)
    times = (ranges.start_ns, ranges.end_ns)
    of_call = (calls.thread, process_of(calls.thread))
    for (rows, place), call_place in zip(rows_to_sum(attribution), of_call, strict=True):
        lacks = rows[own[rows] == tables.MISSING]
        parts = Intervals(
            np.append(place[outer], call_place),
            np.append(ranges.start_ns[outer], calls.start_ns),
            np.append(ranges.end_ns[outer], calls.end_ns),
        )
        order = np.lexsort((parts.start_ns, parts.thread))
        slices = contained(Intervals(place, *times).take(lacks), parts.take(order))
        some = slices.counts() > 0
        flops[lacks[some]] = slices.sums(parts_flops[order])[some]
        unknown = slices.sums((parts_bytes[order] == tables.MISSING).astype(np.int64))
        whole = np.where(unknown > 0, tables.MISSING, slices.sums(parts_bytes[order]))
        size[lacks[some]] = whole[some]
        for bit, mine in ((OF_SPANS, from_span), (OF_SHAPES, ~from_span)):
            has_some = slices.sums(mine[order].astype(np.int64)) > 0
            source[lacks[has_some]] |= bit
        # A softmax made of elementwise operators counts as one operator does.
        made = ranges.called(names.SOFTMAX)[lacks] & (source[lacks] == OF_SHAPES)
        made &= slices.sums(np.append(np.zeros(len(outer)), fused)[order].astype(np.int64)) == 0
        holders = slices.holders()
        elements = slices.most(parts_flops[order])[made[holders]]
        flops[lacks[holders[made[holders]]]] = softmax_flops * elements
    return RangeCosts(flops, size, unscaled, source)


def shaped_calls(chosen: Selected, softmax_flops: int) -> CostedCalls:
    """Return the operators whose FLOPs follow from their shapes, and whose work counts."""
    calls = costed_calls(chosen.attribution, softmax_flops=softmax_flops)
    counts = np.zeros(len(calls), np.bool_)
    counts[calls.owner[chosen.work & (calls.owner != NONE)]] = True
    return calls.take(counts & (calls.source == SHAPES) & (calls.flops != tables.MISSING))


def rows_to_sum(attribution: Attribution) -> list[tuple[Int64, Int64]]:
    """Return the ranges to sum by thread, and those by process: positions, and ``(R,)`` places."""
    ranges = attribution.ranges
    local, waits = ~ranges.elsewhere, ranges.where(lambda name: name in WAITING)
    return [
        (np.flatnonzero(local & ~waits), ranges.thread),
        (np.flatnonzero(local & waits), ranges.process),
    ]
