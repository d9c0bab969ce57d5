"""Which CUDA calls lie inside which ranges: every sum over the ranges of a report rests on it.

A range has a call when both are on one thread and the whole of the call lies within the range,
bounds included: NVIDIA's rule (``nvtx_gpu_proj_sum``, ``nvtx_kern_sum``). Calls are ordered by
thread and start, and then a range has a few slices of them: one where calls do not nest, one more
for each call that begins inside and ends outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE, last_at_least, maxima, ordered


@dataclass(frozen=True)
class Intervals:
    """Intervals of time on threads, such as ranges or calls.

    Attributes:
        thread: ``(N,)`` any number that tells the threads apart.
        start_ns: ``(N,)``.
        end_ns: ``(N,)``; one that ends before it starts contains nothing.
    """

    thread: Int64
    start_ns: Int64
    end_ns: Int64

    def __len__(self) -> int:
        return len(self.thread)

    def take(self, kept: Bools | Int64 | slice) -> Self:
        """Return the intervals at some positions, or where a mask holds."""
        return type(self)(self.thread[kept], self.start_ns[kept], self.end_ns[kept])


class Clock:
    """One time line for all threads, thread after thread, so that one search serves them all.

    Args:
        spans: all whose threads and times will be asked for.
    """

    def __init__(self, *spans: Intervals) -> None:
        self.threads = np.unique(np.concatenate([distinct(span.thread) for span in spans]))
        times = [time for span in spans for time in (span.start_ns, span.end_ns) if len(time)]
        self.first = min((int(time.min()) for time in times), default=0)
        last = max((int(time.max()) for time in times), default=0)
        # One instant more than there are, so that no thread's last is the next one's first.
        self.span = last - self.first + 2
        self.ranks: Int64 | None = None
        if self.span * max(len(self.threads), 1) >> 62:
            self.ranks = np.unique(np.concatenate(times))
            self.span = len(self.ranks) + 1

    def __call__(self, thread: Int64, time_ns: Int64) -> Int64:
        """Return ``(N,)`` instants; of two on one thread the later one is the greater."""
        time = time_ns - self.first
        if self.ranks is not None:
            time = np.searchsorted(self.ranks, time_ns)
        if len(self.threads) == 1:
            return time
        return np.searchsorted(self.threads, thread) * self.span + time


def distinct(numbers: Int64) -> Int64:
    """Return the distinct numbers, ascending, without sorting where neighbours are mostly equal.

    >>> distinct(np.array([3, 3, 1, 1, 3])).tolist()
    [1, 3]
    """
    if not len(numbers):
        return numbers
    changed = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    return np.unique(np.append(numbers[changed], numbers[0]))


@dataclass(frozen=True)
class Slices:
    """The calls that each range contains, as slices of the ordered calls, ordered by range.

    Attributes:
        owner: ``(S,)`` the position of the range, ascending; a range may have several slices.
        low: ``(S,)`` first call of the slice.
        high: ``(S,)`` one past the last, greater than ``low``.
        owners: how many ranges there are, those without a call included.
    """

    owner: Int64
    low: Int64
    high: Int64
    owners: int

    @property
    def first(self) -> Int64:
        """``(O,)`` the first slice of each range that has one."""
        if not len(self.owner):
            return self.owner
        return np.flatnonzero(np.append(True, self.owner[1:] != self.owner[:-1]))

    def counts(self) -> Int64:
        """Return ``(R,)`` how many calls each range contains."""
        return self.sums(None)

    def sums(self, values: Int64 | None) -> Int64:
        """Return ``(R,)`` the sum of the calls' values in each range; None counts the calls."""
        result = np.zeros(self.owners, np.int64)
        part = self.high - self.low
        if values is not None:
            running = np.concatenate([[0], np.cumsum(values)])
            part = running[self.high] - running[self.low]
        if len(part):
            result[self.owner[self.first]] = np.add.reduceat(part, self.first)
        return result

    def least(self, values: Int64) -> Int64:
        """Return ``(H,)`` the least of the calls' values in each range that `holders` names."""
        return self._reduced(np.minimum, values)

    def most(self, values: Int64) -> Int64:
        """Return ``(H,)`` the greatest of the calls' values in each range that `holders` names."""
        return self._reduced(np.maximum, values)

    def holders(self) -> Int64:
        """Return ``(O,)`` the ranges that contain any call, ascending."""
        return self.owner[self.first]

    def _reduced(self, ufunc: np.ufunc, values: Int64) -> Int64:
        if not len(self.owner):
            return np.empty(0, np.int64)
        # Every second entry reduces what lies between two slices, and is thrown away; in order of
        # the calls that is little. One value more, so that an end past the last is a position.
        order = np.argsort(self.low, kind="stable")
        bounds = np.stack([self.low[order], self.high[order]], axis=1).ravel()
        parts = np.empty(len(order), np.int64)
        parts[order] = ufunc.reduceat(np.append(values, values[-1]), bounds)[::2]
        result: Int64 = ufunc.reduceat(parts, self.first)
        return result

    def pairs(self) -> tuple[Int64, Int64]:
        """Return every (range, call) pair: ``(P,)`` ranges, ascending, and ``(P,)`` calls."""
        length = self.high - self.low
        before = np.cumsum(length) - length
        call = np.arange(int(length.sum())) + np.repeat(self.low - before, length)
        return np.repeat(self.owner, length), call

    def moved(self, place: Int64) -> Slices:
        """Return slices of what the calls stand for (the kernels of a graph), many for one or none.

        Args:
            place: ``(C + 1,)`` where those of each call begin, and the end of all.
        """
        low, high = place[self.low], place[self.high]
        some = low < high
        return Slices(self.owner[some], low[some], high[some], self.owners)

    def covered(self, calls: int) -> Bools:
        """Return ``(C,)`` whether each call lies in any range."""
        change = np.zeros(calls + 1, np.int64)
        np.add.at(change, self.low, 1)
        np.subtract.at(change, self.high, 1)
        inside: Bools = np.cumsum(change[:-1]) > 0
        return inside


