"""What each rank waited in collectives for the others, and who came last: one rule for all.

Waiting is the time from the start of a collective until the last rank had begun it, on one clock;
the rest of it is transfer. Where the clocks of the reports cannot be brought together, transfer is
the shortest time that any rank took for it, and the rest waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.measures.alignment import shared_collectives
from analysis.show.render import are, percent, plural
from analysis.source.tables import MISSING

if TYPE_CHECKING:
    from analysis.measures.collectives import DeviceCollectives

NO_CLOCK: Final = (
    "the clocks of the reports cannot be brought together: waiting is what a rank took longer for "
    "a collective than the fastest did"
)

OF_ONE_RANK: Final = "of one rank only: how long collectives waited for others is not known"


@dataclass(frozen=True)
class MetCollectives:
    """The collectives that several places took part in, each at one time: ``M`` of them.

    Attributes:
        row: ``(P, M)`` the row of each at each place, or `NONE` where that took no part.
        start_ns: ``(P, M)`` when each place began it, on the clock of all.
        waiting_ns: ``(P, M)`` how long it waited for the last; 0 where it took no part.
        last: ``(M,)`` the place that came last.
        unmatched: how many collectives of all places are not among them.
        by_clock: whether the clocks could be brought together.
    """

    row: Int64
    start_ns: Int64
    waiting_ns: Int64
    last: Int64
    unmatched: int
    by_clock: bool = True

    @property
    def there(self) -> Bools:
        """``(P, M)`` which places took part in each."""
        there: Bools = self.row != NONE
        return there

    def of_place(self, number: int, count: int) -> Int64:
        """Return ``(count,)`` the waiting of a place's collectives; `MISSING` where not known."""
        result = np.full(count, MISSING, np.int64)
        mine = self.there[number]
        result[self.row[number][mine]] = self.waiting_ns[number][mine]
        return result


def met_collectives(places: Sequence[DeviceCollectives], offset_ns: Int64) -> MetCollectives:
    """Return the collectives that places share, what each waited in them, and who came last.

    Args:
        places: all that took part.
        offset_ns: ``(P,)`` to bring each onto one clock.
    """
    same = shared_collectives(places)
    there = same.row != NONE
    if not there.size:
        none = np.empty(0, np.int64)
        return MetCollectives(same.row, same.row, same.row, none, same.unmatched)
    start = np.full(same.row.shape, np.iinfo(np.int64).min)
    end = np.full(same.row.shape, np.iinfo(np.int64).max)
    for number, place in enumerate(places):
        mine = same.row[number][there[number]]
        start[number, there[number]] = place.start_ns[mine] + offset_ns[number]
        end[number, there[number]] = place.end_ns[mine] + offset_ns[number]
    order = np.argsort(np.where(there, start, np.iinfo(np.int64).max).min(axis=0), kind="stable")
    row, there, start, end = (each[:, order] for each in (same.row, there, start, end))
    together = start.max(axis=0) <= end.min(axis=0)
    by_clock = 2 * int(together.sum()) >= len(together)
    if by_clock:
        kept = np.flatnonzero(together)
        row, there, start = row[:, kept], there[:, kept], start[:, kept]
        waiting = np.where(there, start.max(axis=0) - start, 0)
        last = start.argmax(axis=0)
    else:
        own = np.where(there, end - start, np.iinfo(np.int64).max)
        waiting = np.where(there, own - own.min(axis=0), 0)
        last = own.argmin(axis=0)
    unmatched = same.unmatched + int((same.row != NONE).sum()) - int(there.sum())
    return MetCollectives(row, start, waiting, last.astype(np.int64), unmatched, by_clock)


def waiting_notes(met: MetCollectives) -> tuple[str, ...]:
    """Return lines on collectives whose waiting is not known, and on how it was found."""
    if len(met.row) < 2:
        return (OF_ONE_RANK,)
    notes = () if met.by_clock else (NO_CLOCK,)
    if not met.unmatched:
        return notes
    every = met.unmatched + int(met.there.sum())
    return (
        *notes,
        f"{met.unmatched:,} of {plural(every, 'collective')} ({percent(met.unmatched / every)}) "
        f"{are(met.unmatched)} not shared by all ranks, or not at one time: their waiting is not "
        "known and counts as none",
    )


def absent_notes(places: Sequence[DeviceCollectives]) -> tuple[str, ...]:
    """Return a line where a process group has more ranks than were given; none where it has not."""
    ranks = [
        message.ranks
        for place in places
        if place.messages is not None
        for message in place.messages.told
    ]
    largest = max(ranks, default=MISSING)
    if not 1 < len(places) < largest:
        return ()
    return (
        f"{len(places)} of {largest} ranks are given: waiting for the others counts as transfer",
    )


def waiting_times(
    places: Sequence[DeviceCollectives], offset_ns: Int64
) -> tuple[list[Int64], MetCollectives]:
    """Return how long the collectives of each place waited, `MISSING` where not known."""
    met = met_collectives(places, offset_ns)
    return [met.of_place(number, len(place)) for number, place in enumerate(places)], met
