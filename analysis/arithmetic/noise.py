"""Whether two sets of step times differ by more than the steps of a run differ among themselves.

The test is Welch's (1947): the means of two samples with variances of their own, here the times of
one name in each step of either run. The interval of the ratio of the means is Fieller's (1954),
which leaves out 1 exactly where Welch's test finds a difference; T. Kalibera and R. Jones,
"Quantifying Performance Changes with Effect Size Confidence Intervals" (2012), recommend it for
this purpose. Of a thousand names that did not change, one test in twenty would still name fifty, so
the names of a kind are judged together, by the procedure of Y. Benjamini and Y. Hochberg (1995): of
those it calls changed, one in twenty is expected to be chance.

Steps of one run show how much steps differ, not how much runs do (clocks, temperature, neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.arithmetic.arrays import Bools, Float64, Int64

LEVEL: Final = 0.05
"""How often chance may pass for a change."""

FEWEST: Final = 2
"""Steps that each run must have for a spread to be known."""


@dataclass(frozen=True)
class Judgement:
    """How K names differ between two runs; NaN where there are too few steps.

    Attributes:
        p: ``(K,)`` how likely chance alone makes at least such a difference.
        low: ``(K,)`` lower end of the interval of the ratio, at 1 - `LEVEL`.
        high: ``(K,)`` its upper end; both are NaN where the interval has no end.
    """

    p: Float64
    low: Float64
    high: Float64


def judge(before: Int64, after: Int64) -> Judgement:
    """Return whether the mean times over steps differ between two runs, by Welch's test.

    Args:
        before: ``(K, S)`` times of each name in each step.
        after: ``(K, T)`` likewise, of the other run.
    """
    unknown = np.full(len(before), np.nan)
    steps = before.shape[1], after.shape[1]
    if min(steps) < FEWEST:
        return Judgement(unknown, unknown, unknown)
    means = before.mean(1), after.mean(1)
    # Of the mean, not of the steps: hence over their number.
    variances = before.var(1, ddof=1) / steps[0], after.var(1, ddof=1) / steps[1]
    together = variances[0] + variances[1]
    parts = variances[0] ** 2 / (steps[0] - 1) + variances[1] ** 2 / (steps[1] - 1)
    most = np.full(len(before), float(sum(steps) - 2))
    degrees = np.divide(together**2, parts, out=most, where=parts > 0)
    distance = np.abs(means[1] - means[0])
    # Where no step differs from another, any difference is beyond the spread.
    apart = np.where(distance > 0, np.inf, 0.0)
    t = np.divide(distance, np.sqrt(together), out=apart, where=together > 0)
    low, high = fieller_interval(means, variances, student_quantile(degrees))
    return Judgement(student_tail(t, degrees), low, high)


def student_tail(t: Float64, degrees: Float64) -> Float64:
    """Return the probability of at least ``t``, either sign, in Student's distribution.

    Args:
        t: ``(K,)`` no less than 0.
        degrees: ``(K,)`` of freedom, not necessarily whole.

    >>> t, degrees = np.array([12.706, 2.776, 1.984]), np.array([1.0, 4.0, 100.0])
    >>> student_tail(t, degrees).round(4).tolist()
    [0.05, 0.05, 0.05]
    """
    from scipy.special import stdtr  # here: most commands need it not, and it takes 0.15 s

    beyond: Float64 = 2 * np.asarray(stdtr(degrees, -t), np.float64)
    return beyond


def student_quantile(degrees: Float64) -> Float64:
    """Return for each number of degrees the t that chance exceeds with probability `LEVEL`.

    >>> student_quantile(np.array([1.0, 2.0, 4.0, 30.0])).round(2).tolist()
    [12.71, 4.3, 2.78, 2.04]
    """
    from scipy.special import stdtrit

    found: Float64 = np.asarray(stdtrit(degrees, 1 - LEVEL / 2), np.float64)
    return found


def fieller_interval(
    means: tuple[Float64, Float64], variances: tuple[Float64, Float64], t: Float64
) -> tuple[Float64, Float64]:
    """Return the ends of Fieller's interval of the ratio of the second mean to the first.

    They solve (b - r a)² = t² (vb + r² va) for r.

    Args:
        means: ``(K,)`` each.
        variances: of the means, ``(K,)`` each.
        t: ``(K,)`` the quantile.

    >>> one = np.ones(1)
    >>> ends = fieller_interval((one * 100, one * 110), (one * 0, one), one * 2)
    >>> [end.round(3).tolist() for end in ends]
    [[1.08], [1.12]]
    """
    a = means[0] ** 2 - t**2 * variances[0]
    b = means[0] * means[1]
    c = means[1] ** 2 - t**2 * variances[1]
    root = np.sqrt(np.maximum(b**2 - a * c, 0))
    bounded = a > 0
    ends = [
        np.divide(b + sign * root, a, out=np.full(len(a), np.nan), where=bounded)
        for sign in (-1, 1)
    ]
    return np.maximum(ends[0], 0), ends[1]


def changed(p: Float64) -> Bools:
    """Return which of some names changed, allowing for how many names are judged together.

    Benjamini and Hochberg: of the ascending p the last that is no larger than its share of `LEVEL`,
    and all before it. Names that are not judged (NaN) do not count.

    >>> changed(np.array([0.001, 0.04, 0.9, np.nan])).tolist()
    [True, False, False, False]
    """
    result = np.zeros(len(p), np.bool_)
    judged = np.flatnonzero(~np.isnan(p))
    order = judged[np.argsort(p[judged], kind="stable")]
    allowed = LEVEL * np.arange(1, len(order) + 1) / max(len(order), 1)
    passing = np.flatnonzero(p[order] <= allowed)
    result[order[: passing.max(initial=-1) + 1]] = True
    return result
