"""Repeated measurements: taken by turns, their middle and spread, and whether a goal was met."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from random import Random
from statistics import median
from typing import Final

CONFIDENCE: Final = 0.95

SideTimes = dict[str, list[float]]
"""What was measured of each side, a value a turn."""

TimedSide = Callable[[int], float]
"""Runs so many steps; returns how many seconds one of them took, on average."""

FIRST_STEPS = 3
"""Of each side before the turns, one by one; the fastest says how many steps fill a block."""


@dataclass(frozen=True)
class Sample:
    """Repeated measurements of one thing: the median, and the ends of their spread.

    That is the least and the most, or the interval of `median_and_interval`.
    """

    middle: float
    low: float
    high: float
    count: int

    def scaled(self, factor: float) -> Sample:
        """Return the sample in another unit."""
        return Sample(self.middle * factor, self.low * factor, self.high * factor, self.count)


def median_and_range(values: Sequence[float]) -> Sample:
    """Return the median with the least and the most: for a handful of rounds.

    >>> median_and_range([3.0, 1.0, 2.0, 9.0])
    Sample(middle=2.5, low=1.0, high=9.0, count=4)
    """
    return Sample(median(values), min(values), max(values), len(values))


def median_and_interval(values: Sequence[float]) -> Sample:
    """Return the median with the interval that holds the true one in 95 % of cases, at least.

    It takes no shape of the noise for granted: the number of measurements below the true median is
    that of heads in as many throws of a coin. Below six measurements there is no such interval, and
    it is all of them.

    >>> median_and_interval([5.0, 1.0, 2.0, 4.0, 3.0, 6.0, 7.0, 8.0])
    Sample(middle=4.5, low=1.0, high=8.0, count=8)
    """
    ordered, count = sorted(values), len(values)
    left_out, chance = 0, 1
    # Cut one more at either end while what is lost stays below half of the doubt allowed.
    while left_out < (count - 1) // 2 and chance / 2**count <= (1 - CONFIDENCE) / 2:
        left_out += 1
        chance += comb(count, left_out)
    cut = max(left_out - 1, 0)
    return Sample(median(ordered), ordered[cut], ordered[count - 1 - cut], count)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return ``above / below`` round by round: what slowed a whole round cancels out.

    >>> ratios([2.0, 9.0], [1.0, 3.0])
    [2.0, 3.0]
    """
    return [one / other for one, other in zip(above, below, strict=True)]


def growth(after: Sample, before: Sample, factor: float) -> Sample:
    """Return how much more one unit of work takes when there is ``factor`` times as much.

    The rounds belong to different files, so the spread is the widest the two allow.
    """
    return Sample(
        after.middle / before.middle / factor,
        after.low / before.high / factor,
        after.high / before.low / factor,
        min(after.count, before.count),
    )


@dataclass(frozen=True)
class Goal:
    """A goal that a measurement is held against: in words, and the last value that meets it."""

    words: str
    limit: float
    at_least: bool = False

    def verdict(self, found: Sample) -> str:
        """Return ``met`` or ``missed``, by the median; ``narrowly`` where the spread crosses it.

        >>> Goal("4 or more", 4, at_least=True).verdict(median_and_range([3.9, 4.2, 4.3]))
        'met, narrowly'
        """
        values = (found.low, found.middle, found.high)
        held = [value >= self.limit if self.at_least else value <= self.limit for value in values]
        word = "met" if held[1] else "missed"
        return word if len(set(held)) == 1 else f"{word}, narrowly"


def interleaved(
    sides: Mapping[str, TimedSide], budget_s: float, *, block_s: float, fewest: int
) -> SideTimes:
    """Return the seconds of a step of each side; they take turns, in shuffled order.

    What disturbs the machine disturbs all sides alike: values at one place are of one turn.

    Args:
        sides: what to time, by name.
        budget_s: for all turns together.
        block_s: how long one side runs before another has its turn, at least one step.
        fewest: turns, however long a step takes.
    """
    once = min(side(1) for side in sides.values() for _ in range(FIRST_STEPS))
    steps = max(1, round(block_s / once))
    turns = max(fewest, round(budget_s / (len(sides) * steps * once)))
    found: SideTimes = {name: [] for name in sides}
    names, order = list(sides), Random(0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(turns):
            order.shuffle(names)
            for name in names:
                found[name].append(sides[name](steps))
    finally:
        gc.enable()
    return found
