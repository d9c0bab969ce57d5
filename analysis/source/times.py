"""Times that make sense: what every row with a start and an end must have, looked at in one place.

SQLite keeps what it is given. A row that ends before it begins, or that lasts for months, is damage
or a recorder's fault; a single one would be most of every total. Such rows are left out, counted,
and told (`analysis.source.report.Report.left_out`). NVIDIA's own reports count them: what
`analysis.nvidia` reads does not come by here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.sensible_times import MOST_NS, all_make_sense, make_sense
from analysis.show.errors import ReportError
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.open_report import OpenReport


def sensible(report: OpenReport, table: str, rows: Columns, *, unclosed: bool = False) -> Columns:
    """Return the rows of a table whose times make sense; the report counts the others.

    Args:
        report: whose they are.
        table: its name, for people.
        rows: columns of it, ``start_ns`` and ``end_ns`` among them.
        unclosed: whether an end that is `tables.MISSING` stands for none.

    Raises:
        ReportError: they last longer together than can be reckoned with.
    """
    start_ns, end_ns = rows["start_ns"], rows["end_ns"]
    if unclosed:
        end_ns = np.where(end_ns == tables.MISSING, start_ns, end_ns)
    if not all_make_sense(start_ns, end_ns):
        good = make_sense(start_ns, end_ns)
        rows = kept(report, table, rows, good)
        check_sum(report, table, rows["start_ns"], end_ns[good])
    return rows


def check_sum(report: OpenReport, table: str, start_ns: Int64, end_ns: Int64) -> None:
    """Refuse a table whose differences, of times or from 0 to a size, cannot be added up.

    Raises:
        ReportError: they are more than `MOST_NS` together, forwards or backwards.
    """
    # A difference, too, may be more than int64 holds.
    if float(np.abs(np.subtract(end_ns, start_ns, dtype=np.float64)).sum()) > MOST_NS:
        problem = f"the times or sizes in {table} are too large to be added up"
        raise ReportError(report.path, problem, "export or copy it again")


def kept(report: OpenReport, table: str, rows: Columns, good: Bools) -> Columns:
    """Return some rows of a table; the report counts the others as left out."""
    if good.all():
        return rows
    report.leave_out(table, int(len(good) - good.sum()))
    return {name: column[good] for name, column in rows.items()}