def contained(ranges: Intervals, calls: Intervals) -> Slices:
    """Return which calls lie inside which ranges of their thread, bounds included.

    Args:
        ranges: ``R`` of them, in any order.
        calls: ``C`` of them, ordered by thread, then start. They may nest and overlap.
    """
    clock = Clock(ranges, calls)
    begin, finish = clock(calls.thread, calls.start_ns), clock(calls.thread, calls.end_ns)
    until = clock(ranges.thread, ranges.end_ns)
    low = np.searchsorted(begin, clock(ranges.thread, ranges.start_ns), side="left")
    high = np.searchsorted(begin, until, side="right")
    owner = np.flatnonzero(low < high)
    low, high, until = low[owner], high[owner], until[owner]
    if not len(owner):
        return Slices(owner, low, high, len(ranges))
    if not bool((finish[:-1] > begin[1:]).any()):
        # No call begins before the one before it has ended: only the last can end too late.
        high = high - (finish[high - 1] > until)
        kept = low < high
        return Slices(owner[kept], low[kept], high[kept], len(ranges))
    return without_late_calls(owner, low, high, until, finish, len(ranges))


def without_late_calls(
    owner: Int64, low: Int64, high: Int64, until: Int64, finish: Int64, owners: int
) -> Slices:
    """Return slices of calls without those that end after their range does.

    The last call of a slice that ends too late is sought, and the slice cut there, until none is.

    Args:
        owner: ``(S,)`` ranges, ascending.
        low: ``(S,)`` first call that begins inside.
        high: ``(S,)`` one past the last that does.
        until: ``(S,)`` the end of the range.
        finish: ``(C,)`` the ends of the calls.
        owners: how many ranges there are.
    """
    levels = maxima(finish)
    parts: list[tuple[Int64, Int64, Int64]] = []
    while len(owner):
        late = last_at_least(levels, high, until + 1)
        there = late >= low
        begin = np.where(there, late + 1, low)
        some = begin < high
        parts.append((owner[some], begin[some], high[some]))
        again = there & (late > low)
        owner, low, high, until = owner[again], low[again], late[again], until[again]
    owner, begin, after = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((begin, owner))
    return Slices(owner[order], begin[order], after[order], owners)


