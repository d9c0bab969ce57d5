"""Arithmetic on intervals of time, without a Python loop over them."""

from itertools import pairwise
from typing import Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64

NONE: Final = -1

MANY_THREADS: Final = 64
"""From here on threads, or names that stand for them, are looked at together."""

DEEPEST: Final = 4096
"""Up to this depth intervals are taken level by level."""


def parents(start: Int64, end: Int64, thread: Int64 | None = None) -> Int64:
    """Return for each interval the innermost other interval of its thread that contains it.

    An interval contains another that begins no earlier and ends no later, bounds included. Of two
    with the same bounds the earlier row is the outer. Among several that contain it, the last to
    begin is the innermost; so intervals may overlap without nesting.

    Args:
        start: ``(N,)``, in any order.
        end: ``(N,)``, no earlier than the start.
        thread: ``(N,)`` any number that tells the threads apart; all on one if left out.

    Returns:
        ``(N,)`` positions in the input, or `NONE`.

    >>> parents(np.array([0, 1, 2, 5, 11]), np.array([10, 4, 3, 9, 12])).tolist()
    [-1, 0, 1, 0, -1]
    """
    tid = np.zeros(len(start), np.int64) if thread is None else thread
    order = ordered(start, end, tid)
    # In this order whatever contains an interval comes before it, so the innermost container is the
    # nearest predecessor that ends no earlier. Past the thread's first row it would be another's.
    found = nested(start[order], end[order], tid[order])
    if found is None:
        found = previous_at_least(end[order])
    inside = found != NONE
    inside[inside] = tid[order[found[inside]]] == tid[order[inside]]
    result = np.full(len(start), NONE, np.int64)
    result[order[inside]] = order[found[inside]]
    return result


def ordered(start: Int64, end: Int64, thread: Int64) -> Int64:
    """Return the order by thread, then start; of intervals that start together the longer is first.

    Among equals the order of the rows stays. Reports are mostly written in order of time, so
    ordering by thread alone (a radix sort, where few) is tried first.

    Args:
        start: ``(N,)``.
        end: ``(N,)``.
        thread: ``(N,)``.

    Returns:
        ``(N,)`` positions.

    >>> ordered(np.array([5, 1, 1]), np.array([6, 2, 9]), np.array([7, 7, 7])).tolist()
    [2, 1, 0]
    """
    threads = np.unique(thread)
    if 1 < len(threads) < 1 << 16:
        code = np.searchsorted(threads, thread).astype(np.uint16)
        order = np.argsort(code, kind="stable")
    else:
        order = np.arange(len(thread))
    if len(threads) < 1 << 16:
        tid, begin, finish = thread[order], start[order], end[order]
        later = (begin[1:] > begin[:-1]) | ((begin[1:] == begin[:-1]) & (finish[1:] <= finish[:-1]))
        if bool((later | (tid[1:] != tid[:-1])).all()):
            return order
    return np.lexsort((-end, start, thread))


def nested(start: Int64, end: Int64, thread: Int64) -> Int64 | None:
    """Return the parents of intervals as `parents` does, or None unless all nest and none is empty.

    How many are open when one begins is how many began before less how many have ended; the parent
    is the last before it that is open one level further out. Levels are taken one after another,
    all intervals of a level at once, which is several times faster than the search that overlaps
    need. If every parent so found contains its child, no two overlap without nesting: the open ones
    are then as many as the chain of parents has members, and so they are those members.

    Args:
        start: ``(N,)`` ordered as by `ordered`.
        end: ``(N,)``.
        thread: ``(N,)``.

    Returns:
        ``(N,)`` positions in the ordered input, or `NONE`.
    """
    if not len(start) or bool((end <= start).any()):
        return None
    found = np.full(len(start), NONE, np.int64)
    bounds = [0, *(np.flatnonzero(np.diff(thread)) + 1).tolist(), len(start)]
    if len(bounds) > MANY_THREADS:
        start, end = one_after_another(start, end, np.array(bounds))
        bounds = [0, len(start)]
    for low, high in pairwise(bounds):
        ended = np.searchsorted(np.sort(end[low:high]), start[low:high], side="right")
        level = np.arange(high - low) - ended
        deepest = int(level.max())
        if deepest > DEEPEST:
            return None
        by_level = np.argsort(level.astype(np.int16), kind="stable") + low
        edges = np.concatenate([[0], np.cumsum(np.bincount(level))]).tolist()
        for outer, begin, after in zip(edges, edges[1:], edges[2:], strict=False):
            above, here = by_level[outer:begin], by_level[begin:after]
            found[here] = above[np.searchsorted(above, here) - 1]
    inside = found != NONE
    return found if bool((end[found[inside]] >= end[inside]).all()) else None


