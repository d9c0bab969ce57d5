"""Times of steps that the launcher noted, recorded and not, and what recording cost them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Float64
from analysis.arithmetic.noise import LEVEL, judge

if TYPE_CHECKING:
    from analysis.source.report import Report

FEWEST: Final = 3
"""Of two steps the spread is half a guess; the default of `make profile` is three."""

TRIMMED: Final = "trimmed"
"""The key of `TOOLKIT_RUN` under which `analysis.trim` says what it kept."""

UNSTEADY: Final = 0.25
"""Where half of the steps lie further than this from their median, the median says little."""

LONGEST_NS: Final = 1 << 63
"""A step takes less than that, and more than nothing; NaN does neither."""


def step_times(report: Report, key: str) -> Float64:
    """Return step times that the launcher noted; empty where it noted none that make sense."""
    try:
        times = json.loads(report.run.get(key, "[]"))
    except (ValueError, RecursionError):
        times = []
    whole = isinstance(times, list) and all(
        isinstance(time, int | float) and 0 < time < LONGEST_NS for time in times
    )
    return np.array(times if whole else [], np.float64)


def unsteady(step_ns: Float64) -> bool:
    """Return whether step times lie so far apart that their median says little.

    >>> unsteady(np.array([37.5, 508.7])), unsteady(np.array([70, 80, 300]))
    (True, False)
    """
    if not len(step_ns):
        return False
    middle = float(np.median(step_ns))
    return float(np.median(np.abs(step_ns - middle))) > UNSTEADY * middle


def slowdown(recorded: Float64, bare: Float64) -> float | None:
    """Return by how much recording slowed a step, as a share, or None where it cannot be told.

    To tell takes some steps of either kind, and means that lie further apart than chance would have
    them, given how much the steps of each kind differ (Welch's test, as in `analysis.compare`).

    Args:
        recorded: ``(S,)`` times of steps.
        bare: ``(T,)`` of steps that were not recorded.

    >>> fast, slow = np.array([100.0, 101.0, 102.0]), np.array([120.0, 121.0, 122.0])
    >>> print(round(slowdown(slow, fast), 3), slowdown(slow[:2], fast), slowdown(fast, fast + 1))
    0.198 None None
    """
    if min(len(recorded), len(bare)) < FEWEST:
        return None
    before, after = (times[None, :].astype(np.int64) for times in (bare, recorded))
    chance = float(judge(before, after).p[0])
    if not chance <= LEVEL:
        return None
    return float(np.median(recorded) / np.median(bare)) - 1
