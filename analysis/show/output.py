"""Output files: replaced as a whole, or a SQLite database that answers are added to.

A database may hold the answers about many reports, to questions asked in many ways: the first two
columns of each table, `MARK_COLUMNS`, say of which report a row is and how it was asked for. Adding
an answer replaces the rows that have the same two, and nothing else. A report is never written to,
whether it is the one that is read or another.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from analysis.show.errors import ReportError, reason
from analysis.show.table import Column, Table

ELSEWHERE: Final = "choose another --output"

MARK_COLUMNS: Final = ("report", "options")
"""The columns that come before those of an answer: the files it is about, and what was asked."""

MARK_OF_REPORTS: Final = "reports"
"""What the first is called where the answer has a column of its own called that."""

REPORT_TABLES: Final = ("StringIds", "NVTX_EVENTS", "META_DATA_EXPORT", "EXPORT_META_DATA")
REPORT_TABLE_PREFIXES: Final = ("CUPTI_ACTIVITY_KIND_", "TOOLKIT_")
"""Tables that only a report has, and how the names of others begin."""

OTHER_NAME: Final = "name another file, or another table with --table NAME"
MOST_NAMED: Final = 3
"""How many columns an error names."""

SQLITE_MAGIC: Final = b"SQLite format 3\x00"
NSYS_MAGIC: Final = b"NVIDIA Tegra Profiler Report"


@contextmanager
def replacing(output: Path, *read: Path, over_reports: bool = False) -> Iterator[Path]:
    """Yield a path to write to; ``output`` is replaced when all of it has been written.

    Args:
        output: the file.
        read: the reports that are read.
        over_reports: whether it may be another report: what is written is one.

    Raises:
        ReportError: ``output`` is a report, or cannot be written.
    """
    with _failures(output):
        target = writable_target(output, *read, over_reports=over_reports)
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


def writable_target(output: Path, *read: Path, over_reports: bool = False) -> Path:
    """Return the file that an output names, links followed, if it may be written to.

    Raises:
        ReportError: it is a report that is read, another (unless ``over_reports``), or a directory.
    """
    target = Path(os.path.realpath(output))
    if target.exists() and any(each.exists() and target.samefile(each) for each in read):
        raise ReportError(output, "this is the report itself", ELSEWHERE)
    if target.is_dir():
        raise ReportError(output, "a directory", "name a file for --output")
    if not over_reports and target.is_file() and is_report(target):
        raise ReportError(output, "another report, which is not written to", ELSEWHERE)
    return target


def is_report(path: Path) -> bool:
    """Return whether an existing file is a report: of nsys, exported or not, or one of ours."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if not head.startswith(SQLITE_MAGIC):
            return head.startswith(NSYS_MAGIC)
        # Without a journal beside it, reading with mode=ro alone might make one.
        log = Path(f"{path}-wal")
        mode = "ro" if log.exists() else "ro&immutable=1"
        uri = f"file:{urllib.parse.quote(os.fsencode(path))}?mode={mode}"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            known = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return any(
                name in REPORT_TABLES or name.startswith(REPORT_TABLE_PREFIXES)
                for (name,) in known.fetchall()
            )
    except (OSError, sqlite3.Error):
        return False  # whoever writes to it will say what is wrong with it