def one_after_another(start: Int64, end: Int64, bounds: Int64) -> tuple[Int64, Int64]:
    """Return the intervals of threads moved so that each thread begins when the one before ended.

    Args:
        start: ``(N,)`` ordered as by `ordered`.
        end: ``(N,)``.
        bounds: ``(T + 1,)`` where the rows of each thread begin, and ``N``.
    """
    first, last = start[bounds[:-1]], np.maximum.reduceat(end, bounds[:-1])
    before = np.concatenate([[0], np.cumsum(last - first)[:-1]])
    moved = np.repeat(before - first, np.diff(bounds))
    return start + moved, end + moved


def previous_at_least(values: Int64) -> Int64:
    """Return for each value the position of the nearest earlier value that is no smaller.

    Args:
        values: ``(N,)``.

    Returns:
        ``(N,)`` positions, or `NONE`.

    >>> previous_at_least(np.array([9, 3, 3, 5, 9])).tolist()
    [-1, 0, 1, 0, 0]
    """
    return last_at_least(maxima(values), np.arange(len(values)), values)


def last_at_least(levels: list[Int64], before: Int64, least: Int64) -> Int64:
    """Return for each question the last position before a given one whose value is large enough.

    A tree of maxima is climbed from each position until a block to its left holds one that is large
    enough, and descended to the last such value: 2 log2(N) steps for all questions at once, however
    deep intervals nest (a stack in Python takes a step per value).

    Args:
        levels: the tree, as `maxima` returns it, of N values.
        before: ``(Q,)`` from 0 to N.
        least: ``(Q,)``.

    Returns:
        ``(Q,)`` positions, or `NONE`.

    >>> tree = maxima(np.array([9, 3, 5]))
    >>> last_at_least(tree, np.array([3, 3, 2]), np.array([4, 6, 10])).tolist()
    [2, 0, -1]
    """
    found = np.full(len(before), NONE, np.int64)
    if not len(levels[0]):
        return found
    # Most questions need no tree: the value just before is large enough, or none before is.
    last = before - 1
    there = np.maximum.accumulate(levels[0])[last] >= least
    there &= last >= 0
    at_once = levels[0][last] >= least
    at_once &= there
    np.copyto(found, last, where=at_once)
    del last  # of large reports each such array takes as much as a column
    climbing = np.flatnonzero(there & ~at_once)
    block = before[climbing].astype(np.int64)
    level = np.zeros(len(before), np.int8)
    for height, most in enumerate(levels):
        left = block - 1
        enough = (block % 2 == 1) & (most[left] >= least[climbing])
        found[climbing[enough]] = left[enough]
        level[climbing[enough]] = height
        climbing, block = climbing[~enough], block[~enough] // 2
    for height in range(len(levels) - 1, 0, -1):
        here = np.flatnonzero((level >= height) & (found != NONE))
        right = found[here] * 2 + 1
        found[here] = np.where(levels[height - 1][right] >= least[here], right, right - 1)
    return found


def maxima(values: Int64) -> list[Int64]:
    """Return a tree of maxima: the values, the maximum of each pair of them, and so on up to one.

    >>> [level.tolist() for level in maxima(np.array([1, 5, 2]))][1:]
    [[5, 2], [5]]
    """
    least = np.iinfo(np.int64).min
    levels = [values]
    while len(levels[-1]) > 1:
        below = levels[-1]
        if len(below) % 2:
            below = levels[-1] = np.append(below, least)
        levels.append(np.maximum(below[::2], below[1::2]))
    return levels


def self_times(start: Int64, end: Int64, parent: Int64) -> Int64:
    """Return each interval's duration less the durations of the intervals directly inside it.

    Args:
        start: ``(N,)``.
        end: ``(N,)``.
        parent: ``(N,)`` as `parents` returns it.

    >>> begin, finish = np.array([0, 1, 2, 5]), np.array([10, 4, 3, 9])
    >>> self_times(begin, finish, parents(begin, finish)).tolist()
    [3, 2, 1, 4]
    """
    duration = end - start
    own = duration.copy()
    inside = parent != NONE
    np.subtract.at(own, parent[inside], duration[inside])
    return own


