"""Output files: replaced as a whole, or a SQLite database that answers are added to.

A database may hold the answers about many reports, to questions asked in many ways. A table is
called after its question (`table_name`), and its first columns say what a row is of:

* ``id``, its primary key;
* ``report``, the path of the report, a foreign key to `RUNS`: one row for each report, with the
  file's name and when it was first added. An answer about several is of all their paths together,
  and a comparison has foreign keys to the two besides, ``before`` and ``after``;
* ``options``, how it was asked for;
* ``added``, when the answer was added (UTC).

Adding an answer replaces the rows of the same report and options, and nothing else. A report is
never written to, whether it is the one that is read or another.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
import urllib.parse
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from analysis.show.errors import ReportError, reason
from analysis.show.table import Column, Table

OUTPUT: Final = "--output"
"""The option that names the file."""

RUNS: Final = "runs"
"""The table of the reports that answers are about."""

RUN_COLUMNS: Final = {"report": str, "name": str, "added": str}

SIDES: Final = ("before", "after")
"""The further foreign keys of an answer about two reports that are compared."""

IN_PLACE_OF: Final = {"id": "row", "report": "reports", "options": "asked", "added": "added_at"}
"""What a column is called where the answer has one of its own called as we would call it."""

OLDER: Final = ("options", "added")
"""Of our columns the one that tables of spanlight up to 0.3 have, and one that they lack."""

REPORT_TABLES: Final = ("StringIds", "NVTX_EVENTS", "META_DATA_EXPORT", "EXPORT_META_DATA")
REPORT_TABLE_PREFIXES: Final = ("CUPTI_ACTIVITY_KIND_", "TOOLKIT_")
"""Tables that only a report has, and how the names of others begin."""

RESERVED: Final = "sqlite_"
"""How the names of SQLite's own tables begin."""

OTHER_NAME: Final = "name another file, or another table with --table NAME"
MOST_NAMED: Final = 3
"""How many columns an error names."""

SQLITE_MAGIC: Final = b"SQLite format 3\x00"
NSYS_MAGIC: Final = b"NVIDIA Tegra Profiler Report"
TABLE_FILES: Final = (".parquet", ".arrow")
"""What the names of files end in that nsys exports to a folder, a table each."""


@contextmanager
def replacing(
    output: Path, *read: Path, over_reports: bool = False, option: str = OUTPUT
) -> Iterator[Path]:
    """Yield a path to write to; ``output`` is replaced when all of it has been written.

    Args:
        output: the file.
        read: the reports that are read.
        over_reports: whether it may be another report: what is written is one.
        option: that names the file.

    Raises:
        ReportError: ``output`` is a report, or cannot be written.
    """
    with _failures(output, option):
        target = writable_target(output, *read, over_reports=over_reports, option=option)
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


def writable_target(
    output: Path, *read: Path, over_reports: bool = False, option: str = OUTPUT
) -> Path:
    """Return the file that an output names, links followed, if it may be written to.

    Raises:
        ReportError: it is a report that is read, another (unless ``over_reports``), a directory, or
            a link that leads nowhere but to itself.
    """
    target = Path(os.path.realpath(output))
    if target.is_symlink():  # all links but those of a circle are followed
        raise ReportError(output, "a link that leads back to itself", elsewhere(option))
    if target.exists() and any(each.exists() and target.samefile(each) for each in read):
        raise ReportError(output, "this is the report itself", elsewhere(option))
    if any(each.is_dir() and target.parent.samefile(each) for each in read):
        raise ReportError(output, "in the folder that is the report itself", elsewhere(option))
    if target.is_dir():
        raise ReportError(output, "a directory", f"name a file for {option}")
    if not over_reports and target.is_file() and is_report(target):
        raise ReportError(output, "another report, which is not written to", elsewhere(option))
    return target


def elsewhere(option: str = OUTPUT) -> str:
    """Return what to do about a file that cannot be written."""
    return f"choose another {option}"


