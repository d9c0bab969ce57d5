"""Forward, backward, optimizer: how long each was open on the host, in all steps together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.attribution import Attribution
from analysis.errors import ReportError
from analysis.intervals import NONE, parents
from analysis.table import Table
from analysis.vocabulary import canonical
from profiling import names

if TYPE_CHECKING:
    from analysis.nvtx import Ranges
    from analysis.report import Report


def of_report(report: Report) -> Table:
    """Return `phase_times` of a report.

    Raises:
        ReportError: there is no work, or no range.
    """
    table = phase_times(Attribution.of(report))
    if table is None:
        raise ReportError(report.path, "no NVTX range in this report", "record with --trace=nvtx")
    return table


def phase_times(found: Attribution) -> Table | None:
    """Return the wall time of each phase, warm-up left out.

    Where a report has no phase range at all, the outermost ranges stand in, and a note says so.

    Returns:
        ``phase, instances, wall_ns, mean_ns, share``; the share is of what is listed, and the rest
        of each step, where there are steps, is a row of its own. None without any range.
    """
    ranges = found.ranges.take(~found.ranges_in_warmup)
    phases = ranges.take(ranges.where(lambda name: name in names.PHASES))
    notes: tuple[str, ...] = ()
    if not len(phases):
        phases = outermost(ranges)
        if not len(phases):
            return None
        notes = ("no range is called forward, backward or optimizer: the outermost are shown",)
    labels = sorted({canonical(phases.names[number]) for number in set(phases.name.tolist())})
    labels.sort(key=lambda label: names.PHASES.index(label) if label in names.PHASES else 9)
    walls = [phases.wall_ns[phases.called(label)] for label in labels]
    instances = [len(wall) for wall in walls]
    totals = [int(wall.sum()) for wall in walls]
    steps = ranges.wall_ns[ranges.called(names.STEP)]
    rest = int(steps.sum()) - sum(totals)
    if len(steps) and not notes and rest >= 0:
        labels, totals = [*labels, "other"], [*totals, rest]
        instances = [*instances, len(steps)]
    total = np.array(totals, np.int64)
    return Table(
        name="phases",
        columns={
            "phase": labels,
            "instances": np.array(instances, np.int64),
            "wall_ns": total,
            "mean_ns": total / np.array(instances, np.int64),
            "share": total / max(int(total.sum()), 1),
        },
        heading="Phases, by the time their ranges were open on the host",
        notes=notes,
    )


def outermost(ranges: Ranges) -> Ranges:
    """Return the ranges that no other range of their thread contains."""
    return ranges.take(parents(ranges.start_ns, ranges.end_ns, ranges.thread) == NONE)