def self_intervals(start: Int64, end: Int64, thread: Int64) -> tuple[Int64, Int64, Int64]:
    """Return when each interval was the innermost of its thread: between those inside it.

    Args:
        start: ``(N,)``.
        end: ``(N,)``, no earlier than the start.
        thread: ``(N,)`` any number that tells the threads apart.

    Returns:
        ``(S,)`` starts, ends, and positions of the interval each belongs to; none is empty.

    >>> parts = self_intervals(np.array([0, 2, 5]), np.array([9, 4, 7]), np.zeros(3, np.int64))
    >>> list(zip(*(column.tolist() for column in parts)))
    [(0, 2, 0), (4, 5, 0), (7, 9, 0), (2, 4, 1), (5, 7, 2)]
    """
    parent = parents(start, end, thread)
    order = np.lexsort((start, parent))
    inner = order[parent[order] != NONE]
    outer = parent[inner]
    # What is before an interval begins where all inside the same one that came earlier have ended.
    first = np.append(True, outer[1:] != outer[:-1])[: len(inner)]
    number = np.cumsum(first) - 1
    ends, rank = np.unique(end[inner], return_inverse=True)
    shift = number * len(ends)
    reach = ends[np.maximum.accumulate(rank + shift) - shift] if len(ends) else ends
    since = np.where(first, start[outer], np.append(0, reach)[: len(inner)])
    last = np.append(np.flatnonzero(first)[1:] - 1, len(inner) - 1)[: int(first.sum())]
    tail = start.copy()
    tail[outer[last]] = reach[last]
    begin = np.concatenate([since, tail])
    finish = np.concatenate([start[inner], end])
    owner = np.concatenate([outer, np.arange(len(start))])
    some = np.flatnonzero(begin < finish)
    ordered_by_owner = some[np.lexsort((begin[some], owner[some]))]
    return begin[ordered_by_owner], finish[ordered_by_owner], owner[ordered_by_owner]


def roots_of_repeats(parent: Int64, name: Int64) -> Int64:
    """Return for each interval the outermost of the repeats it belongs to.

    An interval that is alone in one of its own name repeats it: an operator that calls itself once
    with other arguments is one call to its user, and `torch.autograd.profiler` counts it so.

    Args:
        parent: ``(N,)`` as `parents` returns it.
        name: ``(N,)`` the number of its name.

    Returns:
        ``(N,)`` positions; its own where it repeats nothing.

    >>> roots_of_repeats(np.array([-1, 0, 1, 1]), np.array([5, 5, 5, 5])).tolist()
    [0, 0, 2, 3]
    """
    children = np.bincount(parent[parent != NONE], minlength=len(parent))
    inside = np.flatnonzero(parent != NONE)
    repeats = inside[(name[inside] == name[parent[inside]]) & (children[parent[inside]] == 1)]
    root = np.arange(len(parent))
    root[repeats] = parent[repeats]
    while True:
        further = root[root]
        if np.array_equal(further, root):
            return root
        root = further


def merge_repeats(start: Int64, end: Int64, thread: Int64, name: Int64) -> tuple[Int64, Bools]:
    """Return the self times of nested calls, and which of them repeat no call around them.

    The rules, and what counts as inside, are those of PyTorch's own ``key_averages()``
    (``EventList._populate_cpu_children`` and ``_remove_dup_nodes``): a call is inside another if it
    begins before that one ends, and ends no later; one alone in a call of its own name is that call
    once more (a dispatch that went through two layers).

    Args:
        start: ``(N,)``.
        end: ``(N,)``.
        thread: ``(N,)``.
        name: ``(N,)`` the number of each call's name.

    Returns:
        ``(N,)`` self times, that of a repeat added to the call it repeats, and ``(N,)`` whether it
        is no repeat.

    >>> calls = ([0, 1, 2], [10, 9, 4], [7, 7, 7], [3, 3, 5])
    >>> nested = merge_repeats(*(np.array(column) for column in calls))
    >>> [part.tolist() for part in nested]
    [[8, 0, 2], [True, False, True]]
    """
    inside = parents(start, end, thread)
    while (beside := (inside != NONE) & (start >= end[inside])).any():  # of no length, at its end
        inside[beside] = inside[inside[beside]]
    root = roots_of_repeats(inside, name)
    together = np.zeros(len(root), np.int64)
    np.add.at(together, root, self_times(start, end, inside))
    return together, root == np.arange(len(root))


def innermost_around(start: Int64, end: Int64, begin: Int64, finish: Int64) -> Int64:
    """Return for each interval the innermost of some other intervals that contains it.

    Args:
        start: ``(R,)`` of the others, ascending; of equal ones the longest first.
        end: ``(R,)``.
        begin: ``(N,)`` of the intervals, in any order.
        finish: ``(N,)``.

    Returns:
        ``(N,)`` positions among the others, or `NONE`. Bounds are included.

    >>> others = np.array([0, 2, 12]), np.array([10, 5, 20])
    >>> innermost_around(*others, np.array([3, 6, 11]), np.array([4, 7, 13])).tolist()
    [1, 0, -1]
    """
    place = np.searchsorted(start, begin, side="right") - 1
    if not len(end):
        return place
    outer = previous_at_least(end)
    # What ends too early is left for the nearest before it that ends no earlier: as many rounds as
    # ranges nest around the interval at most.
    while True:
        short = np.flatnonzero((place != NONE) & (end[place.clip(0)] < finish))
        if not len(short):
            return place
        place[short] = outer[place[short]]
