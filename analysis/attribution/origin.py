"""Origin: which part of the forward pass a kernel of the backward pass serves.

Autograd numbers its nodes on each forward thread. ``torch.autograd.profiler.emit_nvtx`` writes the
number into range names (``aten::mm, seq = 7``), the PyTorch profiler into its operators; the node's
own run in the backward pass carries the same number. So a kernel launched there leads to a number,
and the number to the operator of its process that made the node: the creator. Three things to know:

* An operator that creates no node carries the number of the next node to come. The last operator
  to start with a number is its creator.
* The engine's ``autograd::engine::evaluate_function: X`` has no number. It takes that of the node
  it runs, so what it launches around the node (a sum of gradients) is not lost.
* ``AccumulateGrad`` has no number at all: it serves a parameter, not a part of the forward pass.

Where our own spans were recorded, ``<name>.backward`` leads to the range ``<name>`` itself: the
last one opened that has not been led to yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.attribution.launches import Launches
from analysis.knowledge.vocabulary import EVALUATE
from analysis.source import tables
from analysis.source.operator_tables import operator_nodes
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.recorded.ranges import Ranges


_SEQUENCE: Final = re.compile(r", seq = (\d+)")


@dataclass(frozen=True)
class AutogradNodes:
    """Intervals on threads that may carry an autograd number: ranges of emit_nvtx, or operators.

    Attributes:
        spans: ``(M,)`` their threads and times.
        number: ``(M,)`` the autograd number, or `NONE`.
        evaluates: ``(M,)`` whether it is the engine running a node.
    """

    spans: Intervals
    number: Int64
    evaluates: Bools


@dataclass(frozen=True)
class Origin:
    """The forward ranges or operators that the work of the backward pass comes from.

    Attributes:
        creator: what created it, as if that had launched it: the thread and time of the creator,
            with `tables.MISSING` as thread where there is no origin.
        backward: ``(N,)`` which work the engine ran at all, with origin or without.
    """

    creator: Launches
    backward: Bools

    @cached_property
    def known(self) -> Bools:
        """``(N,)`` which pieces of work have a known origin in the forward pass."""
        return self.creator.known


def origin(attribution: Attribution) -> Origin:
    """Return which part of the forward pass each piece of backward work comes from."""
    launches = attribution.launches
    count = len(launches.thread)
    thread = np.full(count, tables.MISSING, np.int64)
    start, end = thread.copy(), thread.copy()
    backward = np.zeros(count, np.bool_)
    by_number, engine = _by_number(_nodes(attribution), launches)
    for places in (by_number, _by_name(attribution.ranges, launches)):
        fresh = (thread == tables.MISSING) & places.known
        thread[fresh], start[fresh] = places.thread[fresh], places.start_ns[fresh]
        end[fresh] = places.end_ns[fresh]
    backward |= engine | (thread != tables.MISSING)
    return Origin(Launches(thread, start, end), backward)


def _nodes(attribution: Attribution) -> AutogradNodes:
    ranges = attribution.ranges
    numbers = np.array([autograd_number(name) for name in ranges.names], np.int64)
    engine = np.array([name.startswith(EVALUATE) for name in ranges.names], np.bool_)
    if (numbers != NONE).any():
        spans = Intervals(ranges.thread, ranges.start_ns, ranges.end_ns)
        return AutogradNodes(spans, numbers[ranges.name], engine[ranges.name])
    rows = operator_nodes(attribution.report)
    evaluates = np.array([name.startswith(EVALUATE) for name in rows["name"].tolist()], np.bool_)
    spans = Intervals(rows["thread"], rows["start_ns"], rows["end_ns"])
    return AutogradNodes(spans, rows["number"], evaluates)


def autograd_number(name: str) -> int:
    """Return the number that ``emit_nvtx`` wrote into the name of a range, or `NONE`.

    >>> autograd_number("aten::mm, seq = 7, op_id = 9"), autograd_number("forward")
    (7, -1)
    """
    found = _SEQUENCE.search(name)
    return int(found[1]) if found else NONE


def _by_number(nodes: AutogradNodes, launches: Launches) -> tuple[Launches, Bools]:
    """Return the creators by autograd number, and which work the engine launched."""
    spans, engine = nodes.spans, np.flatnonzero(nodes.evaluates)
    if not len(engine):
        return _at(spans, np.full(len(launches.thread), NONE)), np.zeros_like(launches.known)
    around = _chosen(engine, innermost_of_any(spans.take(engine), launches))
    inside = _chosen(engine, innermost_of_any(spans.take(engine), spans))
    inside[engine] = NONE
    number = _numbers_of(nodes, engine, inside)
    made = np.flatnonzero((nodes.number != NONE) & (inside == NONE) & ~nodes.evaluates)
    creator = np.full(len(nodes.number), NONE, np.int64)
    makes, runs = process_of(spans.thread[made]), process_of(spans.thread[engine])
    for process in np.unique(runs):
        ran = engine[runs == process]
        of_it = made[makes == process]
        creator[ran] = _creators(nodes, of_it, number[ran], spans.start_ns[ran])
    return _at(spans, np.where(around != NONE, creator[around], NONE)), around != NONE


def _chosen(rows: Int64, position: Int64) -> Int64:
    """Return the rows at some positions; `NONE` stays."""
    if not len(rows):
        return position
    chosen: Int64 = np.where(position != NONE, rows[position], NONE)
    return chosen


def _at(spans: Intervals, place: Int64) -> Launches:
    """Return the intervals at these places as launches, MISSING for `NONE`."""
    if not len(spans):
        return Launches(*3 * [np.full(len(place), tables.MISSING, np.int64)])
    columns = spans.thread, spans.start_ns, spans.end_ns
    return Launches(*(np.where(place != NONE, column[place], tables.MISSING) for column in columns))


def _numbers_of(nodes: AutogradNodes, engine: Int64, inside: Int64) -> Int64:
    """Return the number of the node that each of the engine's intervals runs: its first child's."""
    number = np.full(len(nodes.number), NONE, np.int64)
    children = np.flatnonzero((inside != NONE) & (nodes.number != NONE))
    # The last write counts, so the earliest child is written last.
    children = children[np.argsort(-nodes.spans.start_ns[children], kind="stable")]
    number[inside[children]] = nodes.number[children]
    own = engine[nodes.number[engine] != NONE]
    number[own] = nodes.number[own]
    return number


def _creators(nodes: AutogradNodes, made: Int64, number: Int64, before_ns: Int64) -> Int64:
    """Return the last operator to start with each number, before the backward pass ran it.

    Numbers are given per forward thread. One thread makes the graph of a pass; where several of a
    process have the number, the one that used it last counts.
    """
    order = made[np.lexsort((nodes.spans.start_ns[made], nodes.number[made]))]
    keys = nodes.number[order]
    low = np.searchsorted(keys, number, side="left")
    high = np.searchsorted(keys, number, side="right")
    last = high - 1
    found = (number != NONE) & (last >= low)
    last = np.where(found, last, 0)
    place = order[last] if len(order) else np.zeros(len(number), np.int64)
    while found.any() and len(order):
        late = found & (nodes.spans.start_ns[place] > before_ns)
        if not late.any():
            break
        last[late] -= 1
        found &= last >= low
        place = order[last.clip(0)]
    return np.where(found, place, NONE)


def _by_name(ranges: Ranges, launches: Launches) -> Launches:
    """Return the forward ranges that our own ``<name>.backward`` ranges lead to."""
    partner = _partners(ranges)
    led = np.flatnonzero(partner != NONE)
    spans = Intervals(ranges.thread, ranges.start_ns, ranges.end_ns)
    return _at(spans, _chosen(partner[led], innermost_of_any(spans.take(led), launches)))


def _partners(ranges: Ranges) -> Int64:
    """Return for each ``<name>.backward`` range the forward range it belongs to, or `NONE`.

    The backward pass runs the other way round, so of each process the last range opened that has
    no partner yet is taken. Counting openings up and backward ranges down gives a level; the
    partner is the last opening at the same level.
    """
    partner = np.full(len(ranges), NONE, np.int64)
    position = {name: place for place, name in enumerate(ranges.names)}
    for name, place in position.items():
        if not name.endswith(names.BACKWARD_SUFFIX):
            continue
        forward = position.get(name.removesuffix(names.BACKWARD_SUFFIX))
        if forward is None:
            continue
        for process in np.unique(ranges.process[ranges.name == place]):
            of_it = ranges.process == process
            rows = np.flatnonzero(of_it & ((ranges.name == place) | (ranges.name == forward)))
            rows = rows[np.argsort(ranges.start_ns[rows], kind="stable")]
            opens = ranges.name[rows] == forward
            level = np.cumsum(np.where(opens, 1, -1)) + ~opens
            partner[rows] = np.where(opens, NONE, _last_open(rows, opens, level))
    return partner


def _last_open(rows: Int64, opens: Bools, level: Int64) -> Int64:
    """Return for each row the last opening before it at its level, or `NONE`."""
    order = np.lexsort((np.arange(len(rows)), level))
    held = np.where(opens[order], np.arange(len(rows)), NONE)
    latest = np.maximum.accumulate(held)
    first = np.r_[True, level[order][1:] != level[order][:-1]]
    begin = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    result = np.full(len(rows), NONE, np.int64)
    good = latest >= begin
    result[order] = np.where(good, rows[order[latest.clip(0)]], NONE)
    return result
