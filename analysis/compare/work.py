"""Whether two recordings without steps hold as much work, by how often the same kernels ran.

A capture of so many seconds holds what was done in them: a slower program does less and may even
keep its GPUs less busy. Only the calls of kernels that both recordings have tell how much was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from analysis.compare.sides import Side

LIKE: Final = 0.01
"""By how much the work of two recordings may differ and still pass for the same."""

SAME_TIME: Final = 0.05
"""By how much two windows may differ and still be of one length."""


@dataclass(frozen=True)
class Work:
    """What AFTER did, of the kernels (on a CPU: operators) that both have, by BEFORE's.

    Attributes:
        done: how much: calls, each counted as long as it took on average in BEFORE.
        per_call: how long a call took, on average over the same calls.
        wall: how long the window is.
    """

    done: float
    per_call: float
    wall: float

    @property
    def alike(self) -> bool:
        """Whether the two did the same, to `LIKE`."""
        return abs(self.done - 1) <= LIKE

    def __str__(self) -> str:
        """Say how they differ."""
        how = "less" if self.done < 1 else "more"
        same = abs(self.wall - 1) <= SAME_TIME
        time = "in the same time" if same else f"in {100 * self.wall:.1f} % of the time"
        return f"{100 * abs(self.done - 1):.1f} % {how} of the same work was done {time}"


def compared(before: Side, after: Side) -> Work | None:
    """Return how the work of two reports differs; None where they have steps, or nothing shared."""
    if before.has_steps or after.has_steps:
        return None
    kind = "operator" if before.on_cpu else "kernel"
    sides = [side.series[kind] for side in (before, after)]
    rows = [{name: row for row, name in enumerate(series.names)} for series in sides]
    shared = [name for name in rows[0] if name in rows[1]]
    places = [np.array([row[name] for name in shared], np.int64) for row in rows]
    (was, spent), (calls, called) = (
        [getattr(series, field)[place].sum(1) for series, place in zip(sides, places, strict=True)]
        for field in ("time_ns", "calls")
    )
    expected = (was * called / np.maximum(calls, 1)).sum()
    walls = [int(side.contents.wall_ns.sum()) for side in (before, after)]
    if not was.sum() or not expected or not walls[0]:
        return None
    return Work(float(expected / was.sum()), float(spent.sum() / expected), walls[1] / walls[0])


def line(work: Work | None) -> list[str]:
    """Return what to know beside the totals, where the work is not the same."""
    if work is None or work.alike:
        return []
    change = f"{(work.per_call - 1) * 100:+.1f} %"
    return [f"work     {work}; a call took {change}: see call ratio, not the totals"]
