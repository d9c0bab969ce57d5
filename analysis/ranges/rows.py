"""Rows of ranges: one a name, style and domain, or one a range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Bools, Int64
from analysis.knowledge.vocabulary import clean
from analysis.recorded.operators import distinct
from analysis.recorded.ranges import outermost
from analysis.show.table import Column, Table
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.measures.range_times import RangeTimes
    from analysis.recorded.ranges import Ranges

STYLES: Final = ("PushPop", "StartEnd")


def by_name(found: Attribution, times: RangeTimes, kept: Bools) -> Table:
    """Return one row per name, style and domain, the longest span first."""
    ranges = found.ranges
    names, domains, label = labels(ranges)
    group = label * 2 + ranges.start_end
    rows = np.flatnonzero(kept)
    outer = outermost(ranges, label)
    columns = totals(found, times, group, rows, outer, 2 * len(names))
    used = np.flatnonzero(columns["instances"])
    order = used[np.lexsort((used, -columns["wall_ns"][used], -columns["span_ns"][used]))]
    return table(
        found,
        {
            "range": [names[place // 2] for place in order.tolist()],
            "style": [STYLES[place % 2] for place in order.tolist()],
            **{key: column[order] for key, column in columns.items()},
        },
        domain=[domains[place // 2] for place in order.tolist()],
    )


def labels(ranges: Ranges) -> tuple[list[str], list[str], Int64]:
    """Return what ranges are told apart by: ``(L,)`` names, ``(L,)`` domains; ``(R,)`` which."""
    names, name = distinct(np.array([clean(one) for one in ranges.names], object))
    used, label = np.unique(ranges.domain * len(names) + name[ranges.name], return_inverse=True)
    pairs = [divmod(number, len(names)) for number in used.tolist()]
    return (
        [names[place] for _, place in pairs],
        [ranges.domains[domain] for domain, _ in pairs],
        label.astype(np.int64),
    )


def totals(
    found: Attribution, times: RangeTimes, group: Int64, rows: Int64, outer: Bools, groups: int
) -> dict[str, Int64]:
    """Return the sums over the ranges of each group, `tables.MISSING` where one is not known."""

    def summed(values: Int64, chosen: Int64) -> Int64:
        result = np.zeros(groups, np.int64)
        np.add.at(result, group[chosen], values[chosen])
        return result

    def where_known(values: Int64, chosen: Int64) -> Int64:
        unknown = np.zeros(groups, np.bool_)
        unknown[group[chosen[values[chosen] == tables.MISSING]]] = True
        return np.where(unknown, tables.MISSING, summed(values, chosen))

    # What a range inside one of its own name has, that one has too.
    once = rows[outer[rows]]
    return {
        "instances": np.bincount(group[rows], minlength=groups).astype(np.int64),
        "wall_ns": summed(found.ranges.wall_ns, rows),
        "span_ns": summed(times.span_ns, rows),
        "busy_ns": summed(times.busy_ns, once),
        "kernel_ns": summed(times.kernel_ns, once),
        "self_ns": summed(times.self_ns, rows),
        "gpu_ops": summed(times.gpu_ops, rows),
        "flops": where_known(times.flops, once),
        "backward_ns": where_known(times.backward_ns, once),
    }


def each(found: Attribution, times: RangeTimes, rows: Int64) -> Table:
    """Return one row per range, in the order they open."""
    ranges = found.ranges
    found.report.database.check_held(len(rows), "rows", "leave --instances out")
    rows = rows[np.argsort(ranges.start_ns[rows], kind="stable")]
    return table(
        found,
        {
            "range": [ranges.names[number] for number in ranges.name[rows].tolist()],
            "style": [STYLES[int(late)] for late in ranges.start_end[rows].tolist()],
            "instances": np.ones(len(rows), np.int64),
            "wall_ns": ranges.wall_ns[rows],
            "span_ns": times.span_ns[rows],
            "busy_ns": times.busy_ns[rows],
            "kernel_ns": times.kernel_ns[rows],
            "self_ns": times.self_ns[rows],
            "gpu_ops": times.gpu_ops[rows],
            "flops": times.flops[rows],
            "backward_ns": times.backward_ns[rows],
        },
        start_ns=ranges.start_ns[rows],
        thread=ranges.thread[rows],
        domain=[ranges.domains[number] for number in ranges.domain[rows].tolist()],
    )


def or_nan(values: Int64) -> npt.NDArray[Any]:
    """Return whole numbers, NaN among them where they are `tables.MISSING`.

    >>> or_nan(np.array([4, tables.MISSING])).tolist(), or_nan(np.array([4])).dtype.kind
    ([4, nan], 'i')
    """
    missing = values == tables.MISSING
    if not missing.any():
        return values
    # As Python's own numbers: float64, which has a NaN, holds no number above 2**53 exactly.
    result = values.astype(object)
    result[missing] = np.nan
    return result


def table(found: Attribution, columns: dict[str, Column], **more: Column) -> Table:
    """Return the columns as an answer."""
    columns = dict(columns)
    for name in ("flops", "backward_ns"):
        columns[name] = or_nan(np.asarray(columns[name]))
    source = found.work.source if len(found.work.kind) else ""
    unseen = ("source", "path", "depth", "thread", "start_ns", "style")
    return Table(
        name="ranges",
        columns={**columns, "source": [source] * len(columns["range"]), **more},
        heading=found.report.describe(),
        hidden=unseen if any(more["domain"]) else (*unseen, "domain"),
        droppable=("self_ns", "wall_ns", "gpu_ops"),
    )
