"""The rows of `NVTX_EVENTS`: ranges with their names, domains, and payloads with their schemas.

A registered string wins over the row's own text, as in NVIDIA's reports. Text is read in the same
pass as the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64, coded
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.row_order import in_order
from analysis.knowledge.vocabulary import canonical
from analysis.source import tables
from analysis.source.tables import DOMAIN_CREATE, NVTX, first, name_sql
from profiling import names as range_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.source.database import Columns
    from analysis.source.report import Report

RANGE_TYPES: Final = (tables.PUSH_POP, tables.START_END, 70, 71)
"""`NVTX_EVENTS.eventType` of ranges; 70 and 71 are those of nvtxt files."""

START_END_TYPES: Final = (tables.START_END, 71)

PAYLOAD: Final = "NVTX_PAYLOAD_"
"""How the names of the tables begin that tell what programs declared their payloads to be."""

NO_TEXT: Final = "\0"
"""Stands for a name that is not there; no text of C can hold it."""


@dataclass(frozen=True)
class RangeRows:
    """The rows of `NVTX_EVENTS` that are ranges, in order of time, the longer first.

    Attributes:
        names: ``(K,)`` distinct names, ascending.
        name: ``(N,)`` the position of each range's name, `NONE` where it has none.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``, `tables.MISSING` where it was never closed.
        thread: ``(N,)`` the global id of the thread that opened it.
        start_end: ``(N,)`` whether it is of the start/end style, not push/pop.
        has_end_thread: ``(N,)`` whether a thread is noted that ended it.
        elsewhere: ``(N,)`` whether that is another than the one that began it.
        more: further columns that were asked for.
    """

    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    start_end: Bools
    has_end_thread: Bools
    elsewhere: Bools
    more: Columns

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, kept: Bools | Int64) -> Self:
        """Return some of the rows."""
        fields = (
            *("name", "start_ns", "end_ns", "thread"),
            *("start_end", "has_end_thread", "elsewhere"),
        )
        more = {name: column[kept] for name, column in self.more.items()}
        return replace(self, **{field: getattr(self, field)[kept] for field in fields}, more=more)


def has_ranges(report: Report) -> bool:
    """Return whether the report can hold NVTX ranges at all."""
    return report.has(tables.NVTX, "start", "end", "globalTid", "eventType")


def domain_rows(report: Report) -> Columns:
    """Return the NVTX domains that processes made, read once: ``domain, process, start_ns``, names.

    The name is the text of the row, or its registered string: ``text`` and ``name_id``.
    """
    return report.once(_domain_rows)


def _domain_rows(report: Report) -> Columns:
    if not report.has(NVTX, "eventType", "domainId", "globalTid"):
        fields = ("domain", "process", "start_ns", "name_id")
        none = dict.fromkeys(fields, np.empty(0, np.int64))
        return {**none, "text": np.empty(0, object)}
    name_id, text = name_sql(report)
    rows = report.columns(
        f"SELECT domainId AS domain, {first(report, NVTX, 'globalTid')} AS thread, "
        f"coalesce(start, 0) AS start_ns, {name_id} AS name_id, {text} AS text FROM {NVTX} "
        f"WHERE eventType = {DOMAIN_CREATE} AND domainId IS NOT NULL",
        text=("text",),
    )
    return in_order({"process": process_of(rows.pop("thread")), **rows}, "start_ns")


def range_rows(
    report: Report, condition: str = "", *, as_they_lie: bool = False, **more: str
) -> RangeRows:
    """Return the ranges of `NVTX_EVENTS`, names found.

    Args:
        report: where to look; `has_ranges`.
        condition: SQL to add to the WHERE.
        as_they_lie: whether they are in the order of the file, where that has one that counts.
        more: further columns, each as SQL that is never NULL.
    """
    rows, texts = _ranges_and_texts(report, condition, more, {})
    names, name = _named(report, rows, texts[OWN_TEXT])
    by_time = not (as_they_lie and report.database.keeps_order)
    return _in_order(names, {"name": name, **rows}, tuple(more), by_time=by_time)


OWN_TEXT: Final = "text"
"""What the column of a row's own text is called."""