def is_report(path: Path) -> bool:
    """Return whether an existing file is a report, or part of one: of nsys, or one of ours."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if not head.startswith(SQLITE_MAGIC):
            of_folder = any((path.parent / f"StringIds{each}").exists() for each in TABLE_FILES)
            return head.startswith(NSYS_MAGIC) or (path.suffix in TABLE_FILES and of_folder)
        if _has_report_tables(path):
            return True
        log = Path(f"{path}-wal")
        if not log.exists() or not log.stat().st_size:
            return False
        # Tables may lie in the log alone. Who reads that where it is, makes a file beside it.
        with tempfile.TemporaryDirectory(prefix="output-") as folder:
            copy = Path(folder) / "copy.sqlite"
            shutil.copyfile(path, copy)
            shutil.copyfile(log, Path(f"{copy}-wal"))
            return _has_report_tables(copy, "rw")
    except (OSError, sqlite3.Error):
        return False  # whoever writes to it will say what is wrong with it


def _has_report_tables(path: Path, mode: str = "ro&immutable=1") -> bool:
    """Return whether a database has tables of a report; if immutable, not those in a log alone."""
    uri = f"file:{urllib.parse.quote(os.fsencode(path))}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        known = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return any(
            name in REPORT_TABLES or name.startswith(REPORT_TABLE_PREFIXES)
            for (name,) in known.fetchall()
        )


@contextmanager
def _failures(output: Path, option: str = OUTPUT) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = f"cannot be written ({reason(error)})"
        raise ReportError(output, problem, elsewhere(option)) from None


def umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def table_name(question: str, name: str) -> str:
    """Return what an answer's table is called: after the question, and the part if there are some.

    >>> table_name("kernels", "kernels"), table_name("page", "phases")
    ('kernels', 'page_phases')
    >>> table_name("memory", "memory_saved"), table_name("nvidia", "cuda_api_sum")
    ('memory_saved', 'nvidia_cuda_api_sum')
    """
    return name if f"{name}_".startswith(f"{question}_") else f"{question}_{name}"


def add_to_database(
    tables: Sequence[Table],
    output: Path,
    *read: Path,
    options: str = "",
    compared: bool = False,
) -> None:
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
        compared: whether the reports are two sides of a comparison.

    Raises:
        ReportError: ``output`` is a report, no database, or cannot be written; or a table there
            has the name of one of these but other columns. Nothing is changed then.
    """
    about = About(tuple(as_unicode(os.path.realpath(path)) for path in read), options, compared)
    with _failures(output):
        target = writable_target(output, *read)
        try:
            if target.exists():
                _add(tables, target, output, about)
            else:
                with replacing(output, *read) as draft:
                    _add(tables, draft, output, about)
        except sqlite3.OperationalError as error:
            raise ReportError(output, f"cannot be written ({error})", elsewhere()) from None
        except sqlite3.DatabaseError as error:
            problem = f"not a database to add to ({error})"
            raise ReportError(output, problem, "name another") from None


