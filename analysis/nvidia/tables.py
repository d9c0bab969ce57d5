"""Columns that NVIDIA's reports read; `analysis.source.tables` is for our own commands.

They look up a table and stop with one line if it is not there; a column that is missing ends them
with an SQL error. Here both are a `ReportError`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64, coded
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.row_order import in_order
from analysis.show.errors import ReportError
from analysis.source import tables
from analysis.source.device_tables import COPY, SET
from analysis.source.nvtx_tables import RangeRows, range_rows
from analysis.source.times import check_sum

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report


OPERATIONS: Final = "ENUM_CUDA_MEMCPY_OPER"
NSYS_FAILS: Final = "nsys cannot make this report either: ask `ranges`"
ERAS: Final = "export it with an nsys from 2021 to 2026"

MOST_JOINED: Final = 2_000_000
MOST_JOINED_A_KERNEL: Final = 64
"""Rows of a join: half a kilobyte each is a gigabyte soon, and ranges are seldom deeper."""

NAME_COLUMNS: Final = {"": "demangledName", "base": "shortName", "mangled": "mangledName"}
"""What a kernel is called, by the argument of a report: ``cuda_gpu_kern_sum:base``."""


def work(report: Report, table: str) -> Columns:
    """Return ``start_ns, end_ns, correlation, process`` of kernels, copies or sets."""
    report.require(table, "start", "end", "correlationId", "globalPid", remedy=ERAS)
    rows = report.columns(
        'SELECT start AS start_ns, "end" AS end_ns, coalesce(correlationId, -1) AS correlation, '
        f"coalesce(globalPid, -1) AS process FROM {table}",
        tables.count(report, table),
    )
    return times(report, table, as_they_lie(report, rows))


def as_they_lie(report: Report, rows: Columns) -> Columns:
    """Return rows in the order of their file, of which NVIDIA's SQL takes the first among equals.

    A folder has none that its SQLite export would have too; there they are in order of time.
    """
    return rows if report.database.keeps_order else in_order(rows, "start_ns", "-end_ns")


def times(report: Report, table: str, rows: Columns) -> Columns:
    """Return rows with ``start_ns`` and ``end_ns`` as they are: backwards too, as nsys counts them.

    Raises:
        ReportError: they add up to years; nsys fails, or prints what has no digit right.
    """
    check_sum(report, table, rows["start_ns"], rows["end_ns"])
    return rows


def kernel_columns(report: Report, naming: str, **wanted: str) -> Columns:
    """Return columns of KERNEL, and ``name_id`` under a naming of `NAME_COLUMNS`.

    Args:
        report: where to look.
        naming: ``base``, ``mangled`` or empty.
        wanted: our names for columns, with theirs.
    """
    column = NAME_COLUMNS[naming]
    if naming == "mangled" and not report.has(tables.KERNEL, column):
        column = NAME_COLUMNS[""]
    report.require(
        tables.KERNEL, "start", "end", column, "demangledName", *wanted.values(), remedy=ERAS
    )
    more = "".join(f", coalesce({theirs}, -1) AS {ours}" for ours, theirs in wanted.items())
    rows = report.columns(
        f'SELECT start AS start_ns, "end" AS end_ns, '
        f"coalesce({column}, demangledName, -1) AS name_id{more} FROM {tables.KERNEL}",
        tables.count(report, tables.KERNEL),
    )
    return times(report, tables.KERNEL, as_they_lie(report, rows))


def calls(report: Report, *, named: bool = False) -> Columns:
    """Return the CUDA calls: ``start_ns, end_ns, thread, correlation``, and ``name_id`` if asked.

    They are in the order of the file, of a folder's in order of time.
    """
    fields = ("start", "end", "globalTid", "correlationId", *(("nameId",) if named else ()))
    report.require(tables.RUNTIME, *fields, remedy=ERAS)
    name = ", coalesce(nameId, -1) AS name_id" if named else ""
    rows = report.columns(
        'SELECT start AS start_ns, "end" AS end_ns, coalesce(globalTid, -1) AS thread, '
        f"coalesce(correlationId, -1) AS correlation{name} FROM {tables.RUNTIME}",
        tables.count(report, tables.RUNTIME),
    )
    return times(report, tables.RUNTIME, as_they_lie(report, rows))


def call_times(report: Report) -> Columns:
    """Return ``name_id, duration_ns`` of the CUDA calls."""
    report.require(tables.RUNTIME, "start", "end", "nameId", remedy=ERAS)
    rows = report.columns(
        f'SELECT coalesce(nameId, -1) AS name_id, start AS start_ns, "end" AS end_ns '
        f"FROM {tables.RUNTIME}",
        tables.count(report, tables.RUNTIME),
    )
    times(report, tables.RUNTIME, rows)
    return {"name_id": rows["name_id"], "duration_ns": rows["end_ns"] - rows["start_ns"]}


def check_joined(report: Report, rows: int, kernels: int) -> None:
    """Refuse to join what NVIDIA's report joins, where one correlation id stands for everything.

    Args:
        report: what was recorded.
        rows: how many the join would have: kernels with each call of their id, in each range.
        kernels: how many kernels there are; a few rows for each is what a recording has.

    Raises:
        ReportError: the rows would take more memory than a report of this size is worth.
    """
    if rows > MOST_JOINED + MOST_JOINED_A_KERNEL * kernels:
        problem = f"calls and kernels share correlation ids, {rows:,} pairs of them"
        remedy = "ask `ranges`, which counts a kernel at the first call of its id"
        raise ReportError(report.path, problem, remedy)


def names_of(report: Report, ids: Int64) -> tuple[list[str], Int64]:
    """Return the distinct texts of string ids, ascending, and each id's position; else `NONE`."""
    distinct, place = tables.compact(ids - tables.MISSING)
    distinct += tables.MISSING
    known = tables.known_strings(report, distinct[distinct != tables.MISSING].tolist())
    names, number = coded(map(known.get, distinct.tolist()))
    return names, number[place]


