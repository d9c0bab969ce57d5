"""The NVTX ranges of a report, as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from analysis import tables
from analysis.operators import distinct
from analysis.vocabulary import canonical

if TYPE_CHECKING:
    from analysis.report import Report

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RANGE_TYPES: Final = (tables.PUSH_POP, tables.START_END, 70, 71)
"""`NVTX_EVENTS.eventType` of ranges; 70 and 71 are those of nvtxt files."""


@dataclass(frozen=True)
class Ranges:
    """Ranges, ordered by thread, then start, the longer of two that start together first.

    Attributes:
        names: ``(K,)`` distinct names as they were recorded, ascending.
        name: ``(N,)`` the position of each range's name.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``; of a range that was never closed, the last instant of any range.
        thread: ``(N,)`` the global id of the thread that opened it.
        process: ``(N,)`` its process id.
        payload: ``(N,)`` its 64-bit payload, in our own reports FLOPs, or `tables.MISSING`.
        unclosed: how many were never closed.
    """

    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    process: Int64
    payload: Int64
    unclosed: int

    def __len__(self) -> int:
        return len(self.name)

    @property
    def wall_ns(self) -> Int64:
        """How long each was open."""
        return self.end_ns - self.start_ns

    def where(self, wanted: Callable[[str], bool]) -> Bools:
        """Return which ranges have a canonical name that is wanted."""
        return np.array([wanted(canonical(name)) for name in self.names], np.bool_)[self.name]

    def called(self, name: str) -> Bools:
        """Return which ranges have this name, or another spelling of it."""
        return self.where(lambda known: known == name)

    def take(self, kept: Bools) -> Self:
        """Return some of the ranges."""
        fields = ("name", "start_ns", "end_ns", "thread", "process", "payload")
        return replace(self, **{field: getattr(self, field)[kept] for field in fields})


def has_ranges(report: Report) -> bool:
    """Return whether the report can hold NVTX ranges at all."""
    return report.has(tables.NVTX, "start", "end", "globalTid", "eventType")


def load(report: Report) -> Ranges:
    """Return the ranges of a report, without those that stand for CPU operators."""
    if not has_ranges(report):
        none = np.empty(0, np.int64)
        return Ranges([], none, none, none, none, none, none, 0)
    name_id, text = tables.name_sql(report)
    kinds = ", ".join(map(str, RANGE_TYPES))
    domains = "".join(
        f" AND NOT (coalesce(domainId, -1) = {domain} AND "
        f"{tables.process_of(report, tables.NVTX, 'globalTid')} = {process})"
        for domain, process in tables.operator_domains(report)
    )
    rows = report.columns(
        f'SELECT start AS start_ns, coalesce("end", -1) AS end_ns, ("end" IS NULL) AS unclosed, '
        f"coalesce(globalTid, -1) AS thread, "
        f"{tables.process_of(report, tables.NVTX, 'globalTid')} AS process, "
        f"{name_id} AS name_id, {text} AS text, "
        f"{tables.first(report, tables.NVTX, 'int64Value', 'uint64Value')} AS payload "
        f"FROM {tables.NVTX} WHERE eventType IN ({kinds}){domains} ORDER BY rowid",
        tables.count(report, tables.NVTX),
    )
    names, name = distinct(tables.texts_of(report, rows))
    start, end, unclosed = rows["start_ns"], rows["end_ns"], rows["unclosed"] == 1
    if unclosed.any():
        last = max(int(start.max()), int(end.max()))
        end = np.where(unclosed, last, end)
    order = np.lexsort((-end, start, rows["thread"]))
    return Ranges(
        names=names,
        name=name[order],
        start_ns=start[order],
        end_ns=end[order],
        thread=rows["thread"][order],
        process=rows["process"][order],
        payload=rows["payload"][order],
        unclosed=int(unclosed.sum()),
    )
