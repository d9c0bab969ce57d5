"""Columns out of SQLite, fast: ADBC reads them in batches of arrays, with no object for a cell.

ADBC decides a column's type from its first batch. So a query written for `columns` wraps numbers
that may be NULL in ``coalesce(x, -1)`` and text in ``cast(coalesce(x, '') as blob)``: blobs also
keep bytes that are not UTF-8, which real reports hold. Any cell of SQLite can hold anything,
whatever its column is declared to be: what is not said to be text must be whole numbers, and that
is looked at here for all.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import adbc_driver_manager as adbc
import adbc_driver_sqlite
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.show.errors import ReportError
from analysis.show.progress import PATIENCE_S, Bar
from analysis.source.column_cache import Column, ColumnCache, QueryColumns
from analysis.source.free_memory import available_bytes
from analysis.source.threads import begun, interruptible

BATCH_ROWS: Final = 1 << 16
# Up to here a Python loop over text is faster than the import of `pyarrow.compute`.
FEW_ROWS: Final = 20_000

BYTES_HELD: Final = 1000
"""What a name, or a row of an answer, takes as Python objects, as measured (430 to 720)."""

MANY_HELD: Final = 100_000
"""Fewer names or rows fit anywhere."""

NUMBERED: Final = "record without numbers in the names of ranges, or use a machine with more memory"

KINDS: Final = {
    "text": "text",
    "blob": "bytes",
    "real": "a number with a fraction, or out of range",
    "null": "nothing (NULL)",
}
"""What a cell holds, by the name that SQLite's ``typeof`` has for it."""