def _ranges_and_texts(
    report: Report, condition: str, more: Mapping[str, str], texts: Mapping[str, str]
) -> tuple[Columns, dict[str, tuple[list[str], Int64]]]:
    """Return the columns of ranges as they are read, and those of text, their own among them.

    Args:
        report: where to look.
        condition: SQL to add to the WHERE.
        more: further columns of numbers, each as SQL that is never NULL.
        texts: further columns of text.
    """
    ended = '"endGlobalTid"' if report.has(tables.NVTX, "endGlobalTid") else "NULL"
    name_id, _ = tables.name_sql(report)
    listed = "".join(f", {sql} AS {name}" for name, sql in {**more, **texts}.items())

    def read(own: str, nameless: str) -> tuple[Columns, dict[str, tuple[list[str], Int64]]]:
        return report.database.columns_with_text(
            f'SELECT start AS start_ns, coalesce("end", -1) AS end_ns, '
            f"coalesce(globalTid, -1) AS thread, {name_id} AS name_id, {own} AS {OWN_TEXT}, "
            f"CASE WHEN eventType IN ({', '.join(map(str, START_END_TYPES))}) THEN 1 ELSE 0 END "
            f"+ CASE WHEN {ended} IS NULL THEN 0 WHEN {ended} IN (0, globalTid) THEN 2 ELSE 6 END "
            f"+ CASE WHEN {nameless} THEN 8 ELSE 0 END AS flags{listed} FROM {tables.NVTX} "
            f"WHERE eventType IN ({', '.join(map(str, RANGE_TYPES))}){condition}",
            (OWN_TEXT, *texts),
            tables.count(report, tables.NVTX),
        )

    if not report.has(tables.NVTX, "text"):
        return read("''", "1 = 1")
    text, nameless = "cast(coalesce(text, '') AS text)", "text IS NULL"
    if not report.has(tables.NVTX, "textId"):
        return read(text, nameless)
    found = read(f"CASE WHEN textId IS NULL THEN {text} ELSE '' END", nameless)
    registered = np.unique(found[0]["name_id"]).tolist()
    if len(tables.known_strings(report, registered)) < len({*registered} - {tables.MISSING}):
        # An id of no string, which no exporter writes: the text of every row is read.
        return read(text, nameless)
    return found


def _named(
    report: Report, rows: Columns, texts: tuple[list[str], Int64]
) -> tuple[list[str], Int64]:
    """Return the distinct names of these rows, ascending, and each row's; `NONE` where unnamed.

    A registered string wins over the row's own text, as in NVIDIA's reports.

    Args:
        report: where the strings are.
        rows: ``name_id``, the ids of registered strings or `tables.MISSING`, and ``flags``.
        texts: distinct texts, and ``(N,)`` the position of each row's own among them.
    """
    ids, place = tables.compact(rows["name_id"] - tables.MISSING)
    ids += tables.MISSING
    known = tables.known_strings(report, ids[ids != tables.MISSING].tolist())
    lost = np.array([number not in known for number in ids.tolist()], np.bool_)
    words = [*(known.get(number, NO_TEXT) for number in ids.tolist()), *texts[0], NO_TEXT]
    own = np.where(rows["flags"] & 8, len(words) - 1, texts[1] + len(ids))
    code = np.where(lost[place], own, place)
    used = np.zeros(len(words), np.bool_)
    used[code] = True
    pairs = zip(words, used.tolist(), strict=True)
    names, position = coded((word if it_is else None for word, it_is in pairs), NO_TEXT)
    return names, position[code]


def _in_order(
    names: list[str], rows: Columns, more: Sequence[str], *, by_time: bool = True
) -> RangeRows:
    """Return ranges in order of time, the longer first of two that begin together; or as read."""
    numbers = {field: column for field, column in rows.items() if field != "name_id"}
    ranks = {"name": lambda: _outer_first(names)}
    rows = numbers
    if by_time:
        rows = in_order(numbers, "start_ns", "-end_ns", "thread", "name", ranks=ranks)
    return RangeRows(
        names=names,
        name=rows["name"],
        start_ns=rows["start_ns"],
        end_ns=rows["end_ns"],
        thread=rows["thread"],
        start_end=(rows["flags"] & 1).astype(np.bool_),
        has_end_thread=(rows["flags"] & 2).astype(np.bool_),
        elsewhere=(rows["flags"] & 4).astype(np.bool_),
        more={column: rows[column] for column in more},
    )


