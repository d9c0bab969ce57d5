"""Collectives of several devices of one report: each ends when the last participant has come.

Instances are matched by name and turn, device by device. Those that the recorded times contradict,
as they do where a recording begins in the middle, keep their own duration each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE

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


def no_meetings(done: DeviceWork) -> Meetings:
    """Return that no work of a report is a collective of several devices."""
    return Meetings(np.full(len(done), NONE, np.int64), 0)


def meetings(done: DeviceWork, collective: Bools) -> Meetings:
    """Return which collectives of a report's devices are one.

    Args:
        done: what the GPUs did.
        collective: ``(M,)`` which work is a collective.
    """
    rows = np.flatnonzero(collective)
    _, place = np.unique(
        np.stack([done.process[rows], done.device[rows]]), axis=1, return_inverse=True
    )
    place = place.ravel()
    places = int(place.max(initial=0)) + 1
    if places < 2:
        return no_meetings(done)
    order = np.lexsort((done.start_ns[rows], done.name[rows], place))
    key = np.stack([place[order], done.name[rows[order]]])
    fresh = np.append(True, (key[:, 1:] != key[:, :-1]).any(axis=0))
    first = np.flatnonzero(fresh)
    turn = np.arange(len(rows)) - first[np.cumsum(fresh) - 1]
    names = np.stack([done.name[rows[order]], turn])
    _, number, size = np.unique(names, axis=1, return_inverse=True, return_counts=True)
    number = number.ravel()
    group = np.full(len(done), NONE, np.int64)
    group[rows[order]] = number
    found = Meetings(group, len(size))
    # All parts ran at one time, and every device has one.
    together = (size == places) & (found.last(done.start_ns) <= -found.last(-done.end_ns))
    renumbered = np.where(together, np.cumsum(together) - 1, NONE)
    group = np.where(group == NONE, NONE, renumbered[group])
    return Meetings(group, int(together.sum()))


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
