"""The NVTX ranges of a report, as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.global_ids import process_of
from analysis.arithmetic.intervals import NONE, ordered, parents
from analysis.knowledge.vocabulary import canonical
from analysis.source import tables
from analysis.source.nvtx_tables import RangeRows, domain_rows, has_ranges, range_rows
from analysis.source.operator_tables import operator_domains
from analysis.source.times import sensible

if TYPE_CHECKING:
    from analysis.source.report import Report


class RangeNames(list[str]):
    """Distinct names of ranges, which may be as many as there are ranges."""

    @cached_property
    def _canonical(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, name in enumerate(self):
            found.setdefault(canonical(name), []).append(place)
        return found

    def spelling(self, name: str) -> list[int]:
        """Return the positions of a name and of its other spellings."""
        return self._canonical.get(name, [])


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
        inferred: ``(N,)`` which were not recorded but follow from what was.
    """

    names: RangeNames
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
    inferred: Bools

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
        there = np.zeros(len(self.names), np.bool_)
        there[self.names.spelling(name)] = True
        return there[self.name]

    def take(self, kept: Bools | Int64) -> Self:
        """Return some of the ranges, by a mask or in an order of positions."""
        if kept.dtype == np.bool_ and bool(kept.all()):
            return self
        fields = (
            *("name", "start_ns", "end_ns", "thread", "process", "payload"),
            *("start_end", "elsewhere", "domain", "inferred"),
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
        number = np.searchsorted(distinct(where), where)
        where = number * (int(group.max(initial=0)) + 1) + group
    result: Bools = parents(ranges.start_ns, ranges.end_ns, where) == NONE
    return result


def load(report: Report) -> Ranges:
    """Return the NVTX ranges of a report, read once, without those that stand for operators."""
    return report.once(all_ranges)


def all_ranges(report: Report) -> Ranges:
    """Return what `load` does, read anew."""
    if not has_ranges(report):
        none, no = np.empty(0, np.int64), np.empty(0, np.bool_)
        return Ranges(RangeNames(), none, none, none, none, none, none, no, no, [""], none, 0, no)
    condition = "".join(
        f" AND NOT (coalesce(domainId, -1) = {domain} AND "
        f"{tables.process_of(report, tables.NVTX, 'globalTid')} = {process})"
        for domain, process in operator_domains(report)
    )
    payload = tables.first(report, tables.NVTX, "int64Value", "uint64Value")
    known = domain_names(report)
    more = {"domain": "coalesce(domainId, -1)"} if known else {}
    found = range_rows(report, condition, as_they_lie=False, payload=payload, **more)
    rows = {"start_ns": found.start_ns, "end_ns": found.end_ns, "row": np.arange(len(found))}
    good = sensible(report, tables.NVTX, rows, unclosed=True)["row"]
    found = found if len(good) == len(found) else found.take(good)
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
    result = Ranges(
        names=RangeNames(names),
        name=name,
        start_ns=found.start_ns,
        end_ns=end,
        thread=found.thread,
        process=process_of(found.thread),
        payload=found.more["payload"],
        start_end=found.start_end,
        elsewhere=found.elsewhere,
        domains=domains,
        domain=domain,
        unclosed=int(unclosed.sum()),
        inferred=np.zeros(len(name), np.bool_),
    )
    return _by_thread(report, result, order)


def _by_thread(report: Report, ranges: Ranges, order: Int64) -> Ranges:
    """Return the ranges of a report in an order; columns that are in it stay where they are."""
    if bool((order[1:] > order[:-1]).all()):
        return ranges
    fields = ("name", "start_ns", "end_ns", "thread", "payload", "domain")
    columns = report.database.kept(
        "ranges by thread",
        lambda: {field: getattr(ranges, field)[order] for field in fields},
    )
    return replace(
        ranges,
        name=columns["name"],
        start_ns=columns["start_ns"],
        end_ns=columns["end_ns"],
        thread=columns["thread"],
        payload=columns["payload"],
        domain=columns["domain"],
        process=ranges.process[order],
        start_end=ranges.start_end[order],
        elsewhere=ranges.elsewhere[order],
    )


def domain_names(report: Report) -> dict[tuple[int, int], str]:
    """Return the NVTX domains that have a name, by number and process; the first made counts."""
    rows = domain_rows(report)
    latest_first = np.argsort(-rows["start_ns"], kind="stable")
    columns = (rows[field][latest_first].tolist() for field in ("domain", "process", "text"))
    return {(number, process): text for number, process, text in zip(*columns, strict=True) if text}


def domains_of(found: RangeRows, known: dict[tuple[int, int], str]) -> tuple[list[str], Int64]:
    """Return the names of domains, the first "", and ``(N,)`` which of them each range is in."""
    names = ["", *sorted(set(known.values()))]
    domain = np.zeros(len(found), np.int64)
    process = process_of(found.thread)
    for (number, owner), name in known.items():
        domain[(found.more["domain"] == number) & (process == owner)] = names.index(name)
    return names, domain
