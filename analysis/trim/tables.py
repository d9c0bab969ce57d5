"""The tables of a report that is trimmed: which there are, and what the new one says of itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from analysis.source.catalogue import RUN
from analysis.trim.rules import Source


class TooLarge(Exception):
    """The file grew beyond what is allowed."""


def catalogue(
    connection: sqlite3.Connection,
) -> tuple[list[Source], list[str], list[str]]:
    """Return the tables of the report, the SQL of its indexes and views, and what is left out.

    Left out are tables that another one keeps its content in (full-text search and the like), and
    SQLite's own.
    """
    listed = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    ).fetchall()
    virtual = [name for _, name, _, sql in listed if sql.upper().startswith("CREATE VIRTUAL")]
    left_out = [
        name
        for kind, name, _, _ in listed
        if kind == "table"
        and (name in virtual or any(name.startswith(f"{each}_") for each in virtual))
    ]
    sources = [
        Source(name, sql, columns(connection, name))
        for kind, name, _, sql in listed
        if kind == "table" and name not in left_out
    ]
    later = [
        sql for kind, _, table, sql in listed if kind in ("index", "view") and table not in left_out
    ]
    left_out += [name for kind, name, _, _ in listed if kind == "trigger"]
    return sources, later, left_out


def state(connection: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Write down what was done, beside what the run says of itself and what was done before."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS main.{RUN} (key TEXT NOT NULL PRIMARY KEY, value TEXT)"
    )
    for key, value in facts.items():
        sql = f"SELECT value FROM main.{RUN} WHERE key = ?"
        before = connection.execute(sql, (key,)).fetchone()
        said = f"{value}; before that: {before[0]}" if before else value
        connection.execute(f"DELETE FROM main.{RUN} WHERE key = ?", (key,))
        connection.execute(f"INSERT INTO main.{RUN} (key, value) VALUES (?, ?)", (key, said))


def columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the declared type of each column of a table that can be written, upper case."""
    found = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,))
    return {name: (kind or "").upper() for name, kind in found}


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever is in it.

    >>> quoted('a "b" c')
    '"a ""b"" c"'
    """
    return '"' + name.replace('"', '""') + '"'


def check(connection: sqlite3.Connection, most_bytes: int | None) -> None:
    """Raise `TooLarge` where the new file has more pages than that."""
    if most_bytes is None:
        return
    pages, size = (
        connection.execute(f"PRAGMA main.{name}").fetchone()[0]
        for name in ("page_count", "page_size")
    )
    if pages * size > most_bytes:
        raise TooLarge
