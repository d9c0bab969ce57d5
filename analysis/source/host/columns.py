"""What tables of the host have in common: columns of instants, and of no rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.row_order import in_order
from analysis.source import tables
from analysis.source.times import sensible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.source.database import Columns
    from analysis.source.report import Report


def instants(report: Report, table: str, fields: Mapping[str, str]) -> Columns:
    """Return some columns, ``start_ns`` and ``thread`` of a table of instants."""
    if not report.has(table, "start", "globalTid", *fields.values()):
        return no_rows(*fields, "start_ns", "thread")
    listed = ", ".join(
        f"{tables.first(report, table, column)} AS {name}" for name, column in fields.items()
    )
    rows = report.columns(
        f"SELECT {listed}, start AS start_ns, start AS end_ns, globalTid AS thread FROM {table} "
        "WHERE globalTid IS NOT NULL",
        tables.count(report, table),
    )
    return sensible(report, table, in_order(rows, "start_ns"))


def no_rows(*names: str) -> Columns:
    """Return columns of these names without a row."""
    return {name: np.empty(0, np.int64) for name in names}