@dataclass(frozen=True)
class About:
    """What answers are about: what stands in the first columns of their rows.

    Attributes:
        paths: of the reports.
        options: how the answers were asked for.
        compared: whether the reports are two sides of a comparison.
        added: now, in UTC.
    """

    paths: tuple[str, ...]
    options: str
    compared: bool = False
    added: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def report(self) -> str:
        """The key of the run that the answers are of."""
        return " + ".join(self.paths)

    @property
    def runs(self) -> list[tuple[str, str, str]]:
        """The rows of `RUNS` that they refer to."""
        several = [self.paths] if len(self.paths) > 1 else []
        named = [*several, *((path,) for path in self.paths)] if self.paths else [("",)]
        return [
            (" + ".join(paths), " + ".join(path.rpartition("/")[2] for path in paths), self.added)
            for paths in named
        ]

    def marks(self, taken: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return the columns before an answer's: by our name for each, the one used and its value.

        Args:
            taken: the names of the answer's own columns.
        """
        sides = dict(zip(SIDES, self.paths, strict=False)) if self.compared else {}
        values = {"report": self.report, **sides, "options": self.options, "added": self.added}
        lower = {name.lower() for name in taken}
        return {
            name: (IN_PLACE_OF[name] if name in lower else name, as_unicode(value))
            for name, value in values.items()
        }


def _add(tables: Sequence[Table], target: Path, output: Path, about: About) -> None:
    """Write the tables to a file; if that fails, everything in it stays as it was."""
    # Without an isolation level Python leaves transactions to us.
    with closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table in tables:
                _put(table, connection, output, about)
            _put_runs(connection, output, about)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _put(table: Table, connection: sqlite3.Connection, output: Path, about: About) -> None:
    """Put one answer in the place of an earlier one, within the transaction that is open."""
    own = {name: _type(column) for name, column in table.columns.items()}
    marks = about.marks(own)
    key = IN_PLACE_OF["id"] if "id" in {name.lower() for name in own} else "id"
    columns = {key: int, **{name: str for name, _ in marks.values()}, **own}
    report, options = (marks[name][0] for name in ("report", "options"))
    name = quoted(table.name)
    if not _is_there(table.name, list(columns), connection, output):
        keys = [marks[each][0] for each in ("report", *SIDES) if each in marks]
        connection.execute(_created(table.name, columns, key, keys))
        connection.execute(
            f"CREATE INDEX {quoted(f'idx_{table.name}_{report}')} "
            f"ON {name} ({quoted(report)}, {quoted(options)})"
        )
    stored = [value for _, value in marks.values()]
    listed = ", ".join(map(quoted, list(columns)[1:]))
    connection.execute(
        f"DELETE FROM {name} WHERE {quoted(report)} = ? AND {quoted(options)} = ?",
        (marks["report"][1], marks["options"][1]),
    )
    connection.executemany(
        f"INSERT INTO {name} ({listed}) VALUES ({', '.join('?' * (len(columns) - 1))})",
        ([*stored, *(storable(value) for value in row.values())] for row in table.rows()),
    )


def _put_runs(connection: sqlite3.Connection, output: Path, about: About) -> None:
    """Add the reports that answers are about; those there keep the time they were first added."""
    if not _is_there(RUNS, list(RUN_COLUMNS), connection, output, "name another file"):
        connection.execute(_created(RUNS, RUN_COLUMNS, "report", []))
    connection.executemany(f"INSERT OR IGNORE INTO {RUNS} VALUES (?, ?, ?)", about.runs)


def _created(name: str, columns: Mapping[str, type], key: str, references: Sequence[str]) -> str:
    """Return SQL that makes a table.

    sqlite-utils knows the types; it would commit what it runs itself, so it only writes SQL.

    Args:
        name: of the table.
        columns: what each holds.
        key: the primary key.
        references: the columns that are foreign keys to `RUNS`.
    """
    import sqlite_utils

    memory = sqlite_utils.Database(memory=True)
    if references:
        memory.table(RUNS).create(RUN_COLUMNS, pk="report")
    return str(
        memory.create_table_sql(
            name,
            dict(columns),
            pk=key,
            foreign_keys=[(each, RUNS, "report") for each in references],
        )
    )


def _is_there(
    name: str,
    columns: list[str],
    connection: sqlite3.Connection,
    output: Path,
    remedy: str = OTHER_NAME,
) -> bool:
    """Return whether a table of this name is there that rows can be added to.

    Raises:
        ReportError: no table can have that name, there is a view of it, or a table with other
            columns.
    """
    if name.lower().startswith(RESERVED):
        problem = f"no table can be called {name!r}: SQLite keeps names in {RESERVED} for itself"
        raise ReportError(output, problem, "choose another --table")
    sql = (
        "SELECT type FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)"
    )
    there = connection.execute(sql, (name,)).fetchone()
    if there is None:
        return False
    if there == ("view",):
        problem = f"a view there is called {name!r}, as the table to add would be"
        raise ReportError(output, problem, f"drop the view, {remedy}")
    found = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted(name)})")]
    if sorted(found) != sorted(columns):
        parts = {
            "lacks": [each for each in columns if each not in found],
            "also has": [each for each in found if each not in columns],
        }
        differences = "; it ".join(f"{word} {_some(part)}" for word, part in parts.items() if part)
        kind = "of another kind"
        if OLDER[0] in found and OLDER[1] not in found and not parts["also has"]:
            kind = "of spanlight 0.3 or older"
        problem = f"a table there is called {name!r} and is {kind} (it {differences})"
        raise ReportError(output, problem, remedy)
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


def as_unicode(text: str) -> str:
    """Return text without what is no Unicode: bytes of a file name, which become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def storable(value: float | str) -> float | str:
    """Return a value as a database can hold it."""
    return as_unicode(value) if isinstance(value, str) else value
