"""How much of the work could be attributed: each piece counts once, where it was placed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import numpy as np

from analysis.attribution.launches import within
from analysis.attribution.origin import origin
from analysis.attribution.selection import Options, Selected, Selection
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.source.report import Report


def coverage(report: Report, **selected: Unpack[Options]) -> Table:
    """Return how much work each relation places in a range, and how much none does.

    Args:
        report: what was recorded.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``relation, calls, kernel_ns, share``: ``own`` is launched inside a range of the launching
        thread; else ``caller`` while a range of another thread of the process was open; else
        ``origin`` serves the backward pass of a known operator; ``no_launch`` has no recorded
        launch, ``unplaced`` is launched outside all that. The calls add up to all there are, the
        shares (of time) to 1.
    """
    chosen = Selected.of(report, Selection(**selected))
    found, kept = chosen.found, chosen.work
    launches, ranges = found.launches, found.ranges
    own, known = found.placed, launches.known
    caller = ~own & within(launches.start_ns, launches.process, ranges)
    from_forward = ~own & ~caller & origin(found).known
    placed = own | caller | from_forward
    relations = {
        "own": own,
        "caller": caller,
        "origin": from_forward,
        "no_launch": ~known & ~placed,
        "unplaced": known & ~placed,
    }
    groups = {relation: group & kept for relation, group in relations.items()}
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
        counted=chosen.lines,
        heading="How much of the work was launched inside a range",
    )