@contextmanager
def _failures(output: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = f"cannot be written ({reason(error)})"
        raise ReportError(output, problem, ELSEWHERE) from None


def umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def add_to_database(tables: Sequence[Table], output: Path, *read: Path, options: str = "") -> None:
    """Add answers to a SQLite database, in place of earlier ones to the same question.

    A table that is not there is made. In one that is, the rows of the same reports and the same
    options go, all others stay. A new database appears when it is complete. One that is there is
    written in place, in one transaction: others may have it open, and what they wrote may still
    lie in the log beside it.

    Args:
        tables: the answers.
        output: the database.
        read: the reports that they are about.
        options: how they were asked for.

    Raises:
        ReportError: ``output`` is a report, no database, or cannot be written; or a table there
            has the name of one of these but other columns. Nothing is changed then.
    """
    marks = (" + ".join(os.path.realpath(path) for path in read), options)
    with _failures(output):
        target = writable_target(output, *read)
        try:
            if target.exists():
                _add(tables, target, output, marks)
            else:
                with replacing(output, *read) as draft:
                    _add(tables, draft, output, marks)
        except sqlite3.OperationalError as error:
            raise ReportError(output, f"cannot be written ({error})", ELSEWHERE) from None
        except sqlite3.DatabaseError as error:
            problem = f"not a database to add to ({error})"
            raise ReportError(output, problem, "name another") from None


def _add(tables: Sequence[Table], target: Path, output: Path, marks: tuple[str, str]) -> None:
    """Write the tables to a file; if that fails, everything in it stays as it was."""
    # Without an isolation level Python leaves transactions to us.
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table in tables:
                _put(table, connection, output, marks)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _put(
    table: Table, connection: sqlite3.Connection, output: Path, marks: tuple[str, str]
) -> None:
    """Put one answer in the place of an earlier one, within the transaction that is open."""
    import sqlite_utils

    columns = {name: _type(column) for name, column in table.columns.items()}
    first = MARK_OF_REPORTS if MARK_COLUMNS[0] in columns else MARK_COLUMNS[0]
    columns = {first: str, MARK_COLUMNS[1]: str} | columns
    if not _is_there(table.name, list(columns), connection, output):
        # sqlite-utils knows the types; it would commit what it runs itself, so it only writes SQL.
        connection.execute(sqlite_utils.Database(memory=True).create_table_sql(table.name, columns))
    name = quoted(table.name)
    listed = ", ".join(map(quoted, columns))
    stored = [_storable(mark) for mark in marks]
    connection.execute(f"DELETE FROM {name} WHERE {quoted(first)} = ? AND options = ?", stored)
    connection.executemany(
        f"INSERT INTO {name} ({listed}) VALUES ({', '.join('?' * len(columns))})",
        ([*stored, *(_storable(value) for value in row.values())] for row in table.rows()),
    )


def _is_there(name: str, columns: list[str], connection: sqlite3.Connection, output: Path) -> bool:
    """Return whether a table of this name is there that the answer's rows can be added to.

    Raises:
        ReportError: there is a view of that name, or a table with other columns.
    """
    sql = (
        "SELECT type FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)"
    )
    there = connection.execute(sql, (name,)).fetchone()
    if there is None:
        return False
    if there == ("view",):
        problem = f"a view there is called {name!r}, as the table to add would be"
        raise ReportError(output, problem, f"drop the view, {OTHER_NAME}")
    found = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted(name)})")]
    if sorted(found) != sorted(columns):
        parts = {
            "lacks": [each for each in columns if each not in found],
            "also has": [each for each in found if each not in columns],
        }
        differences = "; it ".join(f"{word} {_some(part)}" for word, part in parts.items() if part)
        problem = f"a table there is called {name!r} and is of another kind (it {differences})"
        raise ReportError(output, problem, OTHER_NAME)
    return True


def _type(column: Column) -> type:
    """Return what a column holds; one of objects has whole numbers of which some are not known."""
    if isinstance(column, list):
        return str
    if column.dtype != object:
        return column.dtype.type
    held = {type(value) for value in column.tolist() if value == value and value is not None}
    if held <= {int}:
        return int
    return float if held <= {int, float} else str


def _some(names: list[str]) -> str:
    """Return the first of some names."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL, whatever letters are in it.

    >>> quoted('a "b" c')
    '"a ""b"" c"'
    """
    return '"' + name.replace('"', '""') + '"'


def _storable(value: float | str) -> float | str:
    """Return a value without what is no Unicode: bytes of a file name, which become escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
