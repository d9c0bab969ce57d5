"""SQLite files, read fast: ADBC yields batches of arrays, with no object for a cell.

ADBC decides a column's type from its first batch; a cell of another kind in a later one is an
error. Any cell of SQLite can hold anything, whatever its column is declared to be.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import adbc_driver_manager as adbc
import adbc_driver_sqlite
import pyarrow as pa

from analysis.source.threads import interruptible

if TYPE_CHECKING:
    from analysis.source.readers.stretch import Stretch

MISMATCH: Final = re.compile(r"Type mismatch in column (\d+)")
"""What the driver says of a cell that is not of the kind that the first ones were."""


class SqliteReader:
    """The tables and views of one SQLite file.

    Args:
        uri: SQLite URI.
        before_connecting: called before every connection but the first; it raises where the file
            is no longer what the others read.
    """

    keeps_order = True

    def __init__(self, uri: str, before_connecting: Callable[[], None] = lambda: None) -> None:
        self.uri = uri
        self._before_connecting = before_connecting
        self._database: Any = None
        self._own = threading.local()
        self._connections: list[Any] = []
        self._reading: set[Any] = set()

    def close(self) -> None:
        """Close the file."""
        # What a call that was left behind reads from could only be closed when that is done.
        for connection in self._connections:
            if connection not in self._reading:
                connection.close()
        if self._database is not None and not self._reading:
            self._database.close()

    def _connection(self) -> Any:
        """Return this thread's connection: one serves a single thread at a time, and one query."""
        if self._database is None:
            # `adbc_driver_sqlite.connect` is the low-level way in; the package's `dbapi` module
            # would import pandas, and with it half a second.
            self._database = adbc_driver_sqlite.connect(self.uri)
        if getattr(self._own, "connection", None) in {None, *self._reading}:
            if self._connections:
                self._before_connecting()
            self._own.connection = adbc.AdbcConnection(self._database)
            self._connections.append(self._own.connection)
        return self._own.connection

    def schema(self) -> Mapping[str, tuple[str, ...]]:
        """Return the columns of every table and view, by its name."""
        rows = self._few_rows(
            "SELECT cast(m.name AS blob), cast(p.name AS blob) "
            "FROM sqlite_master m, pragma_table_info(m.name) p "
            "WHERE m.type IN ('table', 'view') ORDER BY m.name, p.cid"
        )
        columns: dict[str, tuple[str, ...]] = {}
        for table, field in ((name.decode(errors="replace") for name in row) for row in rows):
            columns[table] = (*columns.get(table, ()), field)
        return columns

    def execute(
        self, sql: str, batch_rows: int, used: ExitStack, stretch: Stretch | None = None
    ) -> tuple[Sequence[str], Iterator[pa.RecordBatch]]:
        """Return the columns of a query and its rows; see `TableReader.execute`.

        SQLite looks at every row itself, which costs little beside handing it over.
        """
        statement = used.enter_context(self._statement())
        statement.set_options(**{"adbc.sqlite.query.batch_rows": str(batch_rows)})
        statement.set_sql_query(sql)
        stream, _ = interruptible(statement.execute_query, used)
        reader = used.enter_context(pa.RecordBatchReader.from_stream(stream))
        return reader.schema.names, reader

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

    def _few_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query that yields few."""
        with ExitStack() as used:
            batches = list(self.execute(sql, 1 << 16, used)[1])
        return [
            row
            for batch in batches
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        ]

    def failure(self, error: Exception) -> str | None:
        """Return SQLite's own words out of an error of the driver; None for any other error."""
        return (
            reason_of(error)
            if isinstance(error, (adbc.Error, OSError, pa.ArrowException))
            else None
        )

    def misfit(self, error: Exception) -> int | None:
        """Return the position of the column that an error of the driver is about, or None."""
        place = MISMATCH.search(str(error)) if isinstance(error, OSError) else None
        return None if place is None else int(place[1])

    def found_instead(self, table: str, field: str, *, null_fits: bool) -> str | None:
        """Return the kind of a cell that is no whole number; see `TableReader.found_instead`."""
        accepted = "'integer', 'null'" if null_fits else "'integer'"
        rows = self._few_rows(
            f'SELECT cast(typeof("{field}") AS blob) FROM "{table}" '
            f'WHERE typeof("{field}") NOT IN ({accepted}) LIMIT 1'
        )
        return rows[0][0].decode() if rows else None


def reason_of(error: Exception) -> str:
    r"""Return SQLite's own words out of a driver's error.

    >>> reason_of(OSError("[SQLite] Failed to prepare query: no such table: t\nquery: SELECT 1"))
    'no such table: t'
    """
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    # The driver puts what it was doing before what SQLite said.
    text = re.sub(r"^.*?\bFailed to \w+ query: ", "", first)
    return text.strip().rstrip(".").lower()
