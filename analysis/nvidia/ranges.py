"""NVIDIA's reports on NVTX ranges: how long they were open, and what was launched inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64
from analysis.arithmetic.containment import CorrelationKeys, Intervals, Slices, contained
from analysis.arithmetic.global_ids import global_process_of
from analysis.arithmetic.intervals import NONE, ordered
from analysis.arithmetic.statistics import sums
from analysis.nvidia import tables as read
from analysis.nvidia.cells import nvidia_statistics, percentages, rounded
from analysis.nvidia.tree import breaks_the_index, levels_of, tightest_parents
from analysis.show.errors import ReportError
from analysis.show.table import Column, Table
from analysis.source import device_tables, tables
from analysis.source.database import both
from analysis.source.times import check_sum

if TYPE_CHECKING:
    from analysis.arithmetic.statistics import Statistics
    from analysis.source.database import Columns
    from analysis.source.nvtx_tables import RangeRows
    from analysis.source.report import Report


STYLES: Final = ("PushPop", "StartEnd")
OPERATIONS: Final = (tables.KERNEL, device_tables.COPY, device_tables.SET)
NO_NVTX: Final = "record it with --trace=cuda,nvtx"
NO_CUDA: Final = "record it with --trace=cuda"


def names_of_codes(names: list[str], code: Int64) -> list[str]:
    """Return the name of each code, an empty one for `NONE`."""
    return ["" if number == NONE else names[number] for number in code.tolist()]


def durations(found: Statistics) -> dict[str, Int64 | Float64]:
    """Return the five columns of durations that most of NVIDIA's reports have."""
    return {
        "Avg (ns)": rounded(found.mean_ns),
        "Med (ns)": rounded(found.median_ns),
        "Min (ns)": found.min_ns,
        "Max (ns)": found.max_ns,
        "StdDev (ns)": rounded(found.std_ns),
    }


def time_columns(found: Statistics, count: str) -> dict[str, Column]:
    """Return the columns of times that most of NVIDIA's reports begin with.

    Args:
        found: of the groups.
        count: the title of how many there are in each.
    """
    shares = {"Time (%)": percentages(found.total_ns), "Total Time (ns)": found.total_ns}
    return {**shares, count: found.calls, **durations(found)}