MISMATCH: Final = re.compile(r"Type mismatch in column (\d+)")
"""What the driver says of a cell that is not of the kind that the first ones were."""

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
        before_connecting: called before every connection but the first; it raises where the file
            is no longer what the others read.
        cache: where the columns of this report are kept; None to keep none.
    """

    def __init__(
        self,
        uri: str,
        path: Path,
        before_connecting: Callable[[], None] = lambda: None,
        cache: ColumnCache | None = None,
    ) -> None:
        self.uri = uri
        self.path = path
        self._before_connecting = before_connecting
        # `adbc_driver_sqlite.connect` is the low-level way in; the package's `dbapi` module would
        # import pandas, and with it half a second.
        with self._failures():
            self._database = adbc_driver_sqlite.connect(uri)
        self._cache = cache
        self._read_s = 0.0
        self._own = threading.local()
        self._connections: list[Any] = []
        self._reading: set[Any] = set()
        self._closed = False
        with self._failures():
            self._connection()

    def close(self) -> None:
        """Close the file; who asks for more is told so."""
        self._closed = True
        # What a call that was left behind reads from could only be closed when that is done.
        for connection in self._connections:
            if connection not in self._reading:
                connection.close()
        if not self._reading:
            self._database.close()
        if self._cache is not None:
            self._cache.close()

    def _connection(self) -> Any:
        """Return this thread's connection: one serves a single thread at a time, and one query."""
        if getattr(self._own, "connection", None) in {None, *self._reading}:
            if self._connections:
                self._before_connecting()
            self._own.connection = adbc.AdbcConnection(self._database)
            self._connections.append(self._own.connection)
        return self._own.connection

    def columns(self, sql: str, rows: int = 0, text: Collection[str] = ()) -> Columns:
        """Return the columns of a query.

        Args:
            sql: a query whose numbers are never NULL and whose text is a blob (see the module).
            rows: how many rows to expect, for the progress bar; 0 if unknown.
            text: which columns are text.

        Returns:
            For each column an array: int64, or for text objects of type str.

        Raises:
            ReportError: the file is damaged, or closed, or a number is none.
        """
        return {name: column.array() for name, column in self._table(sql, rows, text).items()}

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts of a query's only column, and for each row its text's position.

        Many rows with few texts need no object for each row; see `columns` for the rest.
        """
        (column,) = self._table(sql, rows, text=None).values()
        return column.coded()

    def columns_with_text(
        self, sql: str, text: str, rows: int = 0
    ) -> tuple[Columns, tuple[list[str], npt.NDArray[np.int64]]]:
        """Return the columns of a query, and of them one of text in codes: see `coded`."""
        table = self._table(sql, rows, (text,))
        others = {name: column.array() for name, column in table.items() if name != text}
        return others, table[text].coded()

    def _table(self, sql: str, rows: int, text: Collection[str] | None) -> QueryColumns:
        """Return the columns of a query; ``text`` names those that are text, None all."""
        if self._closed:
            raise ReportError(self.path, "this report is closed", "open it again: Report(path)")
        if self._cache is None:
            return self._read(sql, rows, text)
        query = f"{sql}; text: {'all' if text is None else sorted(text)}"
        return self._cache.get(query) or self._cache.put(query, self._read(sql, rows, text))

    def _read(self, sql: str, rows: int, text: Collection[str] | None) -> dict[str, Column]:
        """Return the columns of a query as they are read from the file."""
        with self._failures(), ExitStack() as used:
            statement = used.enter_context(self._statement())
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(sql)
            stream, _ = interruptible(statement.execute_query, used)
            reader = used.enter_context(pa.RecordBatchReader.from_stream(stream))
            collectors = {
                field.name: Collector(rows, is_text=text is None or field.name in text)
                for field in reader.schema
            }
            # Batch by batch, so that a long read can show how far it is, and the memory of one
            # batch serves for the next.
            try:
                with self._bar() as bar:
                    number = 0
                    while (batch := interruptible(partial(next, reader, None), used)) is not None:
                        if number:  # what comes in one batch is there at once
                            bar(number * BATCH_ROWS, rows)
                        self._add(batch, collectors, sql)
                        number += 1
            except OSError as error:
                place = MISMATCH.search(str(error))
                if place is None:
                    raise
                raise self._not_whole(sql, list(collectors)[int(place[1])]) from None
            return {name: collector.column() for name, collector in collectors.items()}

    @contextmanager
    def _statement(self) -> Iterator[Any]:
        """Yield a statement on this thread's connection, which is in use meanwhile."""
        connection = self._connection()
        self._reading.add(connection)
        try:
            with adbc.AdbcStatement(connection) as statement:
                yield statement
        finally:
            self._reading.discard(connection)

    def _add(self, batch: pa.RecordBatch, collectors: dict[str, Collector], sql: str) -> None:
        """Add the rows of one batch of a query to its columns."""
        for name, column in zip(collectors, batch.columns, strict=True):
            if not collectors[name].add(column):
                raise self._not_whole(sql, name)
            self.check_held(len(collectors[name].texts), "different names", NUMBERED)

    def _not_whole(self, sql: str, name: str) -> ReportError:
        """Return the error of a column of a query that holds something but whole numbers."""
        selected = expression(sql, name)
        place, what = name, "something that is no whole number"
        for table in re.findall(r'\bFROM "?(\w+)', sql):
            fields = f"SELECT cast(name AS blob) AS name FROM pragma_table_info('{table}')"
            there = self.columns(fields, text=("name",))["name"].tolist()
            for field in (word for word in re.findall(r"\w+", selected) if word in there):
                accepted = "'integer', 'null'" if "coalesce" in selected else "'integer'"
                found = self.columns(
                    f'SELECT cast(typeof("{field}") AS blob) AS kind FROM "{table}" '
                    f'WHERE typeof("{field}") NOT IN ({accepted}) LIMIT 1',
                    text=("kind",),
                )["kind"].tolist()
                if found:
                    problem = f"{field} of {table} holds {KINDS[found[0]]}, not a whole number"
                    return ReportError(self.path, problem, "export or copy it again")
                place, what = f"{field} of {table}", "numbers too large to reckon with"
        return ReportError(self.path, f"{place} holds {what}", "export or copy it again")

    @contextmanager
    def _bar(self) -> Iterator[Bar]:
        """Yield a bar that shows once all reading together has taken so long as to deserve one."""
        begun = time.monotonic()
        with Bar(f"reading {self.path.name}", max(PATIENCE_S - self._read_s, 0.0)) as bar:
            yield bar
        self._read_s += time.monotonic() - begun

    def check_held(self, count: int, what: str, remedy: str) -> None:
        """Raise an error where so many Python objects do not fit into memory.

        They cannot lie in a file as columns can.

        Raises:
            ReportError: ``count`` of ``what`` do not fit; it says ``remedy``.
        """
        if count < MANY_HELD:
            return
        free = available_bytes()
        if count * BYTES_HELD > free:
            needed, there = (f"{size / 1e6:,.0f} MB" for size in (count * BYTES_HELD, free))
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

    Reading releases Python's lock, so two large tables take little longer than one.
    """
    try:
        other = begun(first)
    except RuntimeError:  # there is no room for another thread
        return first(), second()
    try:
        mine = second()
    except Exception:
        other.exception()  # it must be done before anything is closed; Ctrl-C does not wait for it
        raise
    return other.result(), mine


def expression(sql: str, name: str) -> str:
    """Return what a query selects under a name; all of the query where that is not found.

    >>> expression('SELECT start AS a, coalesce("end", -1) AS b FROM t', "b").strip()
    'coalesce("end", -1)'
    """
    named = re.search(rf"\bAS {re.escape(name)}\b", sql)
    if named is None:
        return sql
    depth = 0
    for place in range(named.start() - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(sql[place], 0)
        if sql[place] == "," and not depth:
            return sql[place + 1 : named.start()]
    return sql[: named.start()]


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
    """One column of a query, batch after batch: whole numbers, or for text the number of each text.

    The rows are copied into one array as they come, so that a batch can go before the next is read.
    The buffers are read as they are: pyarrow's own ``to_numpy`` imports pandas first.

    Args:
        rows: how many to expect at most; 0 if unknown.
        is_text: whether the column is text.

    Attributes:
        texts: the distinct texts so far, and their numbers.
    """

    def __init__(self, rows: int, *, is_text: bool) -> None:
        self.count = 0
        self._is_text = is_text
        self._numbers = np.empty(rows, np.int64)
        self.texts: dict[str, int] = {}

    def add(self, chunk: pa.Array) -> bool:
        """Add the rows of one batch; return whether they are what the column is to hold."""
        if chunk.null_count or not (self._is_text or pa.types.is_int64(chunk.type)):
            return False
        begin, self.count = self.count, self.count + len(chunk)
        if self.count > len(self._numbers):
            larger = np.empty(max(self.count, 2 * len(self._numbers)), np.int64)
            larger[:begin] = self._numbers[:begin]
            self._numbers = larger
        read = codes(chunk, self.texts) if self._is_text else numbers(chunk, np.dtype(np.int64))
        self._numbers[begin : self.count] = read
        return True

    def column(self) -> Column:
        """Return the column of the rows so far."""
        numbers = self._numbers[: self.count]
        return Column(numbers, list(self.texts) if self._is_text else None)


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


def text(word: bytes | str) -> str:
    r"""Return text whatever its encoding was; bytes that are not UTF-8 become U+FFFD.

    >>> text(b"\xcf\xee")
    '\ufffd\ufffd'
    """
    return word if isinstance(word, str) else word.decode(errors="replace")
