"""Slices of host threads, and the tracks they lie on: on one of them any two nest or are apart.

A viewer that draws slices one inside another cannot show two that overlap otherwise, as NVTX ranges
of two domains may, and ranges that are started and ended anywhere. These go to further tracks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import nested, ordered

if TYPE_CHECKING:
    from collections.abc import Mapping

PIECE: Final = 20_000
"""How many rows become objects of Python together."""


@dataclass(frozen=True)
class Slices:
    """What host threads did, of one kind, ``N`` rows.

    Attributes:
        kind: what they are, as a viewer names the track: ``CUDA calls``.
        names: ``(K,)`` distinct names.
        name: ``(N,)`` the position of each slice's name.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``, no earlier than the start.
        thread: ``(N,)`` global thread id.
        numbers: further columns by their names, `tables.MISSING` where a slice has none.
    """

    kind: str
    names: list[str]
    name: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    numbers: Mapping[str, Int64] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.name)

    def tracks(self) -> Int64:
        """Return ``(N,)`` which track of its thread each slice is on: 0 but for what overlaps."""
        return tracks_without_overlap(self.start_ns, self.end_ns, self.thread)


@dataclass(frozen=True)
class Edges:
    """The begins and ends of slices, in the order in which a viewer opens and closes them.

    Attributes:
        row: ``(2 N,)`` the slice.
        is_end: ``(2 N,)`` 1 where it ends.
        time_ns: ``(2 N,)``, ascending.
    """

    row: Int64
    is_end: Int64
    time_ns: Int64


def tracks_without_overlap(start_ns: Int64, end_ns: Int64, thread: Int64) -> Int64:
    """Return for each interval the first track of its thread on which it overlaps no earlier one.

    Intervals that nest or only touch share a track.

    Args:
        start_ns: ``(N,)``.
        end_ns: ``(N,)``.
        thread: ``(N,)`` any number that tells the threads apart.

    >>> start, end = np.array([0, 1, 2, 6]), np.array([5, 2, 7, 7])
    >>> tracks_without_overlap(start, end, np.zeros(4, np.int64)).tolist()
    [0, 0, 1, 0]
    """
    track = np.zeros(len(start_ns), np.int64)
    long = np.flatnonzero(end_ns > start_ns)  # an instant overlaps nothing
    rows = long[ordered(start_ns[long], end_ns[long], thread[long])]
    bounds = [0, *(np.flatnonzero(np.diff(thread[rows])) + 1).tolist(), len(rows)]
    for low, high in pairwise(bounds):
        mine = rows[low:high]
        begin, end = start_ns[mine], end_ns[mine]
        if nested(begin, end, thread[mine]) is None:
            track[mine] = _first_that_fits(begin.tolist(), end.tolist())
    return track


def _first_that_fits(begins: list[int], ends: list[int]) -> list[int]:
    """Return the track of each interval of one thread, in the order of `ordered`."""
    open_: list[list[int]] = []
    result = []
    for begin, end in zip(begins, ends, strict=True):
        number = 0
        while number < len(open_):
            around = open_[number]
            while around and around[-1] <= begin:
                around.pop()
            if not around or end <= around[-1]:
                break
            number += 1
        else:
            open_.append([])
        open_[number].append(end)
        result.append(number)
    return result


def edges(slices: Slices) -> Edges:
    """Return when slices begin and end, in such an order that on each track they nest.

    At one instant those that end go first, the inner before the outer; then those that begin, the
    outer before the inner; then those that are an instant only, each begun and ended.

    >>> found = edges(Slices("", [], *map(np.array, ([0, 0, 0], [0, 0, 4], [4, 4, 4], [7, 7, 7]))))
    >>> list(zip(found.row.tolist(), found.is_end.tolist()))
    [(0, 0), (1, 0), (1, 1), (0, 1), (2, 0), (2, 1)]
    """
    count = len(slices)
    place = np.empty(count, np.int64)
    place[ordered(slices.start_ns, slices.end_ns, slices.thread)] = np.arange(count)
    row = np.concatenate([np.arange(count), np.arange(count)])
    is_end = np.repeat(np.array([0, 1], np.int64), count)
    time_ns = np.append(slices.start_ns, slices.end_ns)
    instant = np.tile(slices.start_ns == slices.end_ns, 2)
    among = np.tile(place, 2)
    among = np.where(instant, 2 * among + is_end, np.where(is_end == 1, -among, among))
    order = np.lexsort((among, np.where(instant, 2, 1 - is_end), time_ns))
    return Edges(row[order], is_end[order], time_ns[order])


def in_pieces(*columns: Int64) -> Iterator[tuple[int, ...]]:
    """Yield the rows of columns as numbers of Python, of which few are in memory at once."""
    for begin in range(0, len(columns[0]), PIECE):
        yield from zip(*(column[begin : begin + PIECE].tolist() for column in columns), strict=True)