def nvtx_sum(report: Report, *, push_pop_only: bool = False) -> Table:
    """Return ``nvtx_sum``: how long the ranges of a name were open.

    A range that was never closed ends with the last event of any kind.
    """
    report.require(tables.NVTX, remedy=NO_NVTX)
    found = read.ranges(report)
    if push_pop_only:
        found = found.take(~found.start_end)
    last = read.last_instant(report)
    end = np.where(found.end_ns == tables.MISSING, last, found.end_ns)
    check_sum(report, tables.NVTX, found.start_ns, end)
    duration = end - found.start_ns
    style = np.zeros(len(found), np.int64) if push_pop_only else found.start_end.astype(np.int64)
    kind, group = tables.compact((found.name - NONE) * 2 + style)
    stats = nvidia_statistics(group, duration, len(kind))
    columns = {
        **time_columns(stats, "Instances"),
        **({} if push_pop_only else {"Style": [STYLES[one] for one in (kind % 2).tolist()]}),
        "Range": names_of_codes(found.names, kind // 2 + NONE),
    }
    order = np.argsort(-stats.total_ns, kind="stable")
    if last == tables.MISSING and len(found):
        # Nothing was ever closed: in SQL every duration is NULL, and what is made of them.
        columns |= {name: column_of_nulls(name, columns[name]) for name in list(columns)[:8]}
        order = np.arange(len(kind))
    name = "nvtx_pushpop_sum" if push_pop_only else "nvtx_sum"
    return Table(name=name, columns=columns).take(order)


def nvtx_pushpop_sum(report: Report) -> Table:
    """Return ``nvtx_pushpop_sum``: how long the push/pop ranges of a name were open."""
    return nvtx_sum(report, push_pop_only=True)


def column_of_nulls(name: str, column: object) -> Int64 | Float64:
    """Return a column of statistics over NULLs: the count stays, the deviation is 0."""
    assert isinstance(column, np.ndarray)
    if name == "Instances":
        return column
    return np.full(len(column), 0.0 if name.startswith("StdDev") else np.nan)


@dataclass(frozen=True)
class RangesAndCalls:
    """The ranges and the CUDA calls of a report, among which launches are sought.

    Attributes:
        ranges: those that began and ended on one thread, ordered as by `ordered`.
        spans: the same as intervals.
        row: ``(R,)`` where each stands in the file.
        calls: all CUDA calls, in the order of the file.
    """

    ranges: RangeRows
    spans: Intervals
    row: Int64
    calls: Columns


@dataclass(frozen=True)
class Launches(RangesAndCalls):
    """The calls that launched work, with the ranges around them.

    Attributes:
        launch: ``C`` of them, ordered by thread and start; a launch that was recorded twice is
            there twice.
        call: ``(C,)`` the position of each among all calls.
        number: ``(C,)`` the number of what each launched.
        slices: which launches each range contains.
    """

    launch: Intervals
    call: Int64
    number: Int64
    slices: Slices


def ranges_and_calls(report: Report, *, prefix: bool = True) -> RangesAndCalls:
    """Return the ranges of a report, ordered as intervals, and its CUDA calls.

    Args:
        report: what was recorded.
        prefix: whether to put the domain in front of a range's name.

    Raises:
        ReportError: they surely do not fit into memory.
    """
    device_tables.check_room(report)
    calls, (ranges, spans, row) = both(
        lambda: read.calls(report), lambda: ordered_ranges(report, prefix)
    )
    return RangesAndCalls(ranges, spans, row, calls)


def ordered_ranges(report: Report, prefix: bool) -> tuple[RangeRows, Intervals, Int64]:
    """Return the ranges that began and ended on one thread, ordered, and their rows.

    Args:
        report: has them.
        prefix: put the domain before the name.

    Returns:
        All ranges; the chosen ones as intervals, ``(N,)``; and ``(N,)`` which of all they are.

    Raises:
        ReportError: a range ends before it starts, where that makes NVIDIA's own report fail.
    """
    found = read.ranges(report, prefix=prefix, once=True)
    closed = found.end_ns != tables.MISSING
    # Without one end there is none that the others could be given: then they contain nothing.
    last = max(int(found.start_ns.max()), int(found.end_ns.max())) if closed.any() else NONE
    end = np.where(closed, found.end_ns, last)
    kept = np.flatnonzero(~found.has_end_thread)
    if closed.any():
        first = min(int(found.start_ns.min()), int(found.end_ns[closed].min()))
        if breaks_the_index(found.start_ns[kept], end[kept], first, last):
            raise ReportError(report.path, "a range ends before it starts", read.NSYS_FAILS)
        kept = kept[end[kept] >= found.start_ns[kept]]
    order = kept[ordered(found.start_ns[kept], end[kept], found.thread[kept])]
    ranges = found.take(order)
    return ranges, Intervals(ranges.thread, ranges.start_ns, end[order]), order


def launches_in_ranges(place: RangesAndCalls, keys: CorrelationKeys) -> Launches:
    """Return the calls that launched what the keys number, and the ranges that contain them."""
    calls = place.calls
    number = keys.find(global_process_of(calls["thread"]), calls["correlation"])
    some = np.flatnonzero((number != NONE) & (calls["correlation"] != tables.MISSING))
    thread, start, end = (calls[name][some] for name in ("thread", "start_ns", "end_ns"))
    order = ordered(start, end, thread)
    launch, call = Intervals(thread, start, end).take(order), some[order]
    slices = contained(place.spans, launch)
    return Launches(**vars(place), launch=launch, call=call, number=number[call], slices=slices)


def nvtx_gpu_proj_sum(report: Report) -> Table:
    """Return ``nvtx_gpu_proj_sum``: from the first start to the last end of what a range launched.

    Its faults: idle time inside counts; a graph launch is one operation, whatever is in the graph
    (operations are distinct correlation ids); see `analysis.nvidia.tree` for levels and children.

    Raises:
        ReportError: there are no ranges, no calls, or nothing that a GPU did.
    """
    report.require(tables.NVTX, remedy=NO_NVTX)
    report.require(tables.RUNTIME, remedy=NO_CUDA)
    if not any(report.has(table) for table in OPERATIONS):
        raise ReportError(report.path, "no GPU operation in this report", NO_CUDA)
    (keys, begin, finish), place = both(
        lambda: operation_extents(report), lambda: ranges_and_calls(report)
    )
    found = launches_in_ranges(place, keys)
    slices = found.slices
    holders = slices.holders()
    spanned = slices.most(finish[found.number]) - slices.least(begin[found.number])
    return projection_table(
        found, holders, spanned, operations_in_ranges(slices, found.number)[holders]
    )


def operation_extents(report: Report) -> tuple[CorrelationKeys, Int64, Int64]:
    """Return keys of all GPU operations, and ``(K,)`` first starts and last ends of each, in ns."""
    parts = [read.work(report, table) for table in OPERATIONS if report.has(table)]
    fields = ("process", "correlation", "start_ns", "end_ns")
    process, correlation, start, end = (
        np.concatenate([part[field] for part in parts]) for field in fields
    )
    keys = CorrelationKeys(process, correlation)
    return keys, *extent_by_number(keys, start, end)


def extent_by_number(keys: CorrelationKeys, start: Int64, end: Int64) -> tuple[Int64, Int64]:
    """Return ``(K,)`` first starts and last ends of the ``(N,)`` operations that share a number."""
    if keys.count == len(start):
        begin, finish = np.empty(keys.count, np.int64), np.empty(keys.count, np.int64)
        begin[keys.number], finish[keys.number] = start, end
        return begin, finish
    order = np.argsort(keys.number, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(keys.number[order]) > 0))
    return np.minimum.reduceat(start[order], first), np.maximum.reduceat(end[order], first)


