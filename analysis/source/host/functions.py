"""Functions that threads were in from a start to an end: system calls, and Python's of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.arithmetic.row_order import in_order
from analysis.source import device_tables, tables
from analysis.source.host.columns import no_rows
from analysis.source.times import sensible

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

SYSTEM_CALLS: Final = "OSRT_API"
PYTHON: Final = "TOOLKIT_PYTHON"


def system_calls(report: Report) -> Columns:
    """Return the calls of the operating system: ``start_ns, end_ns, thread, name_id``."""
    fields = {"thread": ("globalTid",), "name_id": ("nameId",)}
    if not report.has(SYSTEM_CALLS, "globalTid", "nameId"):
        return no_rows("start_ns", "end_ns", *fields)
    return device_tables.events(report, SYSTEM_CALLS, fields)


def python_functions(report: Report) -> Columns:
    """Return the calls of Python functions of a trace: ``start_ns, end_ns, thread, name_id``."""
    if not report.has(PYTHON, "start_ns", "end_ns", "global_tid", "name_id"):
        return no_rows("start_ns", "end_ns", "thread", "name_id")
    rows = report.columns(
        f"SELECT start_ns, end_ns, global_tid AS thread, name_id FROM {PYTHON}",
        tables.count(report, PYTHON),
    )
    return sensible(report, PYTHON, in_order(rows, "start_ns", "-end_ns"))
