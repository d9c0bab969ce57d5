"""Which interval lies around which, on the same thread (or in the same process)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.intervals import NONE, innermost_around

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Spans(NamedTuple):
    """Intervals, each in a place: a thread or a process.

    Attributes:
        place: ``(N,)`` a number that tells the places apart.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``.
    """

    place: Int64
    start_ns: Int64
    end_ns: Int64

    def take(self, rows: Int64 | Bools) -> "Spans":
        """Return some of them."""
        return Spans(*(column[rows] for column in self))


def innermost(outer: Spans, inner: Spans) -> Int64:
    """Return for each inner interval the last to start of the outer ones around it in its place.

    Bounds are included.

    Returns:
        ``(N,)`` positions in ``outer``, or `NONE`.

    >>> outer = Spans(np.array([7, 7, 8]), np.array([0, 2, 0]), np.array([9, 5, 9]))
    >>> inner = Spans(np.array([7, 7, 8, 9]), np.array([3, 4, 3, 3]), np.array([4, 6, 4, 4]))
    >>> innermost(outer, inner).tolist()
    [1, 0, 2, -1]
    """
    result = np.full(len(inner.place), NONE, np.int64)
    if not len(result):
        return result
    by_outer = np.lexsort((-outer.end_ns, outer.start_ns, outer.place))
    by_inner = np.argsort(inner.place, kind="stable")
    places, begins = np.unique(inner.place[by_inner], return_index=True)
    ends = np.append(begins[1:], len(by_inner))
    lows = np.searchsorted(outer.place[by_outer], places, side="left")
    highs = np.searchsorted(outer.place[by_outer], places, side="right")
    for begin, end, low, high in zip(begins, ends, lows, highs, strict=True):
        if low == high:
            continue
        rows, there = by_inner[begin:end], by_outer[low:high]
        position = innermost_around(
            outer.start_ns[there], outer.end_ns[there], inner.start_ns[rows], inner.end_ns[rows]
        )
        result[rows] = np.where(position != NONE, there[position], NONE)
    return result
