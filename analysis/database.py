"""Columns out of SQLite, fast: ADBC reads them in batches of arrays, with no object for a cell.

ADBC decides a column's type from its first batch. So a query written for `columns` wraps numbers
that may be NULL in ``coalesce(x, -1)`` and text in ``cast(coalesce(x, '') as blob)``: blobs also
keep bytes that are not UTF-8, which real reports hold.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import adbc_driver_manager as adbc
import adbc_driver_sqlite
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.errors import ReportError
from analysis.progress import Bar

BATCH_ROWS: Final = 1 << 16
# Up to here a Python loop over text is faster than the import of `pyarrow.compute`.
FEW_ROWS: Final = 20_000

Array = npt.NDArray[Any]
Columns = dict[str, Array]


class Database:
    """One SQLite file, open for reading.

    Args:
        uri: SQLite URI, as `analysis.opening.opened` yields it.
        path: what the user gave; every error names it.
    """

    def __init__(self, uri: str, path: Path) -> None:
        self.path = path
        # `adbc_driver_sqlite.connect` is the low-level way in; the package's `dbapi` module would
        # import pandas, and with it half a second.
        with self._failures():
            self._database = adbc_driver_sqlite.connect(uri)
            self._connection = adbc.AdbcConnection(self._database)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        self._database.close()

    def columns(self, sql: str, rows: int = 0) -> Columns:
        """Return the columns of a query.

        Args:
            sql: a query whose numbers are never NULL and whose text is a blob (see the module).
            rows: how many rows to expect, for the progress bar; 0 if unknown.

        Returns:
            For each column an array: int64, float64, or objects of type str.

        Raises:
            ReportError: the file is damaged.
            ValueError: a column holds NULL.
        """
        table = self._table(sql, rows)
        return {name: to_numpy(name, table.column(name)) for name in table.column_names}

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts of a query's only column, and for each row its text's position.

        Many rows with few texts need no object for each row; see `columns` for the rest.
        """
        (column,) = self._table(sql, rows).columns
        return coded(column)

    def _table(self, sql: str, rows: int) -> pa.Table:
        with self._failures(), adbc.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(sql)
            stream, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as reader:
                # Batch by batch, so that Ctrl-C is heard and a long read can show how far it is.
                batches = []
                with Bar(f"reading {self.path.name}") as bar:
                    for batch in reader:
                        batches.append(batch)
                        bar(len(batches) * BATCH_ROWS, rows)
                return pa.Table.from_batches(batches, schema=reader.schema)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the driver's errors into one line; a damaged page shows only while fetching."""
        try:
            yield
        except (adbc.Error, OSError, pa.ArrowException) as error:
            raise ReportError(
                self.path, f"damaged ({reason_of(error)})", "export or copy it again"
            ) from error


def reason_of(error: Exception) -> str:
    r"""Return SQLite's own words out of a driver's error.

    >>> reason_of(OSError("[SQLite] Failed to prepare query: no such table: t\nquery: SELECT 1"))
    'no such table: t'
    """
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    # The driver puts what it was doing before what SQLite said.
    said = re.sub(r"^.*?\bFailed to \w+ query: ", "", first)
    return said.strip().rstrip(".").lower()


def to_numpy(name: str, column: pa.ChunkedArray) -> Array:
    """Return a column as an array; text becomes str objects, one object for each distinct text.

    The buffers are read as they are: pyarrow's own ``to_numpy`` imports pandas first.
    """
    if column.null_count:
        raise ValueError(f"column {name} holds {column.null_count} NULLs; coalesce them in the SQL")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        dtype = np.dtype(column.type.to_pandas_dtype())
        return concatenated([numbers(chunk, dtype) for chunk in column.chunks], dtype)
    distinct, code = coded(column)
    return objects(distinct)[code]


def coded(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the distinct texts of a column, and ``(N,)`` positions among them."""
    place: dict[str, int] = {}
    if len(column) <= FEW_ROWS:
        seen: dict[bytes | str, int] = {}
        rows = [
            seen[word] if word in seen else seen.setdefault(word, place_of(place, word))
            for word in column.to_pylist()
        ]
        return list(place), np.array(rows, np.int64)
    encoded = column.dictionary_encode().unify_dictionaries()
    words = encoded.chunk(0).dictionary.to_pylist()
    # Two that differ only in bytes that are not UTF-8 become one.
    merged = np.array([place_of(place, word) for word in words], np.int64)
    codes = [numbers(chunk.indices, np.dtype(np.int32)) for chunk in encoded.chunks]
    return list(place), merged[concatenated(codes, np.dtype(np.int32))]


def place_of(place: dict[str, int], word: bytes | str) -> int:
    """Return the number of a text, the next one where it is new."""
    return place.setdefault(text(word), len(place))


def numbers(chunk: pa.Array, dtype: np.dtype[Any]) -> Array:
    """Return a view of one chunk of numbers without NULLs."""
    return np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)]


def concatenated(parts: list[Array], dtype: np.dtype[Any]) -> Array:
    """Return the parts as one array; a single part is not copied."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def objects(values: list[str]) -> Array:
    """Return strings as an array of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def text(word: bytes | str) -> str:
    r"""Return text whatever its encoding was; bytes that are not UTF-8 become U+FFFD.

    >>> text(b"\xcf\xee")
    '\ufffd\ufffd'
    """
    return word if isinstance(word, str) else word.decode(errors="replace")
