"""What reading the tables of a report takes of it, so that readers need not know more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    import numpy.typing as npt

    from analysis.source.database import Columns, Database


class OpenReport(Protocol):
    """A report as its tables are read: its path, its schema, and queries."""

    path: Path
    database: Database
    schema: Mapping[str, tuple[str, ...]]

    def has(self, table: str, *columns: str) -> bool:
        """Return whether there is such a table, with these columns (it may still be empty)."""

    def columns(self, sql: str, rows: int = 0, text: Collection[str] = ()) -> Columns:
        """Return the columns of a query as arrays; see `Database.columns`."""

    def leave_out(self, rows_of: str, count: int) -> None:
        """Note that some rows do not count; see `analysis.source.report.Report.left_out`."""

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return a column of text in codes; see `analysis.source.database.Database.coded`."""
