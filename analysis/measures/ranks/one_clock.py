"""The collectives of one or many reports, a rank each, on one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from analysis.attribution.selected import Selected
from analysis.measures.alignment import align_clocks, check_ranks, check_times, clock_lines
from analysis.measures.collectives import collectives_of_ranks
from analysis.source import report_metadata

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Int64
    from analysis.attribution.selection import Selection
    from analysis.measures.alignment import ClockAlignment
    from analysis.measures.collectives import DeviceCollectives
    from analysis.source.report import Report


@dataclass(frozen=True)
class RanksOnOneClock:
    """The collectives of each report, and what brings the clocks of all together.

    Attributes:
        chosen: what counts of each report.
        places: of each report, its devices (on a CPU its processes) with collectives.
        notes: on how the collectives were found.
        clocks: how far the clocks of the reports are apart.
    """

    chosen: list[Selected]
    places: list[list[DeviceCollectives]]
    notes: tuple[str, ...]
    clocks: ClockAlignment

    @classmethod
    def of(cls, reports: Sequence[Report], asked: Selection) -> Self:
        """Return the collectives of reports of one run.

        Raises:
            ReportError: there is no collective, or two reports are of the same rank or of two runs.
        """
        check_ranks(reports)
        chosen = [Selected.of(each, asked) for each in reports]
        places, notes = collectives_of_ranks(chosen)
        check_times(reports, places)
        began_ns = [report_metadata.started_ns(each) for each in reports]
        return cls(chosen, places, notes, align_clocks([mine[0] for mine in places], began_ns))

    @property
    def every(self) -> list[DeviceCollectives]:
        """The places of all reports, ``P`` of them."""
        return [place for mine in self.places for place in mine]

    @property
    def offset_ns(self) -> Int64:
        """``(P,)`` what brings the times of each place onto the clock of the first report."""
        return np.repeat(self.clocks.offset_ns, [len(mine) for mine in self.places])

    @property
    def lines(self) -> list[str]:
        """What is read, and how the clocks were brought together."""
        reports = [each.attribution.report for each in self.chosen]
        return [*(each.describe() for each in reports), *clock_lines(reports, self.clocks)]

    @property
    def counted(self) -> tuple[str, ...]:
        """What counts of all."""
        return tuple(dict.fromkeys(line for each in self.chosen for line in each.heading_lines))
