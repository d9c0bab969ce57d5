"""Folders of ``nsys export --type=parquetdir`` or ``arrowdir``: a file a table, asked by DuckDB.

pyarrow reads the files, of them the columns that a query names, and streams them to DuckDB: whose
own reader of Parquet refuses text that is not UTF-8, which real reports hold. So DuckDB itself
opens no file and no connection to anywhere, and is told not to.

A table looks as it does in SQLite: numbers that are whole, and truth values, are 64-bit integers,
those beyond 2**63 (nsys has unsigned ids) in two's complement.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from analysis.source.readers.table_files import ARROW_FILE_MAGIC, PARQUET
from analysis.source.threads import interruptible

if TYPE_CHECKING:
    from analysis.source.readers.stretch import Stretch

STREAM_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What a stream of Arrow ends with; pyarrow takes the end of the file for it, wherever that is."""

SETTINGS: Final[Mapping[str, str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "enable_progress_bar": "false",
    # One reads as fast as several: what takes time is that a batch is copied into our columns.
    "threads": "1",
    "memory_limit": "'1GB'",
    "default_null_order": "'nulls_first'",  # as in SQLite
    "preserve_insertion_order": "true",
    "lock_configuration": "true",
}

RAW: Final = "file of "
"""What the name of a table as its file holds it begins with; no query asks for such a table."""

OUTSIDE_SQL: Final = re.compile(r"^[A-Z][\w ]*Error: ")
"""What DuckDB puts before what it says: the kind of error."""


class UnreadableTable(Exception):
    """A file of the folder is not what its name says; the message says which, and what it is."""


class ParquetTable:
    """The table of a Parquet file.

    Args:
        path: of the file; it is opened for every query, for several may be asked at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metadata = pyarrow.parquet.read_metadata(path)
        self.schema: pa.Schema = self._metadata.schema.to_arrow_schema()

    def batches(
        self, columns: Sequence[str], rows: int, stretch: Stretch | None = None
    ) -> pa.RecordBatchReader:
        """Return some columns in batches of so many rows, of a stretch the row groups with some."""
        file = pyarrow.parquet.ParquetFile(self._path, metadata=self._metadata)
        groups = self.row_groups(stretch) if stretch else range(file.num_row_groups)
        batches = file.iter_batches(rows, list(groups), list(columns), use_threads=False)
        schema = pa.schema([self.schema.field(name) for name in columns])
        return pa.RecordBatchReader.from_batches(schema, batches)

    def row_groups(self, stretch: Stretch) -> list[int]:
        """Return the row groups that may hold rows of a stretch, by the bounds of their columns."""
        places = {name: place for place, name in enumerate(self._metadata.schema.names)}

        def bounds(group: int, column: str) -> tuple[int, int] | None:
            if column not in places:
                return None
            found = self._metadata.row_group(group).column(places[column]).statistics
            return (found.min, found.max) if found is not None and found.has_min_max else None

        every = range(self._metadata.num_row_groups)
        return [group for group in every if stretch.may_have_rows(partial(bounds, group))]


class ArrowTable:
    """The table of a file in Arrow's stream or file format, which is mapped into memory."""

    def __init__(self, path: Path) -> None:
        file = pa.memory_map(str(path))
        if file.read(len(ARROW_FILE_MAGIC)) == ARROW_FILE_MAGIC:
            self._table = pa.ipc.open_file(file).read_all()
        else:
            file.seek(max(file.size() - len(STREAM_END), 0))
            if file.read() != STREAM_END:
                raise UnreadableTable("truncated")
            file.seek(0)
            self._table = pa.ipc.open_stream(file).read_all()
        self.schema: pa.Schema = self._table.schema

    def batches(
        self, columns: Sequence[str], rows: int, stretch: Stretch | None = None
    ) -> pa.RecordBatchReader:
        """Return some columns in batches of so many rows; all rows, for they are mapped anyway."""
        return self._table.select(list(columns)).to_reader(rows)


class Stream:
    """What DuckDB takes a table from, once: given the reader itself it would import pandas."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader

    def __arrow_c_stream__(self, schema: object = None) -> object:
        """Return the stream of Arrow's C interface."""
        return self._reader.__arrow_c_stream__(schema)


class FolderReader:
    """The tables of a folder.

    Args:
        files: where each table lies, by its name.
        scratch: an empty folder, for what does not fit into memory.
        before_connecting: called before every further connection; it raises where the files are no
            longer what the others read.
    """

    keeps_order = False

    def __init__(
        self,
        files: Mapping[str, Path],
        scratch: Path,
        before_connecting: Callable[[], None] = lambda: None,
    ) -> None:
        self._files = files
        self._scratch = scratch
        self._before_connecting = before_connecting
        self._database: duckdb.DuckDBPyConnection | None = None
        self._opened: dict[str, ParquetTable | ArrowTable] = {}
        self._connecting = threading.Lock()
        self._own = threading.local()
        self._cursors: list[Any] = []
        self._reading: set[Any] = set()

    def close(self) -> None:
        """Let go of the files, and stop what other threads still read."""
        for cursor in self._cursors:
            if cursor in self._reading:
                cursor.interrupt()
            else:
                cursor.close()
        if self._database is not None and not self._reading:
            self._database.close()

    def _cursor(self) -> Any:
        """Return this thread's cursor: one serves a single query at a time."""
        if getattr(self._own, "cursor", None) in {None, *self._reading}:
            with self._connecting:
                self._own.cursor = self._connected()
        return self._own.cursor

    def _connected(self) -> Any:
        """Return a further cursor."""
        if self._database is None:
            self._database = duckdb.connect(":memory:")
            settings = {"temp_directory": text_in_sql(str(self._scratch)), **SETTINGS}
            for name, value in settings.items():
                self._database.execute(f"SET {name} = {value}")
        else:
            self._before_connecting()
        self._cursors.append(self._database.cursor())
        return self._cursors[-1]

    def schema(self) -> Mapping[str, tuple[str, ...]]:
        """Return the columns of every table, by the table's name."""
        return {table: tuple(self._table(table).schema.names) for table in sorted(self._files)}

    def _table(self, table: str) -> ParquetTable | ArrowTable:
        """Return a table, of which nothing is read yet."""
        if table not in self._opened:
            path = self._files[table]
            kind = ParquetTable if path.suffix == PARQUET else ArrowTable
            try:
                self._opened[table] = kind(path)
            except (OSError, pa.ArrowException, UnreadableTable) as error:
                raise UnreadableTable(f"{path.name}: {first_line(error)}") from error
        return self._opened[table]

    def kinds(self, table: str) -> dict[str, str]:
        """Return the type that each column of a table would have in SQLite, by its name."""
        return {field.name: kind_in_sqlite(field.type) for field in self._table(table).schema}

    def execute(
        self, sql: str, batch_rows: int, used: ExitStack, stretch: Stretch | None = None
    ) -> tuple[Sequence[str], Iterator[pa.RecordBatch]]:
        """Return the columns of a query and its rows; see `TableReader.execute`."""
        cursor = used.enter_context(self._free_cursor())
        for table in set(re.findall(r'\bFROM "?(\w+)', sql)) & set(self._files):
            self._make_view(cursor, table, sql, batch_rows, stretch)
        reader = interruptible(lambda: cursor.sql(sql).to_arrow_reader(batch_rows), used)
        used.callback(reader.close)
        return reader.schema.names, map(with_whole_numbers, reader)

    @contextmanager
    def _free_cursor(self) -> Iterator[Any]:
        """Yield this thread's cursor, which is in use meanwhile."""
        cursor = self._cursor()
        self._reading.add(cursor)
        try:
            yield cursor
        finally:
            self._reading.discard(cursor)

    def _make_view(
        self, cursor: Any, table: str, sql: str, batch_rows: int, stretch: Stretch | None
    ) -> None:
        """Let a cursor know the columns of a table that a query names, as SQLite would have them.

        A table without a column has no rows to be counted: then the first column is there.
        """
        source = self._table(table)
        words = {word.lower() for word in re.findall(r"\w+", sql)}
        named = [field for field in source.schema if field.name.lower() in words]
        fields = named or list(source.schema)[:1]
        raw = name_in_sql(RAW + table)
        reader = source.batches([field.name for field in fields], batch_rows, stretch)
        cursor.register(RAW + table, Stream(reader))
        listed = ", ".join(
            f"{as_in_sqlite(field)} AS {name_in_sql(field.name)}" for field in fields
        )
        view = f"CREATE OR REPLACE TEMP VIEW {name_in_sql(table)}"
        cursor.execute(f"{view} AS SELECT {listed} FROM {raw}")

    def failure(self, error: Exception) -> str | None:
        """Return in a few words what an error of DuckDB or pyarrow is about; None for others."""
        ours = (duckdb.Error, pa.ArrowException, OSError, UnreadableTable)
        return first_line(error) if isinstance(error, ours) else None

    def misfit(self, error: Exception) -> int | None:
        """Return None: a column of such a file has one type."""
        return None

    def found_instead(self, table: str, field: str, *, null_fits: bool) -> str | None:
        """Return the kind of a cell that is no whole number; see `TableReader.found_instead`."""
        kind = self._table(table).schema.field(field).type
        if is_whole(kind) or pa.types.is_null(kind):
            if null_fits:
                return None
            with ExitStack() as used:
                sql = f"SELECT 1 FROM {table} WHERE {name_in_sql(field)} IS NULL LIMIT 1"
                return (
                    "null" if any(len(batch) for batch in self.execute(sql, 1, used)[1]) else None
                )
        if is_text(kind):
            return "text"
        return "real" if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else "blob"


def as_in_sqlite(field: pa.Field) -> str:
    """Return SQL for a column as SQLite would have it."""
    name, kind = name_in_sql(field.name), field.type
    if pa.types.is_null(kind):
        return "NULL"  # of no type: it can stand for text and for numbers
    if pa.types.is_uint64(kind):
        # All that is computed fits into its type.
        return (
            f"CASE WHEN {name} < 9223372036854775808 THEN cast({name} AS BIGINT) "
            f"ELSE -cast(18446744073709551615 - {name} AS BIGINT) - 1 END"
        )
    if is_whole(kind):
        return f"cast({name} AS BIGINT)"
    return f"cast({name} AS VARCHAR)" if is_text(kind) else name


def kind_in_sqlite(kind: pa.DataType) -> str:
    """Return what SQLite calls a type; nothing where it would be any."""
    if is_whole(kind):
        return "INTEGER"
    if is_text(kind):
        return "TEXT"
    return "REAL" if pa.types.is_floating(kind) else ""


def is_whole(kind: pa.DataType) -> bool:
    """Return whether the values of a type are whole numbers, or true and false."""
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def is_text(kind: pa.DataType) -> bool:
    """Return whether the values of a type are text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(fits(kind) for fits in texts)


def with_whole_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with whole numbers of any width, and truth values, as 64-bit integers.

    What SQL says of a number without a column is narrow in DuckDB.
    """
    columns = [
        column.cast(pa.int64()) if is_whole(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def name_in_sql(name: str) -> str:
    """Return a name as SQL has it, whatever is in it.

    >>> print(name_in_sql('a"b'))
    "a""b"
    """
    return '"' + name.replace('"', '""') + '"'


def text_in_sql(text: str) -> str:
    """Return text as SQL has it, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """Return what an error says, without its kind and what follows the first line.

    >>> first_line(ValueError("Binder Error: no column x. LINE 1"))
    'no column x. LINE 1'
    """
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OUTSIDE_SQL.sub("", first).strip().rstrip(".")
