"""How times spread: mean, median, deviation, extremes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

QUANTILES: Final = (0.5, 0.1, 0.9)
"""The median, and the ends of what a time mostly lies between."""

MEDIAN: Final = ("median_ns", "p10_ns", "p90_ns")
"""What they are called as columns, of times in ns."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, median, deviation and extremes of repeated measurements, in their own unit.

    Attributes:
        count: how many there were.
        std: of the sample (n - 1); 0.0 for one.
    """

    count: int
    total: float
    mean: float
    median: float
    std: float
    min: float
    max: float

    @classmethod
    def of_values(cls, values: Sequence[float]) -> Self:
        """Summarise one or more values.

        Raises:
            ValueError: there is none.

        >>> Spread.of_values([10, 160, 20, 80, 40]).median
        40
        """
        if not values:
            raise ValueError("no values to summarise")
        return cls(
            count=len(values),
            total=sum(values),
            mean=statistics.fmean(values),
            median=statistics.median(values),
            std=statistics.stdev(values) if len(values) > 1 else 0.0,
            min=min(values),
            max=max(values),
        )

    def cells(self, *figures: str, of: str = "") -> dict[str, float]:
        """Return some of the figures of times in ns, by column: ``<of>_<figure>_ns``.

        >>> Spread.of_values([10, 20]).cells("mean", of="step")
        {'step_mean_ns': 15.0}
        """
        before = f"{of}_" if of else ""
        return {f"{before}{figure}_ns": float(getattr(self, figure)) for figure in figures}

    @staticmethod
    def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
        """Return the median of one or more values, and between what four fifths of them lie.

        A tenth lies below the second figure and a tenth above the third, interpolated as NumPy
        does: `QUANTILES`.

        >>> Spread.quantiles([30, 10, 20])
        (20.0, 12.0, 28.0)
        """
        ordered = sorted(values)

        def at(part: float) -> float:
            place = part * (len(ordered) - 1)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            return ordered[low] + (place - low) * (ordered[high] - ordered[low])

        middle, low, high = (at(part) for part in QUANTILES)
        return float(middle), float(low), float(high)

    @property
    def relative_std(self) -> float:
        """The deviation as a share of the mean; 0.0 where the mean is 0."""
        return self.std / self.mean if self.mean else 0.0
