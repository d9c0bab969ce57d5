"""Arithmetic on intervals of time, without a Python loop over them."""

from typing import Final

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

NONE: Final = -1


def parents(start: Int64, end: Int64, thread: Int64 | None = None) -> Int64:
    """Return for each interval the innermost other one of its thread that contains it.

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
    order = np.lexsort((-end, start, tid))
    # In this order whatever contains an interval comes before it, so the innermost container is the
    # nearest predecessor that ends no earlier. Past the thread's first row it would be another's.
    found = previous_at_least(end[order])
    inside = found != NONE
    inside[inside] = tid[order[found[inside]]] == tid[order[inside]]
    result = np.full(len(start), NONE, np.int64)
    result[order[inside]] = order[found[inside]]
    return result


def previous_at_least(values: Int64) -> Int64:
    """Return for each value the position of the nearest one before it that is no smaller.

    A tree of maxima is climbed from each value until a block to its left holds one that is large
    enough, and descended to the last such value: 2 log2(N) steps for all values at once, however
    deep they nest (a stack in Python takes a step per value).

    Args:
        values: ``(N,)``.

    Returns:
        ``(N,)`` positions, or `NONE`.

    >>> previous_at_least(np.array([9, 3, 3, 5, 9])).tolist()
    [-1, 0, 1, 0, 0]
    """
    levels = maxima(values)
    found = np.full(len(values), NONE, np.int64)
    level = np.zeros(len(values), np.int64)
    climbing = np.arange(len(values))
    block = climbing.copy()
    for height, most in enumerate(levels):
        left = block - 1
        enough = (block % 2 == 1) & (most[left] >= values[climbing])
        found[climbing[enough]] = left[enough]
        level[climbing[enough]] = height
        climbing, block = climbing[~enough], block[~enough] // 2
    for height in range(len(levels) - 1, 0, -1):
        here = np.flatnonzero((level >= height) & (found != NONE))
        right = found[here] * 2 + 1
        found[here] = np.where(levels[height - 1][right] >= values[here], right, right - 1)
    return found


def maxima(values: Int64) -> list[Int64]:
    """Return the values, then the maximum of each pair of them, and so on up to one of all.

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
    """Return each interval's duration less the durations of those directly inside it.

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
