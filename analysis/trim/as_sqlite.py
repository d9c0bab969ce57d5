"""A folder of tables as one SQLite file, for what works on the file itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.show.output import quoted
from analysis.show.progress import Bar
from analysis.source.database import as_bytes

if TYPE_CHECKING:
    from analysis.source.readers.table_reader import TableReader
    from analysis.source.report import Report

BATCH_ROWS: Final = 1 << 14
PRIMARY_KEYS: Final = {("StringIds", "id"): " NOT NULL PRIMARY KEY"}
"""The columns by which rows are looked up one by one."""


def sqlite_uri(report: Report, folder: Path) -> str:
    """Return the SQLite URI of a report; of a folder of tables, that of a copy that is made now.

    The copy has all tables, columns and rows, though not the exporter's remarks on them, which only
    a SQLite export has.

    Args:
        report: what to read.
        folder: where the copy is made.
    """
    if report.opened.scratch is None:
        return report.opened.uri
    from analysis.source.readers.folder_reader import FolderReader

    copy = folder / "report.sqlite"
    with (
        closing(FolderReader(report.opened.files, folder, report.check_unchanged)) as reader,
        closing(sqlite3.connect(copy, isolation_level=None)) as connection,
        report.database.failures(),
        Bar(f"copying {report.path.name}") as bar,
    ):
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for number, table in enumerate(report.schema):
            bar(number, len(report.schema))
            kinds = reader.kinds(table)
            fields = ", ".join(
                f"{quoted(name)} {kind}{PRIMARY_KEYS.get((table, name), '')}"
                for name, kind in kinds.items()
            )
            connection.execute(f"CREATE TABLE {quoted(table)} ({fields})")
            # Text comes as bytes, for it need not be UTF-8.
            values = ", ".join(
                "cast(? AS TEXT)" if kind == "TEXT" else "?" for kind in kinds.values()
            )
            sql = f"INSERT INTO {quoted(table)} VALUES ({values})"
            for rows in _rows(reader, table, kinds):
                connection.executemany(sql, rows)
        connection.execute("COMMIT")
    return f"{copy.as_uri()}?mode=ro&immutable=1"


def _rows(
    reader: TableReader, table: str, columns: Iterable[str]
) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Yield the rows of a table in batches."""
    sql = f"SELECT {', '.join(map(quoted, columns))} FROM {quoted(table)}"
    with ExitStack() as used:
        _, batches = reader.execute(sql, BATCH_ROWS, used)
        for batch in batches:
            cells = [as_bytes(column).to_pylist() for column in batch.columns]
            yield zip(*cells, strict=True)
