"""The reports of one run, a rank each, on one clock: by how much the times of each are moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.union import IntervalUnion
from analysis.attribution.selected import Selected
from analysis.attribution.selection import EXCLUDE_NOTHING, Selection
from analysis.export.timeline import Timeline
from analysis.measures.alignment import (
    align_clocks,
    assumed_ranks,
    check_ranks,
    check_times,
    clock_lines,
)
from analysis.measures.collectives import DeviceCollectives, collectives_by_device
from analysis.show.render import duration
from analysis.source import report_metadata, tables

if TYPE_CHECKING:
    from analysis.source.report import Report


@dataclass(frozen=True)
class Ranks:
    """The time lines of reports on one clock.

    Attributes:
        timelines: one of each report.
        offset_ns: what each one's clock lacks to that of the first.
        base_ns: what is added to all times, so that none is below 0: 0 where none is.
        notes: on the clocks.
    """

    timelines: tuple[Timeline, ...]
    offset_ns: tuple[int, ...]
    base_ns: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, reports: Sequence[Report]) -> Ranks:
        """Return reports on the clock of the first.

        Raises:
            ReportError: nothing was recorded in one, or they are not of one run, a rank each.
        """
        check_ranks(reports)
        timelines = tuple(map(Timeline.of, reports))
        offsets: tuple[int, ...] = (0,)
        notes: tuple[str, ...] = ()
        if len(reports) > 1:
            places = [_places(report) for report in reports]
            check_times(reports, places)
            began = [report_metadata.started_ns(report) for report in reports]
            aligned = align_clocks([mine[0] for mine in places], began)
            offsets = tuple(aligned.offset_ns.tolist())
            notes = (*clock_lines(reports, aligned), *assumed_ranks(reports))
        # Both each file's own clock and the common one begin at 0 or later.
        earliest = min(
            timeline.first_ns + min(offset, 0)
            for timeline, offset in zip(timelines, offsets, strict=True)
        )
        base = max(-earliest, 0)
        if base:
            notes = (*notes, f"all times are {duration(base)} later: the formats have none below 0")
        return cls(timelines, offsets, base, notes)

    @property
    def labels(self) -> list[str]:
        """What tells the reports apart; "" of one alone."""
        return labels([timeline.report for timeline in self.timelines])


def labels(reports: Sequence[Report]) -> list[str]:
    """Return what tells reports apart: ranks where they say, else files; "" of one alone."""
    if len(reports) == 1:
        return [""]
    ranks = [report.run.get("rank", "") for report in reports]
    pairs = zip(reports, ranks, strict=True)
    return unlike([f"rank {rank}" if rank else report.path.name for report, rank in pairs])


def unlike(texts: list[str]) -> list[str]:
    """Return texts of which no two are alike: to those that are, their place is added.

    >>> unlike(["a", "b", "a"])
    ['a (0)', 'b', 'a (2)']
    """
    return [
        f"{text} ({number})" if texts.count(text) > 1 else text for number, text in enumerate(texts)
    ]


def _places(report: Report) -> list[DeviceCollectives]:
    """Return the GPUs of a report with collectives, on a CPU processes; else one without."""
    everything = Selected.of_any(report, Selection(exclude=(EXCLUDE_NOTHING,)))
    places = collectives_by_device(everything).places
    none = np.empty(0, np.int64)
    nowhere = DeviceCollectives(
        tables.MISSING, tables.MISSING, [], none, none, none, IntervalUnion.of(none, none)
    )
    return [place for place in places if len(place.kind)] or [*places[:1], nowhere][:1]
