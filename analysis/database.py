"""Columns out of SQLite, fast: ADBC reads them in batches of arrays, with no object for a cell.

ADBC decides a column's type from its first batch. So a query written for `columns` wraps numbers
that may be NULL in ``coalesce(x, -1)`` and text in ``cast(coalesce(x, '') as blob)``: blobs also
keep bytes that are not UTF-8, which real reports hold.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

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

A = TypeVar("A")
B = TypeVar("B")
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
        self._own = threading.local()
        self._connections: list[Any] = []
        with self._failures():
            self._connection()

    def close(self) -> None:
        """Close the file."""
        for connection in self._connections:
            connection.close()
        self._database.close()

    def _connection(self) -> Any:
        """Return this thread's connection: one serves a single thread at a time."""
        if not hasattr(self._own, "connection"):
            self._own.connection = adbc.AdbcConnection(self._database)
            self._connections.append(self._own.connection)
        return self._own.connection

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
        return {name: column.array(name) for name, column in table.items()}

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts of a query's only column, and for each row its text's position.

        Many rows with few texts need no object for each row; see `columns` for the rest.
        """
        (column,) = self._table(sql, rows).values()
        return coded(column.text())

    def _table(self, sql: str, rows: int) -> dict[str, Collector]:
        with self._failures(), adbc.AdbcStatement(self._connection()) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(sql)
            stream, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as reader:
                schema = reader.schema
                collectors = [Collector(field.type, rows) for field in schema]
                # Batch by batch, so that Ctrl-C is heard, a long read can show how far it is, and
                # the memory of one batch serves for the next.
                with Bar(f"reading {self.path.name}") as bar:
                    for number, batch in enumerate(reader, start=1):
                        for collector, column in zip(collectors, batch.columns, strict=True):
                            collector.add(column)
                        bar(number * BATCH_ROWS, rows)
                return dict(zip(schema.names, collectors, strict=True))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the driver's errors into one line; a damaged page shows only while fetching."""
        try:
            yield
        except (adbc.Error, OSError, pa.ArrowException) as error:
            raise ReportError(
                self.path, f"damaged ({reason_of(error)})", "export or copy it again"
            ) from error


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Return what two readers return, which read at the same time.

    Reading releases Python's lock, so two large tables take little longer than one.
    """
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(first)
        mine = second()
        return other.result(), mine


def reason_of(error: Exception) -> str:
    r"""Return SQLite's own words out of a driver's error.

    >>> reason_of(OSError("[SQLite] Failed to prepare query: no such table: t\nquery: SELECT 1"))
    'no such table: t'
    """
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    # The driver puts what it was doing before what SQLite said.
    said = re.sub(r"^.*?\bFailed to \w+ query: ", "", first)
    return said.strip().rstrip(".").lower()


class Collector:
    """One column of a query, batch after batch.

    Numbers are copied into one array as they come. The buffers are read as they are: pyarrow's own
    ``to_numpy`` imports pandas first.

    Args:
        kind: the column's type.
        rows: how many to expect at most; 0 if unknown.
    """

    def __init__(self, kind: pa.DataType, rows: int) -> None:
        self.kind = kind
        self.nulls = self.count = 0
        self._numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        dtype = np.dtype(kind.to_pandas_dtype()) if self._numeric else np.dtype(object)
        self._numbers: Array = np.empty(rows if self._numeric else 0, dtype)
        self._chunks: list[pa.Array] = []

    def add(self, chunk: pa.Array) -> None:
        """Add the rows of one batch."""
        self.nulls += chunk.null_count
        if not self._numeric:
            self._chunks.append(chunk)
            return
        begin, self.count = self.count, self.count + len(chunk)
        if self.count > len(self._numbers):
            larger = np.empty(max(self.count, 2 * len(self._numbers)), self._numbers.dtype)
            larger[:begin] = self._numbers[:begin]
            self._numbers = larger
        self._numbers[begin : self.count] = numbers(chunk, self._numbers.dtype)

    def text(self) -> pa.ChunkedArray:
        """Return a column of text."""
        return pa.chunked_array(self._chunks, self.kind)

    def array(self, name: str) -> Array:
        """Return the column; text becomes str objects, one object for each distinct text."""
        if self.nulls:
            raise ValueError(f"column {name} holds {self.nulls} NULLs; coalesce them in the SQL")
        if self._numeric:
            return self._numbers[: self.count]
        distinct, code = coded(self.text())
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
