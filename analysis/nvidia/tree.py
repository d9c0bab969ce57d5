"""The tree of ranges as NVIDIA's projection builds it, faults included.

``nvtx_gpu_proj_sum`` calls the tightest other range of the thread that contains a range its parent:
the one with the least distance from start to start and end to end. So two ranges with the same
bounds are each other's parent, no root is above them, and neither they nor what is inside them has
a level.
"""

from __future__ import annotations

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE, last_at_least, maxima, nested, previous_at_least


def tightest_parents(thread: Int64, start: Int64, end: Int64, row: Int64) -> Int64:
    """Return the parent of each range: the tightest other range around it, by row among equals.

    Args:
        thread: ``(N,)`` ordered as by `analysis.arithmetic.intervals.ordered`, like the others.
        start: ``(N,)``.
        end: ``(N,)``.
        row: ``(N,)`` where each stands in the file; of ranges with the same bounds ascending.

    Returns:
        ``(N,)`` positions, or `NONE`.

    >>> zeros = np.zeros(4, np.int64)
    >>> bounds = np.array([0, 2, 3, 3]), np.array([10, 5, 4, 4])
    >>> tightest_parents(zeros, *bounds, np.arange(4)).tolist()
    [-1, 0, 3, 2]
    """
    parent = nested(start, end, thread)
    if parent is None:
        parent = tightest_by_search(thread, start, end, row)
    head = first_of_equals(thread, start, end)
    parent = np.where(parent == NONE, NONE, head[parent])
    index = np.arange(len(head))
    twin = head != index
    parent[twin] = head[twin]
    parent[head[twin]] = head[twin] + 1
    return parent


def first_of_equals(thread: Int64, start: Int64, end: Int64) -> Int64:
    """Return for each range the first of the ranges with its bounds on its thread."""
    if not len(start):
        return np.empty(0, np.int64)
    new = (start[1:] != start[:-1]) | (end[1:] != end[:-1]) | (thread[1:] != thread[:-1])
    begins = np.flatnonzero(np.append(True, new))
    return np.repeat(begins, np.diff(np.append(begins, len(start))))


def tightest_by_search(thread: Int64, start: Int64, end: Int64, row: Int64) -> Int64:
    """Return the tightest range around each, where ranges overlap without nesting or are empty.

    The containers of a range are gone through from the last to begin; one that begins further away
    than the best so far is loose cannot be tighter, nor can those before it.
    """
    levels = maxima(end)
    best = previous_at_least(end)
    best[(best != NONE) & (thread[best] != thread)] = NONE
    looseness = start - start[best] + end[best] - end
    active = np.flatnonzero(best != NONE)
    place = best[active]
    while len(active):
        place = last_at_least(levels, place, end[active])
        distance = start[active] - start[place]
        near = (place != NONE) & (thread[place] == thread[active])
        near &= distance <= looseness[active]
        active, place, distance = active[near], place[near], distance[near]
        found = distance + end[place] - end[active]
        first = row[place] < row[best[active]]
        better = (found < looseness[active]) | ((found == looseness[active]) & first)
        best[active[better]], looseness[active[better]] = place[better], found[better]
    return best


def breaks_the_index(start: Int64, end: Int64, first: int, last: int) -> bool:
    """Return whether NVIDIA's index refuses one of some ranges, so that its report fails.

    It is an R-tree of SQLite: times are scaled to 1 to 2 and kept in 32 bits, a start rounded down
    and an end rounded up, and what then ends before it starts is refused. A range that ends a
    little too early in a long report gets through; it contains nothing.

    Args:
        start: ``(N,)`` of ranges.
        end: ``(N,)``.
        first: the first start or end of all.
        last: the last.
    """
    odd = np.flatnonzero(end < start)
    scaled = [1 + (times[odd] - first) / max(last - first, 1) for times in (start, end)]
    low, high = (times.astype(np.float32) for times in scaled)
    down = np.where(low > scaled[0], (scaled[0] * (1 - 2**-23)).astype(np.float32), low)
    up = np.where(high < scaled[1], (scaled[1] * (1 + 2**-23)).astype(np.float32), high)
    return bool((down > up).any())


def levels_of(parent: Int64) -> Int64:
    """Return how many ancestors each range has; `NONE` where two are each other's parent.

    >>> levels_of(np.array([-1, 0, 1, 4, 3, 4])).tolist()
    [0, 1, 2, -1, -1, -1]
    """
    count = len(parent)
    index = np.arange(count)
    root, lost = count, count + 1
    # Two that are each other's parent would be followed for ever: the later one is an end.
    circle = (parent != NONE) & (parent > index)
    step = np.concatenate([np.where(parent == NONE, root, parent), [root, lost]])
    step[:count][circle] = lost
    level = np.append(np.ones(count, np.int64), [0, 0])
    while bool((step[:count] < count).any()):
        level += level[step]
        step = step[step]
    return np.where(step[:count] == root, level[:count] - 1, NONE)