def operations_in_ranges(slices: Slices, number: Int64) -> Int64:
    """Return ``(R,)`` how many distinct operations, by ``number``, each range's calls launched."""
    if len(number) and int(np.bincount(number).max()) == 1:
        return slices.counts()
    owner, call = slices.pairs()
    width = int(number.max()) + 1 if len(number) else 1
    once = np.unique(owner * width + number[call]) // width
    return np.bincount(once, minlength=slices.owners).astype(np.int64)


def projection_table(launches: Launches, holders: Int64, spanned: Int64, count: Int64) -> Table:
    """Return the projection of the ranges that hold something, by name and style.

    Args:
        launches: all ranges, and what was launched in them.
        holders: ``(H,)`` the ranges that launched anything.
        spanned: ``(H,)`` ns from the first start to the last end of that.
        count: ``(H,)`` how many operations that is.
    """
    spans, ranges = launches.spans, launches.ranges
    parent = tightest_parents(spans.thread, spans.start_ns, spans.end_ns, launches.row)
    level = levels_of(parent)[holders]
    above = parent[holders]
    children = np.bincount(above[above != NONE], minlength=len(spans))[holders]
    wall = (spans.end_ns - spans.start_ns)[holders]
    # A range without a name counts among the children, and is not listed itself.
    listed = ranges.name[holders] != NONE
    code = ranges.name[holders] * 2 + ranges.start_end[holders]
    kind, group = tables.compact(code[listed])
    size = len(kind)
    stats = nvidia_statistics(group, spanned[listed], size)
    known = level[listed] != NONE
    with np.errstate(invalid="ignore"):
        mean_level = sums(group[known], level[listed][known], size) / np.bincount(
            group[known], minlength=size
        )
    total = sums(group, count[listed], size)
    table = Table(
        name="nvtx_gpu_proj_sum",
        columns={
            "Range": names_of_codes(ranges.names, kind // 2),
            "Style": [STYLES[one] for one in (kind % 2).tolist()],
            "Total Proj Time (ns)": stats.total_ns,
            "Total Range Time (ns)": sums(group, wall[listed], size),
            "Range Instances": stats.calls,
            **{f"Proj {name}": column for name, column in durations(stats).items()},
            "Total GPU Ops": total,
            "Avg GPU Ops": rounded(total / stats.calls),
            "Avg Range Lvl": rounded(mean_level),
            "Avg Num Child": rounded(sums(group, children[listed], size) / stats.calls),
        },
    )
    return table.take(np.argsort(-stats.total_ns, kind="stable"))
