"""Collectives of several devices: each ends when the last participant has come.

Instances are matched by name and turn (see `analysis.measures.alignment`). Those that the recorded
times contradict keep their own duration each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.union import IntervalUnion
from analysis.measures.alignment import shared_collectives
from analysis.measures.collectives import DeviceCollectives

if TYPE_CHECKING:
    from analysis.measures.replay.stream_lines import StreamLines
    from analysis.recorded.device_work import DeviceWork

ROUNDS: Final = 100
"""In a few rounds the order of two devices' work settles; where it does not, nothing meets."""


@dataclass(frozen=True)
class Meetings:
    """Which work of several devices is one collective.

    Attributes:
        group: ``(M,)`` the collective that each is part of, from 0, or `NONE`.
        count: how many there are.
    """

    group: Int64
    count: int

    def last(self, values: Int64) -> Int64:
        """Return ``(count,)`` the greatest of some values, ``(M,)``, among each one's parts."""
        result = np.full(self.count, np.iinfo(np.int64).min, np.int64)
        some = self.group != NONE
        np.maximum.at(result, self.group[some], values[some])
        return result

    def ended_ns(self, turn_ns: Int64) -> Int64:
        """Return ``(M,)`` the turn, ``(M,)``, after which a replay knows when work has ended."""
        if not self.count:
            return turn_ns
        last = np.append(self.last(turn_ns), 0)[self.group]
        return np.where(self.group != NONE, last, turn_ns)


def no_meetings(count: int) -> Meetings:
    """Return that of so many pieces of work none is a collective of several devices."""
    return Meetings(np.full(count, NONE, np.int64), 0)


class Participant(NamedTuple):
    """The collectives of one device.

    Attributes:
        place: what they are, on the clock that all devices share.
        rows: ``(C,)`` which work each is.
    """

    place: DeviceCollectives
    rows: Int64


def participants(
    done: DeviceWork, collective: Bools, shift_ns: int = 0, first: int = 0
) -> list[Participant]:
    """Return the collectives of each device of a report that has any, by process.

    Args:
        done: what the GPUs did.
        collective: ``(M,)`` which work is a collective.
        shift_ns: what to add to the times of the report.
        first: the position of its first work, where that of several reports is put together.
    """
    nothing = IntervalUnion.of(*np.empty((2, 0), np.int64))
    rows = np.flatnonzero(collective)
    rows = rows[np.lexsort((done.end_ns[rows], done.start_ns[rows]))]
    found = []
    for process, device in sorted(
        set(zip(done.process[rows].tolist(), done.device[rows].tolist(), strict=True))
    ):
        mine = rows[(done.process[rows] == process) & (done.device[rows] == device)]
        place = DeviceCollectives(
            process,
            device,
            done.names,
            done.name[mine],
            done.start_ns[mine] + shift_ns,
            done.end_ns[mine] + shift_ns,
            nothing,
        )
        found.append(Participant(place, mine + first))
    return found


def meetings(count: int, found: Sequence[Participant]) -> Meetings:
    """Return which collectives of several devices are one: those that ran at one time on all.

    Args:
        count: of the work of all devices, ``M``.
        found: the devices' collectives.
    """
    if len(found) < 2:
        return no_meetings(count)
    places = [each.place for each in found]
    same = shared_collectives(places)
    row = same.row[:, same.of_all]
    start = np.array([place.start_ns[mine] for place, mine in zip(places, row, strict=True)])
    end = np.array([place.end_ns[mine] for place, mine in zip(places, row, strict=True)])
    together = np.flatnonzero(start.max(axis=0) <= end.min(axis=0)) if row.size else row[0]
    group = np.full(count, NONE, np.int64)
    for each, mine in zip(found, row, strict=True):
        group[each.rows[mine[together]]] = np.arange(len(together))
    return Meetings(group, len(together))


def lines_with_meetings(
    lines: StreamLines, found: Meetings, edge_to: Int64, edge_from: Int64
) -> StreamLines | None:
    """Return streams whose work after a collective comes after all of its parts were launched.

    Args:
        lines: as they are without.
        found: which work is one collective.
        edge_to: ``(E,)`` work that follows on work of other streams.
        edge_from: ``(E,)`` that work.

    Returns:
        None where there is no such order.
    """
    key, order = lines.key_ns.copy(), lines.order
    member = found.group[order] != NONE
    inner = np.ones(len(order), np.bool_)
    inner[lines.first[:-1][lines.first[:-1] < len(order)]] = False
    after = np.flatnonzero(inner & np.append(False, member[:-1])[: len(order)])
    before = order[after - 1]
    stream = lines.stream[order]
    for _ in range(ROUNDS):
        raised = key.copy()
        met = np.append(found.last(key), np.iinfo(np.int64).min)[found.group]
        np.maximum.at(raised, order[after], met[before] + 1)
        at = np.where(found.group[edge_from] != NONE, met[edge_from], key[edge_from])
        np.maximum.at(raised, edge_to, at + 1)
        span = int(raised.max() - raised.min()) + 1
        line = np.maximum.accumulate(raised[order] - raised.min() + stream * span)
        raised[order] = line - stream * span + raised.min()
        if np.array_equal(raised, key):
            return replace(lines, turn_ns=key)
        key = raised
    return None
