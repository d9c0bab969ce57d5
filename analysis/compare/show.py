"""How a comparison is shown to people: the totals above, then a table for each kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.compare.changes import relative_change
from analysis.compare.checks import SIDES
from analysis.compare.rows import GONE, NEW, NOISE
from analysis.compare.sides import BUSY, WALL
from analysis.show.render import duration, plural
from analysis.show.sheet import cut, visible
from analysis.show.table import Table

if TYPE_CHECKING:
    from analysis.compare.sides import Side
    from analysis.source.report import Report

TOTALS: Final = (BUSY, WALL, "kernel", "operator")

FIRST: Final = 5
"""How many new and how many gone names stand above a table."""

SHORT: Final = 88
"""How wide they may be."""

TITLES: Final = {
    "phase": "Phases, by the time of what they launched",
    "category": "Categories",
    "range": "Ranges, by the time of what was launched inside",
    "kernel": "Kernels",
    "operator": "CPU operators, by self time",
}

HIDDEN: Final = (
    *("p", "ratio_low", "ratio_high", "total_before_ns", "total_after_ns"),
    *("self_before_ns", "self_after_ns", "recorded_before", "recorded_after"),
)

Row = dict[str, int | float | str]


def heading(reports: tuple[Report, Report], sides: Sequence[Side], *, excluded: bool) -> list[str]:
    """Return the lines above a comparison: which reports, and in what measure."""
    lines = []
    for word, report, each in zip(SIDES, reports, sides, strict=True):
        counted = f" · {plural(each.contents.count, 'step')}" if each.has_steps else ""
        lines.append(f"{word + ':':7} {visible(report.describe())}{counted}")
        lines += [f"{'':7} {line}" for line in each.counted]
    warmup = "warm-up left out" if excluded else "warm-up included"
    if sides[0].has_steps:
        return [*lines, f"per step, {warmup}"]
    return [*lines, f"whole reports, {warmup}: a longer recording has more of everything"]


def total_line(row: Row) -> str:
    """Return one line on a total: before, after, change, and whether it is beyond noise."""
    name, before, after = row["name"], float(row["before_ns"]), float(row["after_ns"])
    change = relative_change(float(row["ratio"]))
    times = f"{duration(before):>8} -> {duration(after):>8}"
    if row["status"] == NOISE:
        return f"{name:8} {times}  {change}, no difference shown{interval(row)}"
    return f"{name:8} {times}  {change}{interval(row)}, {row['status']}"


def interval(row: Row) -> str:
    """Return the interval of a row's ratio in words, in brackets; "" where it is not known."""
    low, high = float(row["ratio_low"]), float(row["ratio_high"])
    return "" if math.isnan(low) else f" ({relative_change(low)} to {relative_change(high)})"


def idle_line(sides: Sequence[Side]) -> list[str]:
    """Return a line on how much of the wall time the GPUs did nothing; none on a CPU."""
    shares = [side.idle_share for side in sides]
    if any(map(math.isnan, shares)):
        return []
    before, after = (f"{100 * share:.1f} %" for share in shares)
    gpus = max(side.gpus for side in sides)
    return [f"{'idle':8} {before:>8} -> {after:>8}  of the wall time of the GPU{'s'[: gpus - 1]}"]


def only_kind(table: Table, kind: str | None) -> Table:
    """Return a comparison's rows of one kind; kernels are operators on a CPU."""
    if kind is None:
        return table
    wanted = {"kernel", "operator"} if kind in ("kernel", "operator") else {kind}
    kinds = table.columns["kind"]
    return table.take(np.array([row for row, each in enumerate(kinds) if each in wanted], np.int64))


def sections(table: Table) -> list[Table]:
    """Return a comparison as a table for each kind of names."""
    kinds = list(table.columns["kind"])
    made = []
    for kind in dict.fromkeys(kinds):
        part = only_kind(table, kind)
        status = list(part.columns["status"])
        new, gone = status.count(NEW), status.count(GONE)
        counts = f"{len(part) - new - gone:,} in both, {new:,} new, {gone:,} gone"
        title = "\n".join(
            [
                f"{TITLES.get(kind, 'Totals')}: {counts}",
                *lines_of_status(part, NEW),
                *lines_of_status(part, GONE),
            ]
        )
        spare = ("calls_before", "calls_after", "call_ratio")
        unseen = ("kind", *HIDDEN)
        made.append(replace(part, heading=title, hidden=unseen, droppable=spare))
    return made


def lines_of_status(part: Table, status: str) -> list[str]:
    """Return a line for each name that is new, or gone; of many only the first."""
    pairs = zip(part.columns["name"], part.columns["status"], strict=True)
    names = [name for name, word in pairs if word == status]
    lines = [f"{status + ':':6}{cut(visible(name), SHORT)}" for name in names[:FIRST]]
    more = len(names) - FIRST
    return [*lines, f"{status + ':':6}{more:,} more"] if more > 0 else lines
