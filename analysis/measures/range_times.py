"""What each range launched: operations, their span, busy and summed time, and whose own it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.containment import Intervals, Slices, contained, innermost
from analysis.arithmetic.intervals import NONE
from analysis.attribution.launches import Launches, calls_of
from analysis.attribution.origin import origin
from analysis.attribution.selection import Selection, on
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.recorded.ranges import Ranges

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MEMORY_TABLES: Final = ("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
PAIRS_AT_ONCE: Final = 4_000_000
"""How many pairs of range and operation are held in memory together."""


@dataclass(frozen=True)
class Operations:
    """Everything the GPU did (on a CPU run: operators), ordered by thread and time of its launch.

    Attributes:
        launch: ``(N,)`` threads and times of the calls.
        start_ns: ``(N,)`` on the device.
        end_ns: ``(N,)`` on the device.
        kernel_ns: ``(N,)`` what counts as kernel time; none of a copy.
        new_call: ``(N,)`` whether its call is another than the one before: several kernels may
            come from one launch.
    """

    launch: Launches
    start_ns: Int64
    end_ns: Int64
    kernel_ns: Int64
    new_call: Bools


@dataclass(frozen=True)
class RangeTimes:
    """One entry a range, in the order of the ranges; times are 0 where nothing was launched.

    ``first_ns`` is where the span on the device begins; ``flops`` is MISSING where not known, and
    ``backward_ns`` everywhere where no work of the report has an origin.
    """

    gpu_ops: Int64
    first_ns: Int64
    span_ns: Int64
    busy_ns: Int64
    kernel_ns: Int64
    self_ns: Int64
    flops: Int64
    backward_ns: Int64


def operations(found: Attribution, device: int | None = None) -> Operations:
    """Return all operations with a known launch, in the order of their launches.

    Args:
        found: the work.
        device: only those on this CUDA ordinal.
    """
    launches, work = found.launches, found.work
    fields = ("start_ns", "end_ns", "correlation")
    asked = ("device",) if device is not None else ()
    if work.calls is not None:
        calls = [work.calls.start_ns, work.calls.end_ns, np.arange(len(work.kind))]
        columns = [*calls, *(np.zeros(len(work.kind), np.int64) for _ in asked)]
    else:
        parts = [
            tables.device_work(found.report, table, *fields, *asked)
            for table in (tables.KERNEL, tables.GRAPH)
        ]
        columns = [np.concatenate([part[name] for part in parts]) for name in (*fields, *asked)]
    kernel_ns = work.duration_ns
    columns = [launches.thread, launches.start_ns, launches.end_ns, kernel_ns, *columns]
    if work.calls is None:
        # Together, for the calls are many and read anew each time they are asked for.
        parts = [
            tables.device_work(found.report, table, *fields, *asked, "global_pid")
            for table in MEMORY_TABLES
        ]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        called = calls_of(found.report, rows["global_pid"], rows["correlation"])
        more = [called.thread, called.start_ns, called.end_ns, np.zeros_like(rows["start_ns"])]
        more += [rows[name] for name in (*fields, *asked)]
        columns = [np.concatenate(pair) for pair in zip(columns, more, strict=True)]
    known = columns[0] != tables.MISSING
    if device is not None:
        known &= columns.pop() == device
    columns = [column[known] for column in columns]
    thread, begin, finish, kernel, start, end, correlation = columns
    order = np.lexsort((start, correlation, begin, thread))
    thread, correlation = thread[order], correlation[order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (thread[1:] != thread[:-1]) | (correlation[1:] != correlation[:-1])
    launch = Launches(thread, begin[order], finish[order])
    return Operations(launch, start[order], end[order], kernel[order], fresh)


def range_times(found: Attribution, device: int | None = None) -> RangeTimes:
    """Return what each range of a report launched, by the rule of NVIDIA's nvtx_gpu_proj_sum.

    Args:
        found: the ranges and the work.
        device: count only what ran on this CUDA ordinal.
    """
    ranges, done = found.ranges, operations(found, device)
    spans = Intervals(ranges.thread, ranges.start_ns, np.where(ranges.elsewhere, -1, ranges.end_ns))
    calls = Intervals(done.launch.thread, done.launch.start_ns, done.launch.end_ns)
    slices = contained(spans, calls)
    first, span = np.zeros(len(ranges), np.int64), np.zeros(len(ranges), np.int64)
    holders = slices.holders()
    first[holders] = slices.least(done.start_ns)
    span[holders] = slices.most(done.end_ns) - first[holders]
    own = innermost(spans, calls)
    self_ns = np.zeros(len(ranges), np.int64)
    np.add.at(self_ns, own[own != NONE], done.kernel_ns[own != NONE])
    return RangeTimes(
        gpu_ops=slices.sums(done.new_call.astype(np.int64)),
        first_ns=first,
        span_ns=span,
        busy_ns=busy(slices, done),
        kernel_ns=slices.sums(done.kernel_ns),
        self_ns=self_ns,
        flops=flops(ranges, spans),
        backward_ns=backward(found, spans, device),
    )


def busy(slices: Slices, done: Operations) -> Int64:
    """Return the union of the operations of each range on the device, ``(R,)``.

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
        union(some, done, result)
    return result


