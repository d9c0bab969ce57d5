"""How much of the work could be attributed: each piece counts once, where it was placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.attribution.launches import within
from analysis.attribution.origin import origin
from analysis.show.table import Table
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution


def coverage(found: Attribution) -> Table:
    """Return how much work each relation places, and how much none does.

    Returns:
        ``relation, calls, kernel_ns, share``: ``own`` is launched inside a range of the launching
        thread; else ``caller`` while a range of another thread of the process was open; else
        ``origin`` serves the backward pass of a known operator; ``no_launch`` has no recorded
        launch, ``unplaced`` is launched outside all that. The calls add up to all there are, the
        shares (of time) to 1.
    """
    launches, ranges = found.launches, found.ranges
    own, known = found.placed, launches.known
    process = np.where(known, (launches.thread >> 24) & 0xFFFFFF, tables.MISSING)
    caller = ~own & within(launches.start_ns, process, ranges)
    from_forward = ~own & ~caller & origin(found).known
    placed = own | caller | from_forward
    groups = {
        "own": own,
        "caller": caller,
        "origin": from_forward,
        "no_launch": ~known & ~placed,
        "unplaced": known & ~placed,
    }
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
