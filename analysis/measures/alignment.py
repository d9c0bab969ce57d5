"""Reports of one run, a rank each, on one clock, and which collectives they share.

Each recording counts from its own start. Its UTC time brings them together as well as the clocks of
the machines agree; collectives do better. None of them ends anywhere before all ranks have begun
it, and all ranks end it within microseconds, so the median of the differences between the ends of
the same collectives is the difference of the clocks. The same collectives are those of one process
group, kind, size and number; where numbers are not recorded, of one turn, if every rank has as
many. Where neither group nor size is known, the name of what ran stands for them. Point-to-point
transfers, which concern two ranks only, count between two and are left out among more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.show.errors import ReportError
from analysis.show.render import duration, plural
from analysis.source import report_metadata

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives, Label
    from analysis.source.report import Report


ONE_RUN: Final = "give one report a rank, all of one run; of each run ask by itself"

CLOCKS_APART_NS: Final = 10_000_000_000
"""How far the clocks of two machines of one run may be apart; those kept by NTP are not by 1 s."""

PAIRWISE: Final = re.compile(r"send|recv", re.IGNORECASE)


@dataclass(frozen=True)
class SharedCollectives:
    """The collectives that several devices or processes took part in together.

    Attributes:
        row: ``(P, M)`` for each place, its row of each such collective, or `NONE` where it took no
            part.
        unmatched: how many collectives of all places are not among them.
    """

    row: Int64
    unmatched: int

    @property
    def of_all(self) -> Bools:
        """``(M,)`` which every place took part in."""
        every: Bools = (self.row != NONE).all(axis=0)
        return every


def shared_collectives(places: Sequence[DeviceCollectives]) -> SharedCollectives:
    """Return the collectives that devices share: those of one label, matched by number or turn.

    All devices take part that have any collective of the label's process group; where the group is
    not known, all there are. Where each collective has a number of its own in the group that
    counts, else the turn, and then all devices must have as many.
    """
    labelled = [place.labels() for place in places]
    groups: dict[str, set[int]] = {"": set(range(len(places)))}
    rows: dict[Label, dict[int, Int64]] = {}
    for number, (labels, of_each) in enumerate(labelled):
        order = np.argsort(of_each, kind="stable")
        ends = np.cumsum(np.bincount(of_each, minlength=len(labels)))
        for label, mine in zip(labels, np.split(order, ends[:-1]), strict=True):
            if len(mine):
                rows.setdefault(label, {})[number] = mine
                groups.setdefault(label.group, set()).add(number)
    found = [np.empty((len(places), 0), np.int64)]
    for label, of_place in rows.items():
        members = sorted(groups[label.group])
        if len(members) == len(of_place) and (
            len(members) == 2 or (len(members) > 2 and not PAIRWISE.search(label.name))
        ):
            matched = _matched([places[number] for number in members], list(of_place.values()))
            some = np.full((len(places), matched.shape[1]), NONE, np.int64)
            some[members] = matched
            found.append(some)
    row = np.concatenate(found, axis=1)
    every = sum(len(place.kind) for place in places)
    return SharedCollectives(row, every - int((row != NONE).sum()))


def _matched(places: Sequence[DeviceCollectives], rows: Sequence[Int64]) -> Int64:
    """Return the rows of each place, of some of one label, that are the same collectives."""
    numbers = [
        np.empty(0, np.int64) if place.messages is None else place.messages.sequence[mine]
        for place, mine in zip(places, rows, strict=True)
    ]
    if all(len(own) and len(np.unique(own)) == len(own) and own.min() >= 0 for own in numbers):
        common = reduce(np.intersect1d, numbers)
        return np.array(
            [
                mine[np.argsort(own)[np.searchsorted(np.sort(own), common)]]
                for own, mine in zip(numbers, rows, strict=True)
            ]
        )
    alike = len({len(mine) for mine in rows}) == 1
    return np.array(rows) if alike else np.empty((len(rows), 0), np.int64)


@dataclass(frozen=True)
class ClockAlignment:
    """The differences of the clocks of several reports.

    Attributes:
        offset_ns: ``(R,)`` to add to the times of each report; 0 for the first.
        matched: how many collectives the last step rests on; 0 if the UTC times alone.
        spread_ns: the median distance of a single collective from that.
    """

    offset_ns: Int64
    matched: int
    spread_ns: int


def align_clocks(
    places: Sequence[DeviceCollectives], started_ns: Sequence[int | None]
) -> ClockAlignment:
    """Return by how much the clocks of reports differ from that of the first.

    A report that shares nothing with the first, but with others, is brought onto their clock.
    What shares nothing with any of those before it is taken by its UTC time.

    Args:
        places: one place of each report.
        started_ns: when each recording began, UTC, or None where it does not say.
    """
    first = started_ns[0]
    known = [0 if first is None or each is None else each - first for each in started_ns]
    offset = np.array(known, np.int64)
    same = shared_collectives(places)
    if not same.row.shape[1]:
        return ClockAlignment(offset, 0, 0)
    ends = np.zeros(same.row.shape, np.int64)
    there = same.row != NONE
    for of_place, place, row, mine in zip(ends, places, same.row, there, strict=True):
        of_place[mine] = place.end_ns[row[mine]]
    spread, by, left = [0.0], 0, set(range(1, len(places)))
    done = [0]
    while by < len(done) or left:
        if by == len(done):  # what shares nothing with those stays where its UTC time puts it
            done.append(min(left))
            left.remove(done[-1])
        for number in sorted(left):
            both = there[done[by]] & there[number]
            if both.any():
                apart = ends[done[by], both] - ends[number, both]
                offset[number] = offset[done[by]] + int(np.median(apart))
                spread.append(float(np.median(np.abs(apart - int(np.median(apart))))))
                done.append(number)
                left.remove(number)
        by += 1
    return ClockAlignment(offset, same.row.shape[1], int(max(spread)))


def rank_of(report: Report, place: int) -> str:
    """Return which rank a report is of: its own word, else its name's (``rank3``), else its place.

    Args:
        report: of one rank.
        place: where it stands among those that were given, from 0.
    """
    in_name = re.search(r"rank[-_.]?(\d+)", report.path.name, re.IGNORECASE)
    return report.run.get("rank") or (str(int(in_name[1])) if in_name else str(place))


def check_ranks(reports: Sequence[Report]) -> None:
    """Refuse reports that are not of one run, a rank each.

    Raises:
        ReportError: one is given twice, two are of one rank, or of two runs.
    """
    ranks: dict[str, Report] = {}
    for report in reports:
        rank = report.run.get("rank", "")
        if any(other.path.samefile(report.path) for other in reports if other is not report):
            raise ReportError(report.path, "given twice", "name each report once")
        if rank and rank in ranks:
            problem = f"of rank {rank}, as {ranks[rank].path.name} is"
            raise ReportError(report.path, problem, "give one report a rank, all of one run")
        ranks[rank] = report
        for key in (*report_metadata.SHAPE, "world_size", "strategy"):
            here, first = (each.run.get(key, "") for each in (report, reports[0]))
            if here and first and here != first:
                problem = f"of another run: {key.replace('_', ' ')} is {here}, not {first} as in "
                raise ReportError(report.path, problem + reports[0].path.name, ONE_RUN)


def check_times(reports: Sequence[Report], places: Sequence[Sequence[DeviceCollectives]]) -> None:
    """Refuse reports that were recorded one after the other: no rank waited for the other then.

    Raises:
        ReportError: of one the work ended before that of the other began, or the other way round.
    """
    known = []
    for report, mine in zip(reports, places, strict=True):
        began = report_metadata.started_ns(report)
        ends = [bounds_of(place) for place in mine]
        if began is None or not any(last > first for first, last in ends):
            continue
        first, last = min(first for first, _ in ends), max(last for _, last in ends)
        known.append((began + first, began + last, report))
    for first, last, report in known[1:]:
        apart = max(first - known[0][1], known[0][0] - last)
        if apart > CLOCKS_APART_NS:
            problem = f"of another run: recorded {duration(apart)} "
            problem += "after" if first > known[0][0] else "before"
            raise ReportError(report.path, f"{problem} {known[0][2].path.name}", ONE_RUN)


def bounds_of(place: DeviceCollectives) -> tuple[int, int]:
    """Return when the first work of a place began and the last ended; 0, 0 if there is none."""
    start = np.concatenate([place.start_ns, place.compute.start_ns])
    end = np.concatenate([place.end_ns, place.compute.end_ns])
    return (int(start.min()), int(end.max())) if len(start) else (0, 0)


def clock_lines(reports: Sequence[Report], aligned: ClockAlignment) -> list[str]:
    """Return how the clocks of several reports were brought together."""
    if len(reports) < 2:
        return []
    if not aligned.matched:
        return ["clocks: by the time each recording began; no collective is shared by all"]
    apart = np.ptp(aligned.offset_ns)
    return [
        f"clocks: by the ends of {plural(aligned.matched, 'shared collective')}, "
        f"± {duration(aligned.spread_ns)}; recordings began within {duration(int(apart))}"
    ]


def assumed_ranks(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return a line where it is taken for granted that several reports are of one run."""
    silent = [report.path.name for report in reports if not report.run.get("rank")]
    if len(reports) < 2 or not silent:
        return ()
    return (f"which rank it is of is not said by {', '.join(silent)}: taken for ranks of one run",)
