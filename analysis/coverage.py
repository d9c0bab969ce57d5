"""How much of the work could be attributed: each piece counts once, where it was placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.table import Table

if TYPE_CHECKING:
    from analysis.attribution import Attribution


def coverage(found: Attribution) -> Table:
    """Return how much work each relation places, and how much none does.

    Returns:
        ``relation, calls, kernel_ns, share``: ``own`` is launched inside a range of the launching
        thread, ``no_launch`` has no recorded launch, ``unplaced`` is launched outside any range.
        The calls add up to all there are, the shares (of time) to 1.
    """
    own, known = found.placed, found.launches.known
    groups = {"own": own, "no_launch": ~known, "unplaced": known & ~own}
    duration = found.work.duration_ns
    times = np.array([duration[group].sum() for group in groups.values()], np.int64)
    return Table(
        name="coverage",
        columns={
            "relation": list(groups),
            "calls": np.array([group.sum() for group in groups.values()], np.int64),
            "kernel_ns": times,
            "share": times / max(int(times.sum()), 1),
        },
        heading="How much of the work was launched inside a range",
    )
