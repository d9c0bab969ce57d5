"""Whether our answers are NVIDIA's: how fast a wrong one comes does not matter.

Each function compares a file of ours with one of NVIDIA's, and returns how they differ: `SAME`
where they do not.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROUNDING: Final = 0.0501
"""NVIDIA prints one decimal; ours are whole numbers or all of the digits."""

SAME: Final = ""

Row = dict[str, str]
Rows = Mapping[tuple[str, ...], Row]
"""Rows by what tells them apart; the first is the name."""

Columns = tuple[tuple[str, str], ...]
"""Columns to compare: what we call each, and what NVIDIA does."""

KERNEL_COLUMNS: Final[Columns] = (
    ("calls", "Instances"),
    ("total_ns", "Total Time (ns)"),
    ("mean_ns", "Avg (ns)"),
    ("median_ns", "Med (ns)"),
    ("min_ns", "Min (ns)"),
    ("max_ns", "Max (ns)"),
    ("std_ns", "StdDev (ns)"),
)
RANGE_COLUMNS: Final[Columns] = (
    ("span_ns", "Total Proj Time (ns)"),
    ("gpu_ops", "Total GPU Ops"),
)
RECIPE_COLUMNS: Final[Columns] = (
    ("Range Instances", "Count"),
    ("Total Proj Time (ns)", "Sum"),
    ("Proj Avg (ns)", "Mean"),
    ("Proj Med (ns)", "Median"),
    ("Proj Min (ns)", "Min"),
    ("Proj Max (ns)", "Max"),
    ("Proj StdDev (ns)", "Std"),
)


def letter_for_letter(ours: Path, theirs: Path) -> str:
    """Compare two files line by line."""
    mine, other = (path.read_text("utf-8").splitlines() for path in (ours, theirs))
    if len(mine) != len(other):
        return f"{len(mine)} lines, NVIDIA has {len(other)}"
    for place, (line, wanted) in enumerate(zip(mine, other, strict=True), 1):
        if line != wanted:
            return f"line {place} is {line!r}, NVIDIA's {wanted!r}"
    return SAME


def kernels(ours: Path, theirs: Path) -> str:
    """Compare ``analysis.kernels`` with cuda_gpu_kern_sum: names, order, and every statistic."""
    mine, other = rows(ours, "name"), rows(theirs, "Name")
    if [*mine] != [*other]:
        return f"{len(mine)} names, NVIDIA has {len(other)}, or their order differs"
    return difference(mine, other, KERNEL_COLUMNS)


def ranges(ours: Path, theirs: Path) -> str:
    """Compare ``analysis.ranges`` with nvtx_gpu_proj_sum: the span and operations of each name.

    Ours also lists ranges without GPU work, and it writes the domain apart.
    """
    mine: Rows = {
        (f"{domain}:{name}" if domain else name, style): row
        for (domain, name, style), row in rows(ours, "domain", "range", "style").items()
        if int(row["gpu_ops"])
    }
    return difference(mine, rows(theirs, "Range", "Style"), RANGE_COLUMNS)


def recipe(ours: Path, theirs: Path) -> str:
    """Compare nvtx_gpu_proj_sum with the recipe of that name: every statistic of each name.

    The recipe has its own rules, and a report can be made on which it differs from `nsys stats`
    and so from us: it writes no domain before a name, puts styles together, leaves out ranges that
    were never closed or whose work took no time, and calls that end in the nanosecond in which the
    range does. It gives no deviation of a single range.
    """
    if not theirs.exists():
        return "the recipe wrote no answer"
    other = {key: row | {"Std": row["Std"] or "0"} for key, row in rows(theirs, "Text").items()}
    return difference(rows(ours, "Range"), other, RECIPE_COLUMNS)


def rows(path: Path, *columns: str) -> Rows:
    """Return the rows of a csv by what they have in some columns."""
    with path.open(encoding="utf-8", newline="") as stream:
        return {tuple(map(row.__getitem__, columns)): row for row in csv.DictReader(stream)}


def difference(mine: Rows, other: Rows, columns: Columns) -> str:
    """Compare rows: which there are, and their columns but for NVIDIA's rounding."""
    for key in sorted(mine.keys() ^ other.keys()):
        return f"only one of us has {' '.join(key)}"
    for key, row in mine.items():
        for ours, theirs in columns:
            found, wanted = row[ours], other[key][theirs]
            if found != wanted and abs(float(found) - float(wanted)) > ROUNDING:
                return f"{key[0]}: {ours} is {found}, NVIDIA's {wanted}"
    return SAME
