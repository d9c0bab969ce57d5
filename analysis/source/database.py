"""Columns out of the tables of a report, fast: batches of arrays, with no object for a cell.

A column has one type, decided by its first batch where the file leaves that open. So a query
written for `columns` wraps numbers that may be NULL in ``coalesce(x, -1)`` and text in
``cast(coalesce(x, '') as text)``. Real reports hold text that is not UTF-8: its bytes come as they
are, and are decoded here. What is not said to be text must be whole numbers, and that is looked at
here for all. Queries are in what SQLite and DuckDB understand alike.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analysis.show.errors import ReportError
from analysis.show.progress import PATIENCE_S, Bar
from analysis.source.column_cache import Column, ColumnCache, QueryColumns
from analysis.source.free_memory import available_bytes
from analysis.source.readers.stretch import Stretch
from analysis.source.readers.table_reader import TableReader
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

NO_MEMORY: Final = "out of memory"
"""What SQLite says where it gets none."""

A = TypeVar("A")
B = TypeVar("B")
Array = npt.NDArray[Any]
Columns = dict[str, Array]


class Database:
    """The tables of one report, open for reading.

    Args:
        reader: where they lie.
        path: what the user gave; every error names it.
        cache: where the columns of this report are kept; None to keep none.

    Attributes:
        schema: the columns of every table, by the table's name.
    """

    def __init__(self, reader: TableReader, path: Path, cache: ColumnCache | None = None) -> None:
        self.path = path
        self._reader = reader
        self._cache = cache
        self._read_s = 0.0
        self._closed = False
        with self.failures():
            self.schema = reader.schema()

    def close(self) -> None:
        """Close the report; who asks for more is told so."""
        self._closed = True
        self._reader.close()
        if self._cache is not None:
            self._cache.close()

    @property
    def keeps_order(self) -> bool:
        """Whether rows come in the order in which NVIDIA's own tools read them."""
        return self._reader.keeps_order

    def columns(
        self,
        sql: str,
        rows: int = 0,
        text: Collection[str] = (),
        stretch: Stretch | None = None,
    ) -> Columns:
        """Return the columns of a query.

        Args:
            sql: a query whose numbers are never NULL and whose text is cast so (see the module).
            rows: how many rows to expect, for the progress bar; 0 if unknown.
            text: which columns are text.
            stretch: of which alone rows are wanted of a table with times; a query without WHERE.

        Returns:
            For each column an array: int64, or for text objects of type str.

        Raises:
            ReportError: the file is damaged, or closed, or a number is none.
        """
        if stretch is not None:
            return self._of_stretch(sql, text, stretch)
        return {name: column.array() for name, column in self._table(sql, rows, text).items()}

    def _of_stretch(self, sql: str, text: Collection[str], stretch: Stretch) -> Columns:
        """Return the rows of a stretch: of all rows where those are kept, else read by themselves.

        What is read for one stretch is not kept: the next question has another.
        """
        self._check_open()
        whole = None if self._cache is None else self._cache.get(key_of(sql, text))
        if whole is not None:
            return stretch.rows_of({name: column.array() for name, column in whole.items()})
        read = self._read(f"{sql} WHERE {stretch.condition}", 0, text, stretch)
        return {name: column.array() for name, column in read.items()}

    def coded(self, sql: str, rows: int = 0) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the distinct texts of a query's only column, and for each row its text's position.

        Many rows with few texts need no object for each row; see `columns` for the rest.
        """
        (column,) = self._table(sql, rows, text=None).values()
        return column.coded()

    def columns_with_text(
        self, sql: str, text: Collection[str], rows: int = 0
    ) -> tuple[Columns, dict[str, tuple[list[str], npt.NDArray[np.int64]]]]:
        """Return the columns of a query, and of them those of text in codes: see `coded`."""
        table = self._table(sql, rows, text)
        others = {name: column.array() for name, column in table.items() if name not in text}
        return others, {name: table[name].coded() for name in text}

    def kept(self, name: str, make: Callable[[], Columns]) -> Columns:
        """Return columns of whole numbers that are made of others; of a large report they are kept.

        Args:
            name: what they are, as nothing else of this report is called.
            make: what makes them; `column_cache.code_version` covers its code.
        """
        if self._cache is None:
            return make()
        found = self._cache.get(name)
        if found is None:
            made = {key: Column(numbers) for key, numbers in make().items()}
            found = self._cache.put(name, made)
        return {key: column.array() for key, column in found.items()}

    def _table(self, sql: str, rows: int, text: Collection[str] | None) -> QueryColumns:
        """Return the columns of a query; ``text`` names those that are text, None all."""
        self._check_open()
        if self._cache is None:
            return self._read(sql, rows, text)
        query = key_of(sql, text)
        return self._cache.get(query) or self._cache.put(query, self._read(sql, rows, text))

    def _check_open(self) -> None:
        if self._closed:
            raise ReportError(self.path, "this report is closed", "open it again: Report(path)")

    def _read(
        self,
        sql: str,
        rows: int,
        text: Collection[str] | None,
        stretch: Stretch | None = None,
    ) -> dict[str, Column]:
        """Return the columns of a query as they are read from the file."""
        with self.failures(), ExitStack() as used:
            names, batches = self._reader.execute(sql, BATCH_ROWS, used, stretch)
            collectors = {
                name: Collector(rows, is_text=text is None or name in text) for name in names
            }
            # Batch by batch, so that a long read can show how far it is, and the memory of one
            # batch serves for the next.
            try:
                with self._bar() as bar:
                    number = 0
                    while (batch := interruptible(partial(next, batches, None), used)) is not None:
                        if number:  # what comes in one batch is there at once
                            bar(number * BATCH_ROWS, rows)
                        self._add(batch, collectors, sql)
                        number += 1
            except Exception as error:
                place = self._reader.misfit(error)
                if place is None:
                    raise
                raise self._not_whole(sql, list(collectors)[place]) from None
            return {name: collector.column() for name, collector in collectors.items()}

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
            there = self.schema.get(table, ())
            for field in (word for word in re.findall(r"\w+", selected) if word in there):
                fits = "coalesce" in selected
                found = self._reader.found_instead(table, field, null_fits=fits)
                if found is not None:
                    problem = f"{field} of {table} holds {KINDS[found]}, not a whole number"
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

    def check_held(self, count: int, what: str, remedy: str, bytes_each: int = BYTES_HELD) -> None:
        """Raise an error where so many things that cannot lie in a file do not fit into memory.

        Args:
            count: how many there are.
            what: what they are called.
            remedy: what to do about it.
            bytes_each: what one takes; as a rule it is a Python object.

        Raises:
            ReportError: ``count`` of ``what`` do not fit; it says ``remedy``.
        """
        if count < MANY_HELD:
            return
        free = available_bytes()
        if count * bytes_each > free:
            needed, there = (f"{size / 1e6:,.0f} MB" for size in (count * bytes_each, free))
            problem = f"{count:,} {what} need {needed} of memory, {there} is free"
            raise ReportError(self.path, problem, remedy)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn the reader's errors into one line; a damaged page shows only while fetching."""
        try:
            yield
        except ReportError:
            raise
        except Exception as error:
            reason = self._reader.failure(error)
            if reason is None:
                raise
            if isinstance(error, MemoryError) or reason == NO_MEMORY:
                raise MemoryError from error
            problem = f"damaged ({reason})"
            raise ReportError(self.path, problem, "export or copy it again") from error


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


def key_of(sql: str, text: Collection[str] | None) -> str:
    """Return what the columns of a query are kept under; ``text`` are those of text, None all."""
    return f"{sql}; text: {'all' if text is None else sorted(text)}"


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
    chunk = as_bytes(chunk)
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


def as_bytes(chunk: pa.Array) -> pa.Array:
    """Return text as the bytes it is made of, no copy of them: it need not be UTF-8."""
    if not pa.types.is_string(chunk.type):
        return chunk
    return pa.Array.from_buffers(
        pa.binary(), len(chunk), chunk.buffers(), chunk.null_count, chunk.offset
    )


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
