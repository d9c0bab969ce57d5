"""The NVTX ranges of a report, as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE, ordered, parents
from analysis.knowledge.vocabulary import canonical
from analysis.source import tables
from analysis.source.operator_tables import domain_rows, operator_domains

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

RANGE_TYPES: Final = (tables.PUSH_POP, tables.START_END, 70, 71)
"""`NVTX_EVENTS.eventType` of ranges; 70 and 71 are those of nvtxt files."""

START_END_TYPES: Final = (tables.START_END, 71)

NO_TEXT: Final = "\0"
"""Stands for NULL where text is read; no text of C can hold it."""


@dataclass(frozen=True)
class Events:
    """The rows of `NVTX_EVENTS` that are ranges, in the order of the file.

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


@dataclass(frozen=True)
class Ranges:
    """Ranges, ordered by thread, then start, the longer of two that start together first.

    Attributes:
        names: ``(K,)`` distinct names as they were recorded, ascending; unnamed ones are "".
        name: ``(N,)`` the position of each range's name.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``; of a range that was never closed, the last instant of any range.
        thread: ``(N,)`` the global id of the thread that opened it.
        process: ``(N,)`` its process id.
        payload: ``(N,)`` its 64-bit payload, in our own reports FLOPs, or `tables.MISSING`.
        start_end: ``(N,)`` whether it is of the start/end style, not push/pop.
        elsewhere: ``(N,)`` whether another thread ended it; such a range contains no call.
        domains: the names of the NVTX domains, the first "" for the one without a name.
        domain: ``(N,)`` the position of each range's domain.
        unclosed: how many were never closed.
    """

    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    process: Int64
    payload: Int64
    start_end: Bools
    elsewhere: Bools
    domains: list[str]
    domain: Int64
    unclosed: int

    def __len__(self) -> int:
        return len(self.name)

    @property
    def wall_ns(self) -> Int64:
        """``(N,)`` how long each was open."""
        return self.end_ns - self.start_ns

    def where(self, wanted: Callable[[str], bool]) -> Bools:
        """Return ``(N,)`` which ranges have a canonical name that is wanted."""
        return np.array([wanted(canonical(name)) for name in self.names], np.bool_)[self.name]

    def called(self, name: str) -> Bools:
        """Return ``(N,)`` which ranges have this name, or another spelling of it."""
        return self.where(lambda known: known == name)

    def take(self, kept: Bools) -> Self:
        """Return some of the ranges."""
        fields = (
            *("name", "start_ns", "end_ns", "thread", "process", "payload"),
            *("start_end", "elsewhere", "domain"),
        )
        return replace(self, **{field: getattr(self, field)[kept] for field in fields})


def outermost(ranges: Ranges, group: Int64 | None = None, place: Int64 | None = None) -> Bools:
    """Return ``(R,)`` which ranges lie in no other one of their group, on their thread.

    Args:
        ranges: ``R`` of them.
        group: ``(R,)`` a number from 0 for what is alike, such as the name; None for all alike.
        place: ``(R,)`` what tells apart where ranges are; None for their threads.
    """
    where = ranges.thread if place is None else place
    if group is not None:
        _, number = np.unique(where, return_inverse=True)
        where = number.astype(np.int64) * (int(group.max(initial=0)) + 1) + group
    result: Bools = parents(ranges.start_ns, ranges.end_ns, where) == NONE
    return result


def has_ranges(report: Report) -> bool:
    """Return whether the report can hold NVTX ranges at all."""
    return report.has(tables.NVTX, "start", "end", "globalTid", "eventType")


def load(report: Report) -> Ranges:
    """Return the NVTX ranges of a report, read once, without those that stand for operators."""
    return report.once(_read)


def _read(report: Report) -> Ranges:
    if not has_ranges(report):
        none, no = np.empty(0, np.int64), np.empty(0, np.bool_)
        return Ranges([], none, none, none, none, none, none, no, no, [""], none, 0)
    condition = "".join(
        f" AND NOT (coalesce(domainId, -1) = {domain} AND "
        f"{tables.process_of(report, tables.NVTX, 'globalTid')} = {process})"
        for domain, process in operator_domains(report)
    )
    payload = tables.first(report, tables.NVTX, "int64Value", "uint64Value")
    known = domain_names(report)
    more = {"domain": "coalesce(domainId, -1)"} if known else {}
    found = events(report, condition, payload=payload, **more)
    domains, domain = domains_of(found, known)
    unclosed = found.end_ns == tables.MISSING
    end = found.end_ns
    if unclosed.any():
        end = np.where(unclosed, max(int(found.start_ns.max()), int(end.max())), end)
    order = ordered(found.start_ns, end, found.thread)
    names, name = found.names, found.name
    if bool((name == NONE).any()):
        # "" sorts before every other name, and may be there already.
        shift = 0 if "" in names else 1
        names = names if not shift else ["", *names]
        name = np.where(name == NONE, 0, name + shift)
    thread = found.thread[order]
    return Ranges(
        names=names,
        name=name[order],
        start_ns=found.start_ns[order],
        end_ns=end[order],
        thread=thread,
        process=process_of(thread),
        payload=found.more["payload"][order],
        start_end=found.start_end[order],
        elsewhere=found.elsewhere[order],
        domains=domains,
        domain=domain[order],
        unclosed=int(unclosed.sum()),
    )


