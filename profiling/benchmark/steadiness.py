"""What is the matter with some step times: a slow first one, outliers, a drift.

Outliers are judged by the modified z-score of B. Iglewicz and D. Hoaglin, "How to Detect and Handle
Outliers" (1993): the distance from the median in medians of such distances, 3.5 of them (scaled to
be standard deviations of a normal distribution). A drift is judged by the test of H. Mann
(1945) and M. Kendall: whether later steps are longer, or shorter, more often than chance would have
it; how far it goes is told by the median slope of all pairs (P. Sen, 1968).
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final

import numpy as np

from analysis.arithmetic.noise import FEWEST, fieller_interval, student_quantile
from analysis.show.render import duration, percent, plural

FEW: Final = 5
"""Below so many steps the spread itself is hardly known."""

FEWEST_FOR_DRIFT: Final = 8
OUTLIER_Z: Final = 3.5
NORMAL: Final = 0.6745
"""The median distance from the median, in standard deviations of a normal distribution."""

NORMAL_MEAN: Final = 0.7979
"""The mean of such distances, likewise; it stands in where the median is 0."""

MOST: Final = 300
"""How many times are compared pair by pair."""

SLOW: Final = 1.5
"""How much longer than all others the first of a few steps is, to be called slow."""

DRIFT_Z: Final = 2.576
"""Chance alone drifts as clearly once in a hundred runs."""

NEGLIGIBLE: Final = 0.01
"""A drift, or an outlier, of less than that share of the median is not worth a word."""


def outliers(times_ns: Sequence[int]) -> list[int]:
    """Return the positions of outliers among the times of steps.

    >>> outliers([100, 101, 99, 100, 250, 101, 99])
    [4]
    """
    middle = statistics.median(times_ns)
    distances = [abs(time - middle) for time in times_ns]
    scale = statistics.median(distances) / NORMAL or statistics.fmean(distances) / NORMAL_MEAN
    beyond = max(OUTLIER_Z * scale, NEGLIGIBLE * middle)
    return [place for place, distance in enumerate(distances) if distance > beyond]


def thinned(times_ns: Sequence[int]) -> Sequence[int]:
    """Return no more than `MOST` times: themselves, or medians of as many in a row.

    >>> len(thinned(range(1001)))
    251
    """
    block = -(-len(times_ns) // MOST)
    if block == 1:
        return times_ns
    starts = range(0, len(times_ns), block)
    return [statistics.median_low(times_ns[start : start + block]) for start in starts]


def drift(times_ns: Sequence[int]) -> float:
    """Return by how much of the median the last step is longer than the first, by the trend.

    0.0 where chance could make the trend, where it is negligible, or where steps are few.

    >>> round(drift(range(100, 120)), 2)
    0.17
    """
    if len(times_ns) < FEWEST_FOR_DRIFT:
        return 0.0
    times_ns = thinned(times_ns)
    count = len(times_ns)
    earlier, later = np.triu_indices(count, 1)
    changes = np.take(times_ns, later) - np.take(times_ns, earlier)
    score = int(np.sign(changes).sum())
    # Its variance where no two are equal; equal ones make it less, and the test stricter.
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    if (abs(score) - 1) / deviation < DRIFT_Z:
        return 0.0
    middle = statistics.median(times_ns)
    change = float(np.median(changes / (later - earlier))) * (count - 1) / middle
    return change if abs(change) > NEGLIGIBLE else 0.0


def slow_first(times_ns: Sequence[int]) -> bool:
    """Return whether the first of a few steps is longer than all others by half, beyond noise."""
    others = times_ns[1:]
    return times_ns[0] > SLOW * max(others) and times_longer(times_ns[0], others)[0] > 1


def times_longer(first_ns: int, warm_ns: Sequence[int]) -> tuple[float, float]:
    """Return how many times as long as a warm step a first one took, at least and at most.

    The first step is one, so it is taken to vary as a single warm step does, their mean as a mean:
    the interval leaves out 1 where no warm step would be expected to be like it. Both ends are NaN
    where that cannot be told.

    >>> [round(end, 1) for end in times_longer(30, [10, 11, 10, 12])]
    [2.4, 3.3]
    """
    times = np.array(warm_ns, np.float64)
    if len(times) < FEWEST:
        return math.nan, math.nan
    first, mean, variance = (
        np.array([value], np.float64) for value in (first_ns, times.mean(), times.var(ddof=1))
    )
    quantile = student_quantile(np.array([len(times) - 1.0]))
    low, high = fieller_interval((mean, first), (variance / len(times), variance), quantile)
    return float(low[0]), float(high[0])


def steadiness_warnings(times_ns: Sequence[int], warm_ns: Sequence[int] | None = None) -> list[str]:
    """Return warnings of unsteady step times, one line each; none where they are steady.

    Args:
        times_ns: of the steps, in order.
        warm_ns: of the same steps after more warm-up, where there are some: by these the first
            step is judged then.
    """
    count, said = len(times_ns), []
    if count < FEW:
        said.append(f"only {plural(count, 'step')}, so the spread is hardly known; time 10 or more")
    odd = outliers(times_ns) if count >= FEW else []
    middle = statistics.median(times_ns)
    if warm_ns is None:
        few_slow = 1 < count < FEW and slow_first(times_ns)
        slow, usual = times_ns[0] > middle and (0 in odd or few_slow), middle
    else:
        slow, usual = times_longer(times_ns[0], warm_ns)[0] > 1, statistics.median(warm_ns)
    if slow:
        times = f"{duration(times_ns[0])} against {duration(usual)}"
        said.append(f"the first step is slow ({times}); warm up more")
    if others := [place for place in odd if place or not slow]:
        which = ", ".join(str(place + 1) for place in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        said.append(
            f"{len(others)} of {count} steps are outliers (step {which}{more}); something else ran "
            "meanwhile, or the clock changed: repeat it"
        )
    if change := drift(times_ns):
        word = "longer" if change > 0 else "shorter"
        said.append(
            f"steps get {word} as the run goes on, {percent(abs(change))} in all; clocks, "
            "temperature or neighbours changed: repeat it, or warm up more"
        )
    return said
