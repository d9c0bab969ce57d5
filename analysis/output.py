"""Files that are written: replaced as a whole, or a SQLite database that tables are added to."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from analysis.errors import ReportError
from analysis.table import Table

ELSEWHERE: Final = "choose another --output"


@contextmanager
def replacing(output: Path, *read: Path) -> Iterator[Path]:
    """Yield a path to write to; ``output`` is replaced when all of it has been written.

    Raises:
        ReportError: ``output`` is a report that is read, or cannot be written.
    """
    with _failures(output):
        target = allowed(output, *read)
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            yield target  # a device or a pipe has no other name to be swapped with
            return
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}-", dir=target.parent)
        os.close(handle)
        draft = Path(name)
        try:
            draft.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~umask())
            yield draft
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def allowed(output: Path, *read: Path) -> Path:
    """Return what the output names, links followed.

    Raises:
        ReportError: it is a report that is read, or a directory.
    """
    target = Path(os.path.realpath(output))
    if target.exists() and any(each.exists() and target.samefile(each) for each in read):
        raise ReportError(output, "this is the report itself", ELSEWHERE)
    if target.is_dir():
        raise ReportError(output, "a directory", "name a file for --output")
    return target


@contextmanager
def _failures(output: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = f"cannot be written ({(error.strerror or str(error)).lower()})"
        raise ReportError(output, problem, ELSEWHERE) from None


def umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def add_to_database(tables: Sequence[Table], output: Path, *read: Path) -> None:
    """Add tables to a SQLite database, in place of earlier ones of the same names.

    A new database appears when it is complete. One that is there is written in place, in one
    transaction: others may have it open, and what they wrote may still lie in the log beside it.

    Raises:
        ReportError: ``output`` is a report that is read, no database, or cannot be written.
    """
    with _failures(output):
        target = allowed(output, *read)
        try:
            if target.exists():
                _add(tables, target, output)
            else:
                with replacing(output, *read) as draft:
                    _add(tables, draft, output)
        except sqlite3.OperationalError as error:
            raise ReportError(output, f"cannot be written ({error})", ELSEWHERE) from None
        except sqlite3.DatabaseError as error:
            problem = f"not a database to add to ({error})"
            raise ReportError(output, problem, "name another") from None


def _add(tables: Sequence[Table], target: Path, output: Path) -> None:
    """Write the tables to a file; if that fails, everything in it stays as it was."""
    # Without an isolation level Python leaves transactions to us.
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table in tables:
                _put(table, connection, output)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _put(table: Table, connection: sqlite3.Connection, output: Path) -> None:
    """Put one table in the place of an earlier one, within the transaction that is open."""
    import sqlite_utils

    sql = (
        "SELECT type FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)"
    )
    there = connection.execute(sql, (table.name,)).fetchone()
    if there == ("view",):
        problem = f"a view there is called {table.name!r}, as the table to add would be"
        raise ReportError(output, problem, "drop the view or name another file")
    quoted = '"' + table.name.replace('"', '""') + '"'
    connection.execute(f"DROP TABLE IF EXISTS {quoted}")
    columns = {
        name: str if isinstance(column, list) else column.dtype.type
        for name, column in table.columns.items()
    }
    # sqlite-utils knows the types; it would commit what it runs itself, so it only writes the SQL.
    connection.execute(sqlite_utils.Database(memory=True).create_table_sql(table.name, columns))
    connection.executemany(
        f"INSERT INTO {quoted} VALUES ({', '.join('?' * len(columns))})",
        ([_storable(value) for value in row.values()] for row in table.rows()),
    )


def _storable(value: float | str) -> float | str:
    """Return a value without what is no Unicode: bytes of a file name, which become escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