def memory(report: Report, value: str) -> tuple[list[str], Int64, Int64]:
    """Return the copies and sets: the names of their kinds, ``(N,)`` kinds and ``(N,)`` values.

    Args:
        report: where to look.
        value: SQL for what is wanted of each.

    Raises:
        ReportError: the values add up to more than can be reckoned with.
    """
    labels: list[str] = []
    kinds, values = [], []
    if report.has(COPY):
        report.require(COPY, "copyKind", "bytes", remedy=ERAS)
        report.require(OPERATIONS, "id", "label", remedy="export it with an nsys of 2021 or newer")
        known = report.columns(
            f"SELECT id, cast('[CUDA memcpy ' || coalesce(label, '') || ']' AS text) AS label "
            f"FROM {OPERATIONS} ORDER BY 1, 2",
            text=("label",),
        )
        labels = known["label"].tolist()
        rows = report.columns(
            f"SELECT coalesce(copyKind, -1) AS kind, {value} AS value FROM {COPY}"
        )
        place = {number: place for place, number in enumerate(known["id"].tolist())}
        ids, group = tables.compact(rows["kind"] - tables.MISSING)
        kind = np.array([place.get(one + tables.MISSING, NONE) for one in ids.tolist()], np.int64)[
            group
        ]
        # An inner join: a copy of a kind that is not listed is left out.
        kinds.append(kind[kind != NONE])
        values.append(rows["value"][kind != NONE])
    if report.has(SET):
        report.require(SET, "bytes", remedy=ERAS)
        rows = report.columns(f"SELECT {value} AS value FROM {SET}")
        kinds.append(np.full(len(rows["value"]), len(labels)))
        values.append(rows["value"])
    found = np.concatenate(values)
    check_sum(report, COPY, np.zeros_like(found), found)
    return [*labels, "[CUDA memset]"], np.concatenate(kinds), found


@dataclass(frozen=True)
class Domain:
    """An NVTX domain as NVIDIA's reports join it; ``name`` None where it was made without one."""

    number: int
    process: int
    name: str | None