def _outer_first(names: list[str]) -> Int64:
    """Return ``(K + 1,)`` the rank of each name among ranges of the same time, and of no name.

    A step or phase has the other ranges in it; the rest go by their letters.
    """
    outer = (range_names.WARMUP, range_names.STEP, *range_names.PHASES)
    place = {name: number for number, name in enumerate(outer)}
    depth = np.array([place.get(canonical(name), len(outer)) for name in names], np.int64)
    width = len(names) + 1
    return np.append(depth * width + np.arange(1, width), len(outer) * width)


def payload_schemas(report: Report) -> Columns:
    """Return the schemas of payloads: ``domain, number, type, size, pack``; 0 where not told."""
    fields = {"type": "type", "size": "payloadSize", "pack": "alignTo"}
    return _declared(report, "SCHEMAS", fields)


def payload_entries(report: Report) -> Columns:
    """Return what schemas consist of: ``domain, number, place, flags, type, detail, offset, text``.

    The place is that in its schema, the text the label. Two processes that declared the same have
    it once, what each declared otherwise stands there twice.
    """
    fields = {"place": "idx", "flags": "flags", "type": "type", "detail": "arrayOrUnionDetail"}
    return _declared(report, "SCHEMA_ENTRIES", {**fields, "offset": "offset"}, text=True)


def payload_enums(report: Report) -> Columns:
    """Return the enumerations of payloads: ``domain, number, size``, that of a value in bytes."""
    return _declared(report, "ENUMS", {"size": "size"})


def _declared(
    report: Report, table: str, fields: Mapping[str, str], *, text: bool = False
) -> Columns:
    """Return the distinct rows of a table of declarations, in the order of their first fields."""
    fields = {"domain": "domainId", "number": "schemaId", **fields}
    name = f"{PAYLOAD}{table}"
    if not report.has(name, *fields.values(), *(("name",) if text else ())):
        none = dict.fromkeys(fields, np.empty(0, np.int64))
        return {**none, "text": np.empty(0, object)} if text else none
    chosen = [f'coalesce("{column}", 0) AS {ours}' for ours, column in fields.items()]
    label = ["cast(coalesce(name, '') AS text) AS text"] if text else []
    order = ", ".join(str(place + 1) for place in range(len(chosen) + len(label)))
    return report.columns(
        f"SELECT DISTINCT {', '.join([*chosen, *label])} FROM {name} ORDER BY {order}",
        text=("text",) if text else (),
    )


def has_payloads(report: Report) -> bool:
    """Return whether any event has a payload of bytes; an export leaves them out unless asked."""
    if not has_ranges(report) or not report.has(NVTX, "binaryData"):
        return False
    sql = f"SELECT 1 AS there FROM {NVTX} WHERE binaryData IS NOT NULL LIMIT 1"
    return len(report.columns(sql)["there"]) > 0


def payload_ranges(report: Report) -> tuple[RangeRows, list[str], Int64]:
    """Return the ranges with a payload of bytes, with ``domain`` among ``more``; `has_payloads`.

    Returns:
        The ranges, ``N`` of them, the distinct payloads in hexadecimal digits, and ``(N,)`` the
        position of each range's. What a file holds as text is taken for such digits.
    """
    rows, texts = _ranges_and_texts(
        report,
        " AND binaryData IS NOT NULL",
        {
            "domain": "coalesce(domainId, -1)",
            "bytes": "CASE WHEN lower(typeof(binaryData)) = 'blob' THEN 1 ELSE 0 END",
        },
        {"digits": "hex(binaryData)"},
    )
    names, name = _named(report, rows, texts[OWN_TEXT])
    codes, code = texts["digits"]
    # Text has been made digits once more than it was.
    of_text = [bytes.fromhex(each).decode(errors="replace") for each in codes]
    digits, position = coded([*codes, *of_text])
    payload = position[np.where(rows["bytes"] > 0, code, code + len(codes))]
    found = _in_order(names, {"name": name, **rows, "payload": payload}, ("domain", "payload"))
    return found, digits, found.more["payload"]
