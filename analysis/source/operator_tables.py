"""The CPU operators of a report: a table of their own, or NVTX ranges in a domain of their own.

The embedded recorder writes the table `TOOLKIT_OPERATOR`; under nsys without a GPU the same
operators are ranges. Like `source.tables`, this holds SQL and looks first at what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic import global_ids
from analysis.arithmetic.row_order import in_order
from analysis.source.nvtx_tables import domain_rows
from analysis.source.tables import (
    MISSING,
    NVTX,
    OPERATOR,
    PUSH_POP,
    count,
    first,
    is_empty,
    name_sql,
    named,
    process_of,
    texts_of,
)
from analysis.source.times import kept, sensible
from profiling import names

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report


def operator_domains(report: Report) -> list[tuple[int, int]]:
    """Return ``(domain id, process id)`` of every NVTX domain that holds CPU operators."""
    found = domain_rows(report)
    named_so = texts_of(report, found) == names.OPERATOR_DOMAIN
    domains = zip(found["domain"][named_so], found["process"][named_so], strict=True)
    return sorted({(int(domain), int(process)) for domain, process in domains})


def operator_ranges(report: Report) -> Columns:
    """Return the NVTX ranges that a recording without a GPU holds its CPU operators in.

    Returns:
        ``start_ns, end_ns, thread, process, name_id, text`` of each range, in order of
        time; ``end_ns`` is `MISSING` where a range was never closed. Empty where no domain is named
        `profiling.names.OPERATOR_DOMAIN`.
    """
    domains = operator_domains(report)
    inside = " OR ".join(
        f"(domainId = {domain} AND {process_of(report, NVTX, 'globalTid')} = {process})"
        for domain, process in domains
    )
    name_id, text = name_sql(report)
    if not domains:
        empty = np.empty(0, np.int64)
        fields = ("start_ns", "end_ns", "thread", "process", "name_id")
        return {**dict.fromkeys(fields, empty), "text": np.empty(0, object)}
    rows = report.columns(
        f'SELECT start AS start_ns, coalesce("end", -1) AS end_ns, globalTid AS thread, '
        f"{name_id} AS name_id, {text} AS text FROM {NVTX} "
        f"WHERE eventType = {PUSH_POP} AND ({inside})",
        count(report, NVTX),
        text=("text",),
    )
    rows["process"] = global_ids.process_of(rows["thread"])
    rows = in_order(rows, "start_ns", "-end_ns")
    return sensible(report, f"{NVTX} (operators)", rows, unclosed=True)


def operator_rows(report: Report) -> Columns:
    """Return the rows of `OPERATOR`, read once: CPU operators, and autograd's nodes among them.

    Returns:
        ``start_ns, end_ns, self_ns, name_id, thread, process, number, forward_thread, shapes,
        types, inputs``; the number is autograd's sequence number, the next the profiler's number of
        the thread that made the node that is run, the last three string ids of JSON lists with an
        entry for each argument. MISSING where there is none. Empty where there is no such table.
    """
    return report.once(_operator_rows)


_OPTIONAL: Final = {
    "number": "sequence",
    "forward_thread": "forward_thread",
    "shapes": "shapes",
    "types": "types",
    "inputs": "inputs",
}
"""Our name for a column that a table of operators need not have, and its own."""


def _operator_rows(report: Report) -> Columns:
    if is_empty(report, OPERATOR):
        fields = ("start_ns", "end_ns", "self_ns", "name_id", "thread", "process", *_OPTIONAL)
        return dict.fromkeys(fields, np.empty(0, np.int64))
    there = {ours: its for ours, its in _OPTIONAL.items() if report.has(OPERATOR, its)}
    more = "".join(f", {first(report, OPERATOR, its)} AS {ours}" for ours, its in there.items())
    rows = report.columns(
        f"SELECT start_ns, end_ns, self_ns, name_id, global_tid AS thread{more} FROM {OPERATOR}",
        count(report, OPERATOR),
    )
    lacking = np.broadcast_to(np.int64(MISSING), len(rows["start_ns"]))
    rows |= {ours: lacking for ours in _OPTIONAL if ours not in there}
    rows["process"] = global_ids.process_of(rows["thread"])
    rows = sensible(report, OPERATOR, in_order(rows, "start_ns", "-end_ns"))
    inside = (rows["self_ns"] >= 0) & (rows["self_ns"] <= rows["end_ns"] - rows["start_ns"])
    return kept(report, f"{OPERATOR} (self times)", rows, inside)


def shape_rows(report: Report) -> Columns:
    """Return the rows of `OPERATOR` whose shapes were recorded, of autograd's nodes too.

    Returns:
        ``start_ns, end_ns, thread, name_id, shapes, types, inputs``, as `operator_rows` has them.
    """
    rows = operator_rows(report)
    known = rows["shapes"] != MISSING
    fields = ("start_ns", "end_ns", "thread", "name_id", "shapes", "types", "inputs")
    return {field: rows[field][known] for field in fields}


def operator_nodes(report: Report) -> Columns:
    """Return every row of `OPERATOR`, autograd's nodes too, with its autograd number.

    Returns:
        ``start_ns, end_ns, thread, number, forward_thread, name``; of the numbers each is MISSING
        where there is none, and the forward thread is 0 too where nothing runs backward.
    """
    rows = operator_rows(report)
    names_, place = named(report, rows["name_id"])
    fields = ("start_ns", "end_ns", "thread", "number", "forward_thread")
    nodes = {field: rows[field] for field in fields}
    return {**nodes, "name": np.array(names_, object)[place]}
