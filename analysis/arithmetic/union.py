"""The union of intervals: what they cover together, and the gaps that they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64


def serialized(start_ns: Int64, end_ns: Int64, queue: Int64) -> tuple[Int64, Int64]:
    """Return when each interval would run if the intervals of a queue ran one after another.

    A stream is such a queue. Where a recording has two of its kernels overlap, the later waits.
    With E the ends, S the starts, D the durations and C their running sum, ``E[i] = max(E[i - 1],
    S[i]) + D[i]`` is ``C[i] + max over j <= i of (S[j] - C[j - 1])``.

    Args:
        start_ns: ``(N,)``.
        end_ns: ``(N,)`` no earlier than the start.
        queue: ``(N,)`` any number that tells the queues apart.

    >>> start, end = serialized(np.array([0, 5, 30]), np.array([10, 9, 31]), np.array([7, 7, 7]))
    >>> start.tolist(), end.tolist()
    ([0, 10, 30], [10, 14, 31])
    """
    start, end = start_ns.copy(), end_ns.copy()
    order = np.lexsort((start_ns, queue))
    bounds = np.flatnonzero(np.diff(queue[order])) + 1
    for rows in np.split(order, bounds) if len(order) else ():
        if not bool((start_ns[rows[1:]] < end_ns[rows[:-1]]).any()):
            continue
        duration = end_ns[rows] - start_ns[rows]
        total = np.cumsum(duration)
        end[rows] = total + np.maximum.accumulate(start_ns[rows] - (total - duration))
        start[rows] = end[rows] - duration
    return start, end


def covered_by_group(group: Int64, start_ns: Int64, end_ns: Int64, groups: int) -> Int64:
    """Return for how long the intervals of each group cover time: `IntervalUnion.busy_ns` of each.

    All groups are done at once, which is faster than a union for each where there are many.

    Args:
        group: ``(N,)`` from 0.
        start_ns: ``(N,)``.
        end_ns: ``(N,)`` no earlier than the start.
        groups: how many groups there are, ``K``.

    Returns:
        ``(K,)`` nanoseconds.

    >>> start, end = np.array([5, 0, 2, 0]), np.array([6, 3, 4, 9])
    >>> covered_by_group(np.array([0, 0, 0, 2]), start, end, 3).tolist()
    [5, 0, 9]
    """
    covered = np.zeros(groups, np.int64)
    if not len(group):
        return covered
    order = np.lexsort((start_ns, group))
    group, start, end = group[order], start_ns[order], end_ns[order]
    # One time line after the other, so that one running maximum serves all groups.
    rank = np.cumsum(np.append(0, group[1:] != group[:-1]))
    origin = int(start_ns.min())
    shift = rank * (int(end_ns.max()) - origin + 1) - origin
    start, end = start + shift, end + shift
    reach = np.append(-1, np.maximum.accumulate(end)[:-1])
    np.add.at(covered, group, np.maximum(end - np.maximum(start, reach), 0))
    return covered


@dataclass(frozen=True)
class IntervalUnion:
    """The union of intervals, as pieces that neither overlap nor touch.

    Attributes:
        start_ns: ``(P,)`` ascending.
        end_ns: ``(P,)`` exclusive.
    """

    start_ns: Int64
    end_ns: Int64

    @classmethod
    def of(cls, start_ns: Int64, end_ns: Int64) -> Self:
        """Return the union of intervals, in any order.

        Args:
            start_ns: ``(N,)``.
            end_ns: ``(N,)`` no earlier than the start.

        >>> found = IntervalUnion.of(np.array([5, 0, 2]), np.array([6, 3, 4]))
        >>> found.start_ns.tolist(), found.end_ns.tolist()
        ([0, 5], [4, 6])
        """
        order = np.argsort(start_ns, kind="stable")
        start = start_ns[order]
        reach = np.maximum.accumulate(end_ns[order])
        # A piece begins where everything before it has ended.
        first = np.flatnonzero(np.append(True, start[1:] > reach[:-1])[: len(start)])
        last = np.append(first[1:] - 1, len(start) - 1)[: len(first)]
        return cls(start[first], reach[last])

    def __len__(self) -> int:
        return len(self.start_ns)

    @property
    def gaps(self) -> tuple[Int64, Int64]:
        """The gaps between the pieces: ``(P - 1,)`` starts and ends."""
        return self.end_ns[:-1], self.start_ns[1:]

    @property
    def span_ns(self) -> int:
        """The time from the first start to the last end, gaps included."""
        return int(self.end_ns[-1] - self.start_ns[0]) if len(self) else 0

    @property
    def busy_ns(self) -> int:
        """The time that the pieces cover."""
        return int((self.end_ns - self.start_ns).sum())

    def joined(self, other: IntervalUnion) -> Self:
        """Return the union of what either covers."""
        return self.of(
            np.append(self.start_ns, other.start_ns), np.append(self.end_ns, other.end_ns)
        )

    def contains(self, instant_ns: Int64) -> Bools:
        """Return which instants a piece covers: from its start on, its end not included.

        >>> union = IntervalUnion.of(np.array([0, 5]), np.array([4, 6]))
        >>> union.contains(np.array([-1, 0, 4, 5])).tolist()
        [False, True, False, True]
        """
        if not len(self):
            return np.zeros(len(instant_ns), np.bool_)
        piece = np.searchsorted(self.start_ns, instant_ns, side="right") - 1
        covered: Bools = (piece >= 0) & (instant_ns < self.end_ns[piece.clip(0)])
        return covered

    def before(self, instant_ns: Int64) -> Int64:
        """Return how much time the pieces cover before each instant.

        >>> union = IntervalUnion.of(np.array([0, 5]), np.array([4, 6]))
        >>> union.before(np.array([-1, 2, 4, 9])).tolist()
        [0, 2, 4, 5]
        """
        if not len(self):
            return np.zeros(len(instant_ns), np.int64)
        length = self.end_ns - self.start_ns
        earlier = np.cumsum(length) - length
        piece = np.searchsorted(self.start_ns, instant_ns, side="right") - 1
        at = piece.clip(0)
        part = np.clip(instant_ns - self.start_ns[at], 0, length[at])
        return np.where(piece >= 0, earlier[at] + part, 0)

    def within(self, start_ns: Int64, end_ns: Int64) -> Int64:
        """Return how much of each window the pieces cover; 0 of one that ends before it starts."""
        covered: Int64 = np.maximum(self.before(end_ns) - self.before(start_ns), 0)
        return covered

    def until(self, instant_ns: Int64) -> Int64:
        """Return the end of the piece that covers each instant, else the instant itself.

        >>> union = IntervalUnion.of(np.array([0, 5]), np.array([4, 6]))
        >>> union.until(np.array([3, 4, 5])).tolist()
        [4, 4, 6]
        """
        if not len(self):
            return instant_ns
        at = (np.searchsorted(self.start_ns, instant_ns, side="right") - 1).clip(0)
        inside = (self.start_ns[at] <= instant_ns) & (instant_ns < self.end_ns[at])
        return np.where(inside, self.end_ns[at], instant_ns)

    def since(self, instant_ns: Int64) -> Int64:
        """Return the start of the gap that ends at each instant, else the instant itself.

        >>> union = IntervalUnion.of(np.array([0, 5]), np.array([4, 6]))
        >>> union.since(np.array([0, 5, 6])).tolist()
        [0, 4, 6]
        """
        if not len(self):
            return instant_ns
        at = np.searchsorted(self.start_ns, instant_ns, side="left").clip(max=len(self) - 1)
        follows = (self.start_ns[at] == instant_ns) & (at > 0)
        return np.where(follows, self.end_ns[at - 1], instant_ns)
