"""How times spread: mean, median, deviation, extremes."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


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

    @property
    def relative_std(self) -> float:
        """The deviation as a share of the mean; 0.0 where the mean is 0."""
        return self.std / self.mean if self.mean else 0.0
