"""GPU time of every NVTX range of a report, as one table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.attribution.launches import Attribution
from analysis.attribution.selected import Selected, narrowed
from analysis.attribution.selection import Options, Selection
from analysis.measures.range_times import range_times
from analysis.ranges.rows import notes_on_ranges, rows_by_instance, rows_by_name
from analysis.ranges.tree import rows_by_place
from analysis.show.errors import ReportError

if TYPE_CHECKING:
    from analysis.show.table import Table
    from analysis.source.report import Report

NO_WORK: Final = (
    "no GPU work and no CPU operators in this report: only how long its ranges were open"
)

OF_WORK: Final = ("span_ns", "busy_ns", "kernel_ns", "self_ns", "gpu_ops", "backward_ns", "lost_ns")
"""Columns that say nothing where no work was recorded."""


def summary(
    report: Report,
    *,
    tree: bool = False,
    instances: bool = False,
    depth: int | None = None,
    most: int | None = None,
    **selected: Unpack[Options],
) -> Table:
    """Return the ranges of a report with the GPU time of each.

    Args:
        report: what was recorded.
        tree: one row per place in the tree of ranges, those with the most kernel time first, each
            followed by those inside it, with ``lost_ns``, ``depth`` and ``path`` as further
            columns; else one row per name, style and domain.
        instances: one row per range, in the order they open, with ``start_ns`` and ``thread`` as
            further columns.
        depth: how many levels the tree has; None for all.
        most: how many places the tree has, those with the most time; None for all.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``range, style, instances, wall_ns, span_ns, busy_ns, kernel_ns, self_ns, gpu_ops, flops,
        backward_ns, source, domain``; ``flops`` is NaN where it is not known, and ``backward_ns``
        where no work of the report has an origin; ``domain`` is "" for what NVTX has no name for,
        else what NVIDIA's reports put before the range's name.

    Raises:
        ReportError: there is no range and no work, or no such range, step, device or process.
    """
    asked = Selection(**selected)
    chosen = Selected.of_any(narrowed(report, asked), asked)
    attribution, kept = chosen.attribution, chosen.ranges
    if not len(attribution.ranges):
        Attribution.of(report)  # which says so where there is no work either
        raise ReportError(report.path, "no NVTX ranges in this report", "record with --trace=nvtx")
    times = range_times(chosen)
    if instances:
        table = rows_by_instance(attribution, times, np.flatnonzero(kept))
    elif tree:
        table = rows_by_place(
            attribution, times, attribution.parents, kept, levels=depth, most=most
        )
    else:
        table = rows_by_name(attribution, times, kept)
    lines: tuple[str, ...] = ()
    any_work = bool(times.gpu_ops.any()) or len(attribution.work) > 0
    del times  # of a large report they take more than all else
    if not any_work:
        lines = (NO_WORK,)
        table = replace(table, hidden=(*table.hidden, *OF_WORK), droppable=())
    table = replace(table, notes=(*lines, *notes_on_ranges(chosen), *table.notes))
    return replace(table, counted=chosen.heading_lines)
