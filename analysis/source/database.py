"""Columns out of SQLite, fast: ADBC reads them in batches of arrays, with no object for a cell.

ADBC decides a column's type from its first batch. So a query written for `columns` wraps numbers
that may be NULL in ``coalesce(x, -1)`` and text in ``cast(coalesce(x, '') as blob)``: blobs also
keep bytes that are not UTF-8, which real reports hold.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any, Final, TypeVar

import adbc_driver_manager as adbc
import adbc_driver_sqlite
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.show.errors import ReportError
from analysis.show.progress import PATIENCE_S, Bar

BATCH_ROWS: Final = 1 << 16
# Up to here a Python loop over text is faster than the import of `pyarrow.compute`.
FEW_ROWS: Final = 20_000

BYTES_HELD: Final = 1000
"""What a name, or a row of an answer, takes as Python objects, as measured (430 to 720)."""

NUMBERED: Final = "record without numbers in the names of ranges, or use a machine with more memory"

NO_MEMORY: Final = "out of memory"
"""What SQLite says where it gets none."""

A = TypeVar("A")
B = TypeVar("B")
Array = npt.NDArray[Any]
Columns = dict[str, Array]


class Database:
    """One SQLite file, open for reading.

    Args:
        uri: SQLite URI, as `analysis.source.opening.opened` yields it.
        path: what the user gave; every error names it.

    Attributes:
        memory_bytes: how much memory there is, where the report may need more than that.
        relieve: what then keeps to it, called after each batch.
    """

    def __init__(self, uri: str, path: Path) -> None:
        self.uri = uri
        self.path = path
        # `adbc_driver_sqlite.connect` is the low-level way in; the package's `dbapi` module would
        # import pandas, and with it half a second.
        with self._failures():
            self._database = adbc_driver_sqlite.connect(uri)
        self.memory_bytes: int | None = None
        self.relieve: Callable[[], None] | None = None
        self._read_s = 0.0
        self._own = threading.local()
        self._connections: list[Any] = []
        self._closed = False
        with self._failures():
            self._connection()

    def close(self) -> None:
        """Close the file; who asks for more is told so."""
        self._closed = True
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
            ReportError: the file is damaged, or closed.
            ValueError: a column holds NULL.
        """
        table = self._table(sql, rows)
        return {name: column.array(name) for name, column in table.items()}

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts of a query's only column, and for each row its text's position.

        Many rows with few texts need no object for each row; see `columns` for the rest.
        """
        (column,) = self._table(sql, rows).values()
        return column.coded()

    def columns_with_text(
        self, sql: str, text: str, rows: int = 0
    ) -> tuple[Columns, tuple[list[str], npt.NDArray[np.int64]]]:
        """Return the columns of a query, and of them one of text in codes: see `coded`."""
        table = self._table(sql, rows)
        coded = table.pop(text).coded()
        return {name: column.array(name) for name, column in table.items()}, coded

    def _table(self, sql: str, rows: int) -> dict[str, Collector]:
        if self._closed:
            raise ReportError(self.path, "this report is closed", "open it again: Report(path)")
        with self._failures(), adbc.AdbcStatement(self._connection()) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(sql)
            stream, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as reader:
                schema = reader.schema
                collectors = [Collector(field.type, rows) for field in schema]
                # Batch by batch, so that Ctrl-C is heard, a long read can show how far it is, and
                # the memory of one batch serves for the next.
                with self._bar() as bar:
                    for number, batch in enumerate(reader):
                        if number:  # what comes in one batch is there at once
                            bar(number * BATCH_ROWS, rows)
                        for collector, column in zip(collectors, batch.columns, strict=True):
                            collector.add(column)
                            self.check_held(len(collector.texts), "different names", NUMBERED)
                        if self.relieve is not None:
                            self.relieve()  # arrays of a known length fill up unnoticed
                return dict(zip(schema.names, collectors, strict=True))

    @contextmanager
    def _bar(self) -> Iterator[Bar]:
        """Yield a bar that shows once all reading together has taken so long as to deserve one."""
        begun = time.monotonic()
        with Bar(f"reading {self.path.name}", max(PATIENCE_S - self._read_s, 0.0)) as bar:
            yield bar
        self._read_s += time.monotonic() - begun

    def check_held(self, count: int, what: str, remedy: str) -> None:
        """Raise an error where so many Python objects do not fit into memory.

        They cannot lie in a file as arrays can, so this is asked where a report needs that.

        Raises:
            ReportError: ``count`` of ``what`` do not fit; it says ``remedy``.
        """
        if self.memory_bytes is not None and count * BYTES_HELD > self.memory_bytes:
            needed, there = (
                f"{size / 1e6:,.0f} MB" for size in (count * BYTES_HELD, self.memory_bytes)
            )
            problem = f"{count:,} {what} need {needed} of memory, {there} is free"
            raise ReportError(self.path, problem, remedy)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the driver's errors into one line; a damaged page shows only while fetching."""
        try:
            yield
        except (adbc.Error, OSError, pa.ArrowException) as error:
            if isinstance(error, MemoryError) or reason_of(error) == NO_MEMORY:
                raise MemoryError from error
            raise ReportError(
                self.path, f"damaged ({reason_of(error)})", "export or copy it again"
            ) from error


