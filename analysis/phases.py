"""Forward, backward, optimizer: how long each was open on the host, in all steps together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.attribution import Attribution
from analysis.errors import ReportError
from analysis.intervals import NONE, parents
from analysis.table import Table
from analysis.vocabulary import canonical
from profiling import names

if TYPE_CHECKING:
    from analysis.nvtx import Ranges
    from analysis.report import Report

Int64 = npt.NDArray[np.int64]

EMPTY: Final = np.empty(0, np.int64)
MOST: Final = 10
"""How many outermost ranges stand in for phases where there are none."""


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
    if len(phases):
        return _table(*_in_order(*by_name(phases)), steps=ranges.wall_ns[ranges.called(names.STEP)])
    others = outermost(ranges)
    if not len(others):
        return None
    note = "no range is called forward, backward or optimizer: the outermost are shown"
    labels, instances, wall = by_name(others)
    order = np.argsort(-wall, kind="stable")
    table = _table([labels[place] for place in order], instances[order], wall[order])
    return replace(table.head(MOST), notes=(note, *_left_out(table)))


def _left_out(table: Table) -> tuple[str, ...]:
    rest = len(table) - MOST
    return (f"{rest:,} more outermost ranges, shorter in all; not shown",) if rest > 0 else ()


def by_name(ranges: Ranges) -> tuple[list[str], Int64, Int64]:
    """Return the distinct canonical names, ascending, with instances and wall time of each."""
    called = [canonical(name) for name in ranges.names]
    known = sorted({called[number] for number in np.unique(ranges.name).tolist()})
    position = {name: place for place, name in enumerate(known)}
    place = np.array([position.get(name, 0) for name in called], np.int64)[ranges.name]
    instances = np.bincount(place, minlength=len(known)).astype(np.int64)
    wall = np.zeros(len(known), np.int64)
    np.add.at(wall, place, ranges.wall_ns)
    return known, instances, wall


def _in_order(labels: list[str], instances: Int64, wall: Int64) -> tuple[list[str], Int64, Int64]:
    order = sorted(range(len(labels)), key=lambda place: names.PHASES.index(labels[place]))
    return [labels[place] for place in order], instances[order], wall[order]


def _table(labels: list[str], instances: Int64, wall: Int64, steps: Int64 = EMPTY) -> Table:
    """Return the table; of steps, what no phase covers is a row of its own."""
    rest = int(steps.sum()) - int(wall.sum())
    if rest >= 0 and len(steps):
        labels = [*labels, "other"]
        instances, wall = np.append(instances, len(steps)), np.append(wall, rest)
    return Table(
        name="phases",
        columns={
            "phase": labels,
            "instances": instances,
            "wall_ns": wall,
            "mean_ns": wall / instances,
            "share": wall / max(int(wall.sum()), 1),
        },
        heading="Phases, by the time their ranges were open on the host",
    )


def outermost(ranges: Ranges) -> Ranges:
    """Return the ranges that no other range of their thread contains."""
    return ranges.take(parents(ranges.start_ns, ranges.end_ns, ranges.thread) == NONE)