def domain_names(report: Report) -> dict[tuple[int, int], str]:
    """Return the NVTX domains that have a name, by number and process; the first made counts."""
    rows = domain_rows(report)
    latest_first = np.argsort(-rows["start_ns"], kind="stable")
    columns = (rows[field][latest_first].tolist() for field in ("domain", "process", "text"))
    return {(number, process): text for number, process, text in zip(*columns, strict=True) if text}


def domains_of(found: Events, known: dict[tuple[int, int], str]) -> tuple[list[str], Int64]:
    """Return the names of domains, the first "", and ``(N,)`` which of them each range is in."""
    names = ["", *sorted(set(known.values()))]
    domain = np.zeros(len(found), np.int64)
    process = process_of(found.thread)
    for (number, owner), name in known.items():
        domain[(found.more["domain"] == number) & (process == owner)] = names.index(name)
    return names, domain


def events(report: Report, condition: str = "", **more: str) -> Events:
    """Return the ranges of `NVTX_EVENTS`, names found.

    Args:
        report: where to look; `has_ranges`.
        condition: SQL to add to the WHERE.
        more: further columns, each as SQL that is never NULL.
    """
    ended = '"endGlobalTid"' if report.has(tables.NVTX, "endGlobalTid") else "NULL"
    name_id, _ = tables.name_sql(report)
    where = f"WHERE eventType IN ({', '.join(map(str, RANGE_TYPES))}){condition}"
    extra = "".join(f", {sql} AS {name}" for name, sql in more.items())
    rows, texts = report.database.columns_with_text(
        f'SELECT start AS start_ns, coalesce("end", -1) AS end_ns, '
        f"coalesce(globalTid, -1) AS thread, {name_id} AS name_id, {own_text(report)} AS text, "
        f"(eventType IN ({', '.join(map(str, START_END_TYPES))})) "
        f"+ CASE WHEN {ended} IS NULL THEN 0 WHEN {ended} IN (0, globalTid) THEN 2 ELSE 6 END "
        f"AS flags{extra} FROM {tables.NVTX} {where} ORDER BY rowid",
        "text",
        tables.count(report, tables.NVTX),
    )
    names, name = named(report, rows["name_id"], texts, where)
    return Events(
        names=names,
        name=name,
        start_ns=rows["start_ns"],
        end_ns=rows["end_ns"],
        thread=rows["thread"],
        start_end=(rows["flags"] & 1).astype(np.bool_),
        has_end_thread=(rows["flags"] & 2).astype(np.bool_),
        elsewhere=(rows["flags"] & 4).astype(np.bool_),
        more={column: rows[column] for column in more},
    )


def own_text(report: Report) -> str:
    """Return SQL for the text of a row that has no registered string: a blob, never NULL."""
    if not report.has(tables.NVTX, "text"):
        return "x'00'"
    text = "cast(coalesce(text, char(0)) AS blob)"
    if not report.has(tables.NVTX, "textId"):
        return text
    return f"CASE WHEN textId IS NULL THEN {text} ELSE x'00' END"


def named(
    report: Report, name_id: Int64, texts: tuple[list[str], Int64], where: str
) -> tuple[list[str], Int64]:
    """Return the distinct names of these rows, ascending, and each row's; `NONE` where unnamed.

    A registered string wins over the row's own text, as in NVIDIA's reports.

    Args:
        report: where the strings are.
        name_id: ``(N,)`` ids of registered strings, or `tables.MISSING`.
        texts: distinct texts, and ``(N,)`` the position of each row's own among them.
        where: SQL that selects the rows.
    """
    ids, place = tables.compact(name_id - tables.MISSING)
    ids += tables.MISSING
    known = tables.known_strings(report, ids[ids != tables.MISSING].tolist())
    lost = np.array([number not in known for number in ids.tolist()], np.bool_)
    if bool((ids[lost] != tables.MISSING).any()) and report.has(tables.NVTX, "text"):
        # An id of no string, which no exporter writes: the text of every row is read.
        sql = f"SELECT cast(coalesce(text, char(0)) AS blob) AS text FROM {tables.NVTX} {where}"
        texts = report.coded(f"{sql} ORDER BY rowid", len(name_id))
    words = [known.get(number, NO_TEXT) for number in ids.tolist()]
    code = np.where(lost[place], texts[1] + len(words), place)
    words += texts[0]
    used = np.zeros(len(words), np.bool_)
    used[code] = True
    names = sorted({words[number] for number in np.flatnonzero(used).tolist()} - {NO_TEXT})
    position = {name: number for number, name in enumerate(names)}
    return names, np.array([position.get(word, NONE) for word in words], np.int64)[code]
