"""Sums, means, medians and deviations of many durations by group, from one sort.

The rules are those of NVIDIA's ``cuda_gpu_kern_sum``: the median of an even number is the mean of
the two in the middle, the deviation is the sample's (n - 1), and 0.0 for one call.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.arithmetic.arrays import Float64, Int64

DURATION_BITS: Final = 40
"""Room for a duration beside its group's number in 64 bits: 2**40 ns are 18.3 minutes."""


SCORE_OF_DEVIATION: Final = 0.6745
"""Of a normal distribution the median distance from the median is so many standard deviations."""

FARTHEST: Final = 3.5
"""The modified z-score from which a value is an outlier."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of durations, an entry a group; a group without a call is all zero."""

    calls: Int64
    total_ns: Int64
    mean_ns: Float64
    median_ns: Float64
    min_ns: Int64
    max_ns: Int64
    std_ns: Float64


def summarize(group: Int64, duration_ns: Int64, groups: int) -> Statistics:
    """Return the statistics of the durations in each group.

    Args:
        group: ``(N,)`` numbers from 0 to ``groups`` - 1.
        duration_ns: ``(N,)``.
        groups: how many there are.

    >>> found = summarize(np.array([0, 0, 0, 0, 0, 1]), np.array([10, 160, 20, 80, 40, 7]), 2)
    >>> found.total_ns.tolist(), found.median_ns.tolist(), found.std_ns.round(1).tolist()
    ([310, 7], [40.0, 7.0], [61.0, 0.0])
    """
    calls = np.bincount(group, minlength=groups).astype(np.int64)
    ordered = sort_by_group(group, duration_ns, groups)
    first = np.cumsum(calls) - calls
    used = np.flatnonzero(calls)
    begins, counts = first[used], calls[used]

    total = np.zeros(groups, np.int64)
    mean, median, std = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    least, most = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    if len(used):
        total[used] = np.add.reduceat(ordered, begins)
        mean[used] = total[used] / counts
        least[used], most[used] = ordered[begins], ordered[begins + counts - 1]
        middle = ordered[begins + (counts - 1) // 2] + ordered[begins + counts // 2]
        median[used] = middle / 2
        deviation = ordered - np.repeat(mean[used], counts)
        squares = np.add.reduceat(deviation * deviation, begins)
        # Of one call the sum of squares is 0, so any divisor but 0 gives the 0.0 that is wanted.
        std[used] = np.sqrt(squares / np.maximum(counts - 1, 1))
    return Statistics(calls, total, mean, median, least, most, std)


def sort_by_group(group: Int64, duration_ns: Int64, groups: int) -> Int64:
    """Return the durations ordered by group, and within a group from the shortest to the longest.

    Both are packed into one number where they fit, which sorts many times faster than two keys.
    """
    if not len(duration_ns):
        return duration_ns
    longest, shortest = int(duration_ns.max()), int(duration_ns.min())
    if shortest < 0 or longest >> DURATION_BITS or groups >> (62 - DURATION_BITS):
        return duration_ns[np.lexsort((duration_ns, group))]
    packed = (group << DURATION_BITS) | duration_ns
    packed.sort()
    return packed & ((1 << DURATION_BITS) - 1)


def sums(group: Int64, values: Int64, groups: int) -> Int64:
    """Return ``(groups,)`` the sum of the ``(N,)`` values of each group, in whole numbers.

    >>> sums(np.array([0, 2, 0]), np.array([1, 2, 3]), 3).tolist()
    [4, 0, 2]
    """
    result = np.zeros(groups, np.int64)
    np.add.at(result, group, values)
    return result


def deviation(values: Float64) -> float:
    """Return the sample's deviation (n - 1) of one group of values; 0.0 for one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def is_high_outlier(value: float, others: Float64, *, at_least: float) -> bool:
    """Return whether a value lies above others by far more than they lie apart.

    Its modified z-score, by the median of the others and the median of their distances from it,
    must be over 3.5: B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers" (1993).

    Args:
        value: the one that is asked about.
        others: ``(N,)`` at least one, that value not among them.
        at_least: how many times their median it must be besides, as others may be all alike.

    >>> steps = np.array([100.0, 104.0, 99.0])
    >>> [is_high_outlier(first, steps, at_least=1.5) for first in (104.0, 149.0, 160.0)]
    [False, False, True]
    """
    middle = float(np.median(others))
    apart = float(np.median(np.abs(others - middle)))
    return SCORE_OF_DEVIATION * (value - middle) > FARTHEST * apart and value >= at_least * middle