def innermost(ranges: Intervals, calls: Intervals) -> Int64:
    """Return for each call the innermost range that contains it: the last to begin.

    Args:
        ranges: ``R``, ordered by thread, then start, the longer of two that start together first.
        calls: ``C``, in any order.

    Returns:
        ``(C,)`` positions, or `NONE`.
    """
    if not len(ranges) or not len(calls):
        return np.full(len(calls), NONE, np.int64)
    clock = Clock(ranges, calls)
    begin, finish = clock(ranges.thread, ranges.start_ns), clock(ranges.thread, ranges.end_ns)
    before = np.searchsorted(begin, clock(calls.thread, calls.start_ns), side="right")
    found = last_at_least(maxima(finish), before, clock(calls.thread, calls.end_ns))
    other = (found != NONE) & (ranges.thread[found] != calls.thread)
    return np.where(other, NONE, found)


def innermost_of_any(outer: Intervals, inner: Intervals) -> Int64:
    """Return for each inner interval the innermost outer one that contains it, in any order.

    As `innermost`, which takes the outer ones in order and is faster by the time of sorting them.

    >>> outer = Intervals(np.array([8, 7, 7]), np.array([0, 2, 0]), np.array([9, 5, 9]))
    >>> inner = Intervals(np.array([7, 7, 8, 9]), np.array([3, 4, 3, 3]), np.array([4, 6, 4, 4]))
    >>> innermost_of_any(outer, inner).tolist()
    [1, 2, 0, -1]
    """
    order = ordered(outer.start_ns, outer.end_ns, outer.thread)
    place = innermost(outer.take(order), inner)
    found = place != NONE
    place[found] = order[place[found]]
    return place


MOST_ADDRESSES: Final = 1 << 62
"""A number for a process and a correlation id fits into 64 bits below this."""


class CorrelationKeys:
    """Numbers for pairs of process and correlation id: an id is unique only within a process.

    Args:
        process: ``(N,)`` global process ids.
        correlation: ``(N,)``.

    Attributes:
        number: ``(N,)`` of each pair given.
        count: how many distinct pairs there are.

    >>> keys = CorrelationKeys(np.array([1, 1, 2]), np.array([7, 7, 7]))
    >>> keys.number.tolist(), keys.find(np.array([2, 3]), np.array([7, 7])).tolist()
    ([0, 0, 1], [1, -1])
    """

    def __init__(self, process: Int64, correlation: Int64) -> None:
        self.processes = distinct(process)
        self.lowest = int(correlation.min()) if len(correlation) else 0
        self.width = int(correlation.max()) - self.lowest + 1 if len(correlation) else 1
        self.ids: Int64 | None = None
        if self.width * len(self.processes) >= MOST_ADDRESSES:  # ids that no recorder gives
            self.ids = np.unique(correlation)
            self.lowest, self.width = 0, len(self.ids)
        size = self.width * len(self.processes)
        address = self._address(process, correlation)
        self.table: Int64 | None = None
        self.known: Int64 = address
        if size <= 8 * len(address) + (1 << 20):
            there = np.zeros(size, np.bool_)
            there[address] = True
            numbers = np.cumsum(there, dtype=np.int64)
            self.count = int(numbers[-1]) if size else 0
            self.table = np.where(there, numbers - 1, NONE)
            self.number: Int64 = self.table[address]
        else:
            self.known, number = np.unique(address, return_inverse=True)
            self.number, self.count = number.astype(np.int64), len(self.known)

    def _address(self, process: Int64, correlation: Int64) -> Int64:
        offset = self._offset(correlation)
        if len(self.processes) == 1:
            return offset
        place = np.searchsorted(self.processes, process)
        return place.clip(max=max(len(self.processes) - 1, 0)) * self.width + offset

    def _offset(self, correlation: Int64) -> Int64:
        if self.ids is None:
            return correlation - self.lowest
        found: Int64 = np.searchsorted(self.ids, correlation).clip(max=len(self.ids) - 1)
        return found

    def find(self, process: Int64, correlation: Int64) -> Int64:
        """Return ``(M,)`` the numbers of pairs; `NONE` of a pair that was not given."""
        if not self.count:
            return np.full(len(process), NONE, np.int64)
        place = np.searchsorted(self.processes, process).clip(max=len(self.processes) - 1)
        same = self.processes[place] == process
        if self.ids is None:
            same &= (correlation >= self.lowest) & (correlation < self.lowest + self.width)
        else:
            same &= self.ids[self._offset(correlation)] == correlation
        address = np.where(same, self._address(process, correlation), 0)
        if self.table is not None:
            return np.where(same, self.table[address], NONE)
        found = np.searchsorted(self.known, address).clip(max=len(self.known) - 1)
        return np.where(same & (self.known[found] == address), found, NONE)