def union(slices: Slices, done: Operations, result: Int64) -> None:
    """Put the union of the operations of these slices into ``result``, ``(R,)``."""
    owner, operation = slices.pairs()
    order = np.lexsort((done.start_ns[operation], owner))
    owner, operation = owner[order], operation[order]
    rank = np.cumsum(np.append(0, owner[1:] != owner[:-1]))
    # One time line after the other, so that one running maximum serves all ranges.
    origin_ns = int(done.start_ns.min())
    width = int(done.end_ns.max()) - origin_ns + 1
    start = done.start_ns[operation] - origin_ns + rank * width
    end = done.end_ns[operation] - origin_ns + rank * width
    reach = np.append(-1, np.maximum.accumulate(end)[:-1])
    added = np.maximum(end - np.maximum(start, reach), 0)
    holders = np.unique(owner)
    result[holders] = 0
    np.add.at(result, owner, added)


def flops(ranges: Ranges, spans: Intervals) -> Int64:
    """Return each range's FLOPs: its payload, or the sum of the payloads inside it.

    A payload inside another range with a payload is part of that one's already.
    """
    result = ranges.payload.copy()
    paid = np.flatnonzero(ranges.payload != tables.MISSING)
    if not len(paid):
        return result
    payers = spans.take(paid)
    nested = contained(payers, payers).counts() > 1
    outer = innermost_other(payers) if bool(nested.any()) else np.full(len(paid), NONE)
    leaves = paid[outer == NONE]
    inside = contained(spans, spans.take(leaves))
    total = inside.sums(ranges.payload[leaves])
    unpaid = (ranges.payload == tables.MISSING) & (inside.counts() > 0)
    result[unpaid] = total[unpaid]
    return result


def innermost_other(spans: Intervals) -> Int64:
    """Return for each of these the innermost other one around it, or `NONE`."""
    from analysis.arithmetic.intervals import parents

    return parents(spans.start_ns, spans.end_ns, spans.thread)


def backward(found: Attribution, spans: Intervals, device: int | None) -> Int64:
    """Return the time of the backward pass that each range's work brought about, ``(R,)``."""
    place = origin(found).place
    known = np.flatnonzero(place.known)
    if not len(known):
        return np.full(len(spans), tables.MISSING, np.int64)
    order = known[np.lexsort((place.start_ns[known], place.thread[known]))]
    calls = Intervals(place.thread[order], place.start_ns[order], place.end_ns[order])
    time = found.work.duration_ns
    if device is not None:
        time = time * on(found.report, found.work, Selection(device=device))
    return contained(spans, calls).sums(time[order])
