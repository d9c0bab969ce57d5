"""An answer as a Parquet file: whole numbers are 64-bit integers, what is missing is null."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from analysis.show.output import as_unicode
from analysis.show.table import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa


def write_parquet(table: Table, path: Path) -> None:
    """Write a table to a file that is there or not."""
    import pyarrow as pa  # here: no other format needs it
    import pyarrow.parquet

    arrays = [as_array(column) for column in table.columns.values()]
    with path.open("wb") as file:
        pyarrow.parquet.write_table(pa.table(arrays, names=list(table.columns)), file)


def as_array(column: Column) -> pa.Array:
    """Return one column; a number that is missing (NaN) is null.

    >>> import numpy as np
    >>> as_array(np.array([1, np.nan], object)).to_pylist()
    [1, None]
    """
    import pyarrow as pa

    if isinstance(column, list):
        return pa.array([as_unicode(text) for text in column], pa.string())
    # Only NaN differs from itself.
    cells = [None if value != value else value for value in column.tolist()]
    known = [value for value in cells if value is not None]
    if column.dtype.kind == "f" or any(isinstance(value, float) for value in known):
        return pa.array([None if value is None else float(value) for value in cells], pa.float64())
    return pa.array(cells, pa.int64())
