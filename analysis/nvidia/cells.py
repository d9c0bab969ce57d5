"""Numbers and text as ``nsys stats`` 2023.4 prints them, so that its csv can be had cell for cell.

Its reports are SQL. What its SQLite (3.42) does when it rounds, and what its csv does with quotes,
is repeated here; each rule says how it was found out.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.arrays import Float64, Int64, coded
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import Statistics, summarize
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.show.table import Table


MEGABYTES: Final = "(MB)"
DROPPABLE: Final = ("StdDev", "Med", "Min", "Max", "Avg Num Child", "Avg GPU Ops")
"""What a table for people leaves out where it has no room, the first to go first."""

LARGEST_NUDGED: Final = 2.0**42
LARGEST_ROUNDED: Final = 2.0**52
TIE: Final = 1e-6


def rounded(values: Float64) -> Float64:
    """Return values rounded as ``round(x, 1)`` of SQLite 3.42: x, 0.05 and a nudge, cut to a digit.

    Below 2**42 it adds 3e-16 of x, so that a half that binary numbers can only nearly hold (0.35)
    is rounded up all the same; see `sqlite3_str_vappendf`. NaN stays NaN.

    >>> rounded(np.array([0.35, 0.25, 2.04, 1e15])).tolist()
    [0.4, 0.3, 2.0, 1000000000000000.0]
    """
    # SQLite uses a C `long double` here: 80 bits on the machines nsys runs on.
    wide = np.abs(values).astype(np.longdouble)
    nudge = np.where(wide < LARGEST_NUDGED, 0.05 + wide * 3e-16, 0.05).astype(np.float64)
    tenths = np.floor((wide + nudge) * 10).astype(np.float64)
    return np.where(wide < LARGEST_ROUNDED, np.copysign(tenths / 10, values), values)


def nvidia_statistics(group: Int64, values: Int64, groups: int, unit: float = 0.1) -> Statistics:
    """Return the statistics of groups, with NVIDIA's error in the deviation where it shows.

    NVIDIA's ``stdev`` goes through the rows one by one (Welford's method). It differs from the
    deviation computed at once in the last bits, and those decide where a deviation lies half-way
    between two that can be printed: there, and only there, the same is done.

    Args:
        group: ``(N,)`` in the order of the file.
        values: ``(N,)``.
        groups: how many there are.
        unit: what is printed of the deviation: a tenth, or 1000 of bytes that are shown as MB.
    """
    found = summarize(group, values, groups)
    scaled = found.std_ns / unit
    close = np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < TIE)
    for number in close.tolist():
        found.std_ns[number] = welford(values[group == number].tolist())
    return found


def welford(values: list[int]) -> float:
    """Return the sample's standard deviation as SQLite's ``extension-functions.c`` computes it."""
    mean = squares = 0.0
    for count, value in enumerate(values, start=1):
        delta = value - mean
        mean += delta / count
        squares += delta * (value - mean)
    return math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else 0.0


def percentages(totals: Int64) -> Float64:
    """Return each total as a percentage of their sum; NaN where that is 0 (NULL in SQL)."""
    whole = int(totals.sum())
    if not whole:
        return np.full(len(totals), np.nan)
    return rounded(totals * 100.0 / whole)


def as_csv(table: Table) -> str:
    """Return a report as ``nsys stats -q -f csv`` prints it, the empty line at the end included.

    What is NULL in SQL, here NaN, `tables.MISSING` or an empty text, is an empty cell.
    """
    columns = [
        column if isinstance(column, list) else number_cells(name, column)
        for name, column in table.columns.items()
    ]
    lines = [",".join(map(csv_cell, table.columns))]
    lines += [",".join(map(csv_cell, row)) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n\n"


def readable(table: Table) -> Table:
    """Return a report for people: times in the unit that suits them, shares with a percent sign.

    Where there is little room the columns that can be missed go.
    """
    columns: dict[str, npt.NDArray[np.generic] | list[str]] = {}
    for name, column in table.columns.items():
        if isinstance(column, list):
            columns[name] = column
        elif name.endswith(" (ns)"):
            missing = column == tables.MISSING
            columns[name.replace(" (ns)", "_ns")] = (
                np.where(missing, np.nan, column) if missing.any() else column
            )
        elif name.endswith(" (%)"):
            columns[name.replace(" (%)", "_share")] = column / 100
        elif name in ("PID", "TID"):
            columns[name] = ["-" if one == tables.MISSING else str(one) for one in column.tolist()]
        else:
            columns[name] = column
    droppable = [name for word in DROPPABLE for name in columns if word in name]
    return replace(table, columns=columns, droppable=tuple(droppable))


def number_cells(name: str, column: npt.NDArray[np.generic]) -> list[str]:
    """Return the cells of a column of numbers: MB with three digits, others as in Python."""
    if name.endswith(MEGABYTES):
        return [f"{value:.3f}" for value in column.tolist()]
    if column.dtype.kind == "f":
        return ["" if value != value else repr(value) for value in column.tolist()]
    return ["" if value == tables.MISSING else str(value) for value in column.tolist()]


def csv_cell(text: str) -> str:
    r"""Return a cell of csv as nsys writes it: quoted where it holds a comma, quotes inside as is.

    So nsys writes some names in a way that nothing could read back: with a comma and a quote, with
    a quote in front, with a line break. Those are written as csv should be; this is the only
    difference there is. nsys also ends a name at a NUL.

    >>> print(csv_cell("f(int, int)"), csv_cell('a"b'), csv_cell('f("x", 1)'))
    "f(int, int)" a"b "f(""x"", 1)"
    """
    text = text.partition("\0")[0]
    ambiguous = "\n" in text or "\r" in text or text.startswith('"')
    if ambiguous or ("," in text and '"' in text):
        stream = io.StringIO()
        csv.writer(stream, lineterminator="", quoting=csv.QUOTE_ALL).writerow([text])
        return stream.getvalue()
    return f'"{text}"' if "," in text else text


def prefixed_names(
    prefixes: list[str], prefix: Int64, names: list[str], name: Int64
) -> tuple[list[str], Int64]:
    """Return names of the form ``prefix/name``, and the bare name where there is no prefix.

    Args:
        prefixes: ``(P,)`` distinct.
        prefix: ``(N,)`` position of each one's, or `NONE`.
        names: ``(K,)`` distinct.
        name: ``(N,)`` likewise; without a name there is no prefix either.

    Returns:
        The distinct results, ascending, and ``(N,)`` positions in them, `NONE` without a name.

    >>> known, place = prefixed_names(["a"], np.array([0, -1, 0]), ["k"], np.array([0, 0, -1]))
    >>> known, place.tolist()
    (['a/k', 'k'], [0, 1, -1])
    """
    both = (prefix != NONE) & (name != NONE)
    kinds = len(names) + 1
    pair, group = tables.compact(np.where(both, prefix - NONE, 0) * kinds + name - NONE)
    texts = [
        (f"{prefixes[one // kinds + NONE]}/" if one // kinds else "") + names[one % kinds + NONE]
        if one % kinds
        else None
        for one in pair.tolist()
    ]
    ascending, place = coded(texts)
    return ascending, place[group]