def both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Return what two readers return, which read at the same time.

    Reading releases Python's lock, so two large tables take little longer than one. Where arrays
    lie (see `analysis.source.paging`) is part of the context, and holds for both.
    """
    with ThreadPoolExecutor(1) as pool:
        try:
            other = pool.submit(copy_context().run, first)
        except RuntimeError:  # there is no room for another thread
            return first(), second()
        mine = second()
        return other.result(), mine


def reason_of(error: Exception) -> str:
    r"""Return SQLite's own words out of a driver's error.

    >>> reason_of(OSError("[SQLite] Failed to prepare query: no such table: t\nquery: SELECT 1"))
    'no such table: t'
    """
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    # The driver puts what it was doing before what SQLite said.
    text = re.sub(r"^.*?\bFailed to \w+ query: ", "", first)
    return text.strip().rstrip(".").lower()


class Collector:
    """One column of a query, batch after batch: numbers, or for text the number of each text.

    The rows are copied into one array as they come, so that a batch can go before the next is read.
    The buffers are read as they are: pyarrow's own ``to_numpy`` imports pandas first.

    Args:
        kind: the column's type.
        rows: how many to expect at most; 0 if unknown.

    Attributes:
        texts: the distinct texts so far, and their numbers.
    """

    def __init__(self, kind: pa.DataType, rows: int) -> None:
        self.nulls = self.count = 0
        self._numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        self._dtype = np.dtype(kind.to_pandas_dtype() if self._numeric else np.int64)
        self._numbers: Array = np.empty(rows, self._dtype)
        self.texts: dict[str, int] = {}

    def add(self, chunk: pa.Array) -> None:
        """Add the rows of one batch."""
        self.nulls += chunk.null_count
        begin, self.count = self.count, self.count + len(chunk)
        if self.count > len(self._numbers):
            larger = np.empty(max(self.count, 2 * len(self._numbers)), self._dtype)
            larger[:begin] = self._numbers[:begin]
            self._numbers = larger
        if not self.nulls:
            part = numbers(chunk, self._dtype) if self._numeric else codes(chunk, self.texts)
            self._numbers[begin : self.count] = part

    def coded(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts, and ``(N,)`` positions among them."""
        return list(self.texts), self._numbers[: self.count]

    def array(self, name: str) -> Array:
        """Return the column, ``(N,)``; text becomes str objects, one for each distinct text.

        Raises:
            ValueError: it holds NULLs.
        """
        if self.nulls:
            raise ValueError(f"column {name} holds {self.nulls} NULLs; coalesce them in the SQL")
        rows = self._numbers[: self.count]
        return rows if self._numeric else objects(list(self.texts))[rows]


def codes(chunk: pa.Array, place: dict[str, int]) -> Array:
    """Return ``(N,)`` the number of each text of a batch; texts that are new get the next ones."""
    if len(chunk) <= FEW_ROWS:
        seen: dict[bytes | str, int] = {}
        rows = [
            seen[word] if word in seen else seen.setdefault(word, place_of(place, word))
            for word in chunk.to_pylist()
        ]
        return np.array(rows, np.int64)
    encoded = chunk.dictionary_encode()
    # Two that differ only in bytes that are not UTF-8 become one.
    merged = [place_of(place, word) for word in encoded.dictionary.to_pylist()]
    return np.array(merged, np.int64)[numbers(encoded.indices, np.dtype(np.int32))]


def place_of(place: dict[str, int], word: bytes | str) -> int:
    """Return the number of a text, the next one where it is new."""
    return place.setdefault(text(word), len(place))


def numbers(chunk: pa.Array, dtype: np.dtype[Any]) -> Array:
    """Return a view of one chunk of numbers without NULLs."""
    return np.frombuffer(chunk.buffers()[1], dtype)[chunk.offset : chunk.offset + len(chunk)]


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
