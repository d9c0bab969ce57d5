"""Reports of one run, a rank each, on one clock, and what each rank waited for the others.

Each recording counts from its own start. Its UTC time brings them together as well as the clocks of
the machines agree; collectives do better. None of them ends anywhere before all ranks have begun
it, and all ranks end it within microseconds, so the median of the differences between the ends of
the same collectives is the difference of the clocks. The same collectives are those of one name and
one turn, where every rank has as many of that name; point-to-point transfers, which concern two
ranks only, count between two and are left out among more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.show.errors import ReportError
from analysis.show.render import duration, plural
from analysis.source import report_metadata

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives
    from analysis.source.report import Report


ONE_RUN: Final = "give one report a rank, all of one run; of each run ask by itself"

CLOCKS_APART_NS: Final = 10_000_000_000
"""How far the clocks of two machines of one run may be apart; those kept by NTP are not by 1 s."""

PAIRWISE: Final = re.compile(r"send|recv", re.IGNORECASE)


@dataclass(frozen=True)
class SharedCollectives:
    """The collectives that several devices or processes took part in together.

    Attributes:
        row: ``(P, M)`` for each place, its row of each such collective.
        unmatched: how many collectives of all places are not among them.
    """

    row: Int64
    unmatched: int


def shared_collectives(places: Sequence[DeviceCollectives]) -> SharedCollectives:
    """Return the collectives that every device has, matched by name and turn."""
    counts = [
        Counter(place.kinds[kind] for kind in place.kind.tolist() if len(place.kinds))
        for place in places
    ]
    common = {
        name
        for name in (counts[0] if len(counts) > 1 else ())
        if len({count[name] for count in counts}) == 1
        and (len(places) == 2 or not PAIRWISE.search(name))
    }
    positions = [
        {key: row for row, key in enumerate(place.keys()) if key[0] in common} for place in places
    ]
    keys = list(positions[0]) if common else []
    row = np.array([[known[key] for key in keys] for known in positions], np.int64)
    every = sum(len(place.kind) for place in places)
    return SharedCollectives(row.reshape(len(places), len(keys)), every - row.size)


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
    ends = np.array([place.end_ns[row] for place, row in zip(places, same.row, strict=True)])
    apart = ends[0] - ends
    offset = np.median(apart, axis=1).astype(np.int64)
    spread = np.median(np.abs(apart[1:] - offset[1:, None]), axis=1)
    return ClockAlignment(offset, same.row.shape[1], int(spread.max()))


def waiting_times(places: Sequence[DeviceCollectives], offset_ns: Int64) -> tuple[list[Int64], int]:
    """Return how long the collectives of each device waited until the last device had begun them.

    Args:
        places: all that took part.
        offset_ns: ``(P,)`` to bring each onto one clock.

    Returns:
        For each place ``(C,)`` times, 0 where a collective is not shared, and how many collectives
        of all places are not: of another name or number, or apart in time.
    """
    result = [np.zeros(len(place.kind), np.int64) for place in places]
    same = shared_collectives(places)
    if not same.row.shape[1]:
        return result, same.unmatched
    pairs = list(zip(places, same.row, offset_ns, strict=True))
    start = np.array([place.start_ns[row] + offset for place, row, offset in pairs])
    end = np.array([place.end_ns[row] + offset for place, row, offset in pairs])
    last, together = start.max(axis=0), start.max(axis=0) <= end.min(axis=0)
    for times, row, began, ended in zip(result, same.row, start, end, strict=True):
        times[row] = np.where(together, np.minimum(last, ended) - began, 0)
    return result, same.unmatched + int((~together).sum()) * len(places)


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
