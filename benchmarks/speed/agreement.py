"""Whether our answers are NVIDIA's: how fast a wrong one comes does not matter."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

ROUNDING: Final = 0.0501
"""NVIDIA prints one decimal; ours are whole numbers or all of the digits."""

SAME: Final = ""
Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    """Return the rows of a csv."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def letter_for_letter(ours: Path, theirs: Path) -> str:
    """Return nothing where two files are the same, else the first line that is not."""
    mine, other = (path.read_text("utf-8").splitlines() for path in (ours, theirs))
    if len(mine) != len(other):
        return f"{len(mine)} lines, NVIDIA has {len(other)}"
    for place, (line, wanted) in enumerate(zip(mine, other, strict=True), 1):
        if line != wanted:
            return f"line {place} is {line!r}, NVIDIA's {wanted!r}"
    return SAME


KERNEL_COLUMNS: Final = (
    ("calls", "Instances"),
    ("total_ns", "Total Time (ns)"),
    ("mean_ns", "Avg (ns)"),
    ("median_ns", "Med (ns)"),
    ("min_ns", "Min (ns)"),
    ("max_ns", "Max (ns)"),
    ("std_ns", "StdDev (ns)"),
)
RANGE_COLUMNS: Final = (("span_ns", "Total Proj Time (ns)"), ("gpu_ops", "Total GPU Ops"))


RECIPE_COLUMNS: Final = (
    ("Range Instances", "Count"),
    ("Total Proj Time (ns)", "Sum"),
    ("Proj Avg (ns)", "Mean"),
    ("Proj Med (ns)", "Median"),
    ("Proj Min (ns)", "Min"),
    ("Proj Max (ns)", "Max"),
    ("Proj StdDev (ns)", "Std"),
)


def kernels(ours: Path, theirs: Path) -> str:
    """Compare ``analysis.kernels`` with cuda_gpu_kern_sum: names, order, and every statistic."""
    mine, other = rows(ours), rows(theirs)
    names, wanted = [row["name"] for row in mine], [row["Name"] for row in other]
    if names != wanted:
        return f"{len(names)} names, NVIDIA has {len(wanted)}, or their order differs"
    for row, known in zip(mine, other, strict=True):
        if difference := differing(row, known, KERNEL_COLUMNS):
            return f"{row['name']}: {difference}"
    return SAME


def ranges(ours: Path, theirs: Path) -> str:
    """Compare ``analysis.ranges`` with nvtx_gpu_proj_sum: the span and operations of each name.

    Ours also lists ranges without GPU work, and it writes the domain apart.
    """
    mine = {
        (f"{row['domain']}:{row['range']}" if row["domain"] else row["range"], row["style"]): row
        for row in rows(ours)
        if int(row["gpu_ops"])
    }
    other = {(row["Range"], row["Style"]): row for row in rows(theirs)}
    if mine.keys() != other.keys():
        apart = sorted(mine.keys() ^ other.keys())
        return f"only one of us has {apart[0]}"
    for key, row in mine.items():
        if difference := differing(row, other[key], RANGE_COLUMNS):
            return f"{key[0]}: {difference}"
    return SAME


def recipe(ours: Path, theirs: Path) -> str:
    """Compare nvtx_gpu_proj_sum with the recipe of that name: every statistic of each name.

    The recipe has its own rules, and a report can be made on which it differs from `nsys stats`
    and so from us: it writes no domain before a name, puts styles together, leaves out ranges that
    were never closed or whose work took no time, and calls that end in the nanosecond in which the
    range does. It gives no deviation of a single range.
    """
    if not theirs.exists():
        return "the recipe wrote no answer"
    mine = {row["Range"]: row for row in rows(ours)}
    other = {row["Text"]: row | {"Std": row["Std"] or "0"} for row in rows(theirs)}
    if mine.keys() != other.keys():
        apart = sorted(mine.keys() ^ other.keys())
        return f"only one of us has {apart[0]}"
    for name, row in mine.items():
        if difference := differing(row, other[name], RECIPE_COLUMNS):
            return f"{name}: {difference}"
    return SAME


def differing(mine: Row, other: Row, columns: tuple[tuple[str, str], ...]) -> str:
    """Return the first column in which two rows differ by more than NVIDIA's rounding."""
    for ours, theirs in columns:
        exact = mine[ours] == other[theirs]
        if not exact and abs(float(mine[ours]) - float(other[theirs])) > ROUNDING:
            return f"{ours} is {mine[ours]}, NVIDIA's {other[theirs]}"
    return SAME
