"""Does a decode step take longer the further the text has come, that is, with a longer cache?

The slope is that of a straight line through the steps of each prompt, all with one slope and each
with a height of its own: prompts differ in length, and a long answer must not pass for a slow one.
The first step is left out: it reads what the projectors have made, for the first time. Its interval
comes from how much the prompts differ (their clustered variance, Student's t): steps beside each
other are too alike to be counted as independent. Of a single prompt it comes from stretches of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.noise import quantile

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

FEWEST: Final = 8
"""Steps after the first that a prompt must have to count: of fewer, a slope is noise."""

STRETCHES: Final = 10
"""Into how many a single prompt is cut."""

GROWS: Final = "grows"
FALLS: Final = "falls"
UNCLEAR: Final = "no change seen"
UNKNOWN: Final = "too few steps"


@dataclass(frozen=True, slots=True)
class Growth:
    """How decode steps change from one to the next; NaN where there is too little to tell.

    Attributes:
        steps: that count: of prompts with at least `FEWEST`.
        prompts: that have them.
        mean_ns: of those steps.
        slope_ns: by which each is longer than the one before.
        low_ns: lower end of its interval, at 95 %.
        high_ns: upper end.
    """

    steps: int
    prompts: int
    mean_ns: float
    slope_ns: float
    low_ns: float
    high_ns: float

    @property
    def share(self) -> float:
        """By how much of itself a step grows in 100 tokens."""
        return 100 * self.slope_ns / self.mean_ns if self.mean_ns else np.nan

    @property
    def verdict(self) -> str:
        """Whether steps get longer, beyond chance."""
        if np.isnan(self.low_ns):
            return UNKNOWN
        if self.low_ns > 0:
            return GROWS
        return FALLS if self.high_ns < 0 else UNCLEAR


def growth(prompts: Sequence[Int64]) -> Growth:
    """Return the growth of the decode steps of some prompts.

    Args:
        prompts: ``(S,)`` step times of each, the first step among them.
    """
    used: list[Float64] = [steps[1:].astype(np.float64) for steps in prompts if len(steps) > FEWEST]
    count = sum(len(steps) for steps in used)
    mean = float(np.concatenate(used).mean()) if used else np.nan
    if not used:
        return Growth(0, 0, mean, np.nan, np.nan, np.nan)
    places = [_centred(np.arange(len(steps), dtype=np.float64)) for steps in used]
    heights = [_centred(steps) for steps in used]
    spread = sum(float(place @ place) for place in places)
    pairs = list(zip(places, heights, strict=True))
    slope = sum(float(place @ height) for place, height in pairs) / spread
    # What each group pulls the slope by: its own, or that of a stretch of the only prompt.
    rest = [(place, height - slope * place) for place, height in pairs]
    groups = _groups(rest)
    weight = np.array([float(place @ place) for place, _ in groups]) / spread
    # Divided by what it leaves to the others, as the jackknife does: a long one bends the line
    # towards itself, and its rest is too small.
    pulls = np.array([float(place @ left) for place, left in groups]) / (1 - weight)
    error = float(np.sqrt((1 - 1 / len(groups)) * (pulls**2).sum())) / spread
    # As many groups as there would be if all weighed the same, less one.
    degrees = max(1 / float((weight**2).sum()) - 1, 1.0)
    half = float(quantile(np.array([degrees]))[0]) * error
    return Growth(count, len(used), mean, slope, slope - half, slope + half)


def _centred(values: Float64) -> Float64:
    centred: Float64 = values - values.mean()
    return centred


def _groups(rest: list[tuple[Float64, Float64]]) -> list[tuple[Float64, Float64]]:
    if len(rest) > 1:
        return rest
    ((place, left),) = rest
    cut = min(STRETCHES, len(place) // 2)
    parts = zip(np.array_split(place, cut), np.array_split(left, cut), strict=True)
    return list(parts)