def domains(report: Report) -> list[Domain]:
    """Return the NVTX domains; of those that a thread made under one number the first counts."""
    if not report.has(tables.NVTX, "domainId", "text"):
        return []
    rows = report.columns(
        "SELECT domainId AS number, coalesce(globalTid, -1) AS thread, "
        "coalesce(start, 0) AS first, CASE WHEN text IS NULL THEN 1 ELSE 0 END AS unnamed, "
        f"cast(coalesce(text, '') AS text) AS text FROM {tables.NVTX} "
        f"WHERE eventType = {tables.DOMAIN_CREATE} AND domainId IS NOT NULL",
        text=("text",),
    )
    rows = in_order(rows, "number", "thread", "first")
    made = np.stack([rows["number"], rows["thread"]])
    begins = np.append(True, (np.diff(made, axis=1) != 0).any(axis=0))[: made.shape[1]]
    rows = {name: column[begins] for name, column in rows.items()}
    fields = (rows[name].tolist() for name in ("number", "thread", "unnamed", "text"))
    return [
        Domain(number, process_of(thread), None if unnamed else text)
        for number, thread, unnamed, text in zip(*fields, strict=True)
        if thread != tables.MISSING
    ]


def last_instant(report: Report) -> int:
    """Return the last start or end of any NVTX event; MISSING where none has an end."""
    found = report.columns(
        f'SELECT coalesce(max(start), -1) AS start_ns, coalesce(max("end"), -1) AS end_ns, '
        f'count(start) AS starts, count("end") AS ends FROM {tables.NVTX}'
    )
    start, end, starts, ends = (int(column[0]) for column in found.values())
    return max(start, end) if starts and ends else tables.MISSING


def ranges(report: Report, *, prefix: bool = True, once: bool = False) -> RangeRows:
    """Return the ranges as NVIDIA's reports name them, ordered as `as_they_lie` says.

    A range of a domain is called ``domain:name``. A domain that two threads of a process made under
    one number doubles its ranges, as NVIDIA's join does.

    Args:
        report: where to look.
        prefix: whether to put the domain in front of the name.
        once: whether doubling is an error, as where NVIDIA's report keeps them in an index.

    Raises:
        ReportError: a range is doubled and must not be.
    """
    report.require(tables.NVTX, "start", "end", "globalTid", "eventType", remedy=ERAS)
    made = domains(report) if prefix else []
    if not any(domain.name is not None for domain in made) and len(
        {(domain.number, domain.process) for domain in made}
    ) == len(made):
        return checked_ranges(report, range_rows(report, as_they_lie=True))
    rows_read = range_rows(report, as_they_lie=True, domain="coalesce(domainId, -1)")
    found = checked_ranges(report, rows_read)
    process = process_of(found.thread)
    rows, codes = [], []
    names = [*found.names]
    left = np.ones(len(found), np.bool_)
    for domain in made:
        here = np.flatnonzero((found.more["domain"] == domain.number) & (process == domain.process))
        code = found.name[here]
        if domain.name is not None:
            used, place = tables.compact(code - NONE)
            begin = len(names) - int(used[0] == 0 if len(used) else 0)
            names += [f"{domain.name}:{found.names[one + NONE]}" for one in used.tolist() if one]
            code = np.where(code == NONE, NONE, place + begin)
        rows.append(here)
        codes.append(code)
        left[here] = False
    rows.append(np.flatnonzero(left))
    codes.append(found.name[left])
    row, code = np.concatenate(rows), np.concatenate(codes)
    if once and len(row) > len(found):
        raise ReportError(report.path, "two threads made one NVTX domain", NSYS_FAILS)
    order = np.argsort(row, kind="stable")
    return renamed(found.take(row[order]), names, code[order])


def checked_ranges(report: Report, found: RangeRows) -> RangeRows:
    """Return ranges as they are, if their times can be added up: see `times`."""
    unclosed = found.end_ns == tables.MISSING
    last = max(int(found.end_ns.max(initial=0)), int(found.start_ns.max(initial=0)))
    check_sum(report, tables.NVTX, found.start_ns, np.where(unclosed, last, found.end_ns))
    return found


def renamed(found: RangeRows, names: list[str], code: Int64) -> RangeRows:
    """Return ranges under other names, a list that may hold names twice or in any order."""
    used, place = tables.compact(code - NONE)
    ascending, new = coded(names[number + NONE] if number else None for number in used.tolist())
    return replace(found, names=ascending, name=new[place])
