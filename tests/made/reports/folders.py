"""SQLite reports written anew: as the folders that nsys exports to, or with their rows in no order.

The types are those that nsys 2023.4 was seen to write: times signed, ids unsigned, text as strings;
Parquet without compression in the first version of its format, in row groups; Arrow as a stream
with one batch a table. Tables without rows are left out, and so is META_DATA_CAPTURE.
"""

import random
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

PARQUET: Final = "parquet"
ARROW: Final = "arrow"
FOLDERS: Final = (PARQUET, ARROW)

UNSIGNED: Final = re.compile(r"global\w+|rangeId|category|domainId|\w*[vpt]id|originalIP|uint64\w*")
NARROW: Final = re.compile(
    r"textId|color|eventType|eventClass|nameId|symbol|module|\w*Kind|streamId"
)
TRUTH: Final = re.compile(r"kernelMode|thumbCode|unresolved|specialEntry|isSchedIn|isDiscrete")
ROWS_A_GROUP: Final = 2000


def exported(report: Path, kind: str, made: Path, seed: int | None = None) -> Path:
    """Write a SQLite report as nsys exports one to a folder, and return the folder.

    Args:
        report: SQLite.
        kind: one of `FOLDERS`.
        made: the folder, which is not there yet.
        seed: of how its rows are shuffled; None to leave them in order.
    """
    made.mkdir(parents=True)
    with closing(opened(report)) as connection:
        for table in tables(connection):
            if table == "META_DATA_CAPTURE":
                continue
            columns, rows = content(connection, table, seed)
            if rows:
                arrays = [
                    array(name, declared, [row[place] for row in rows])
                    for place, (name, declared) in enumerate(columns)
                ]
                write(made, kind, table, pa.table(arrays, names=[name for name, _ in columns]))
    return made


def shuffled(report: Path, copy: Path, seed: int) -> Path:
    """Write a SQLite report with the rows of each table in another order, and return it."""
    with closing(opened(report)) as connection, closing(sqlite3.connect(copy)) as made:
        for (sql,) in connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"
        ):
            made.execute(sql.decode())
        for table in tables(connection):
            columns, rows = content(connection, table, seed)
            values = ", ".join("cast(? AS TEXT)" if "TEXT" in kind else "?" for _, kind in columns)
            made.executemany(f'INSERT INTO "{table}" VALUES ({values})', rows)
        made.commit()
    return copy


def opened(report: Path) -> sqlite3.Connection:
    """Return a connection that reads a report, text as the bytes it is made of."""
    connection = sqlite3.connect(f"{report.as_uri()}?mode=ro&immutable=1", uri=True)
    connection.text_factory = bytes
    return connection


def tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of a report's tables."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name.decode() for (name,) in found if not name.startswith(b"sqlite_")]


def content(
    connection: sqlite3.Connection, table: str, seed: int | None
) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
    """Return the columns of a table with their declared types, and its rows, shuffled if asked."""
    info = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    columns = [(row[1].decode(), row[2].decode().upper()) for row in info]
    rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
    if seed is not None:
        random.Random(f"{seed} {table}").shuffle(rows)
    return columns, rows


def array(name: str, declared: str, cells: Sequence[Any]) -> pa.Array:
    """Return the cells of one column as nsys would have them."""
    if "TEXT" in declared:
        held = [None if cell is None else as_bytes(cell) for cell in cells]
        raw = pa.array(held, pa.binary())
        return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), raw.null_count)
    if "REAL" in declared or any(isinstance(cell, float) for cell in cells):
        return pa.array(cells, pa.float64())
    if any(isinstance(cell, bytes) for cell in cells):
        return pa.array(cells, pa.binary())
    if TRUTH.fullmatch(name) and all(cell in (None, 0, 1) for cell in cells):
        return pa.array([None if cell is None else bool(cell) for cell in cells], pa.bool_())
    if all(cell is None for cell in cells) and not UNSIGNED.fullmatch(name):
        return pa.nulls(len(cells))
    if UNSIGNED.fullmatch(name):
        return pa.array([None if cell is None else cell % (1 << 64) for cell in cells], pa.uint64())
    held = pa.array(cells, pa.int64())
    fits = all(cell is None or 0 <= cell < 1 << 32 for cell in cells)
    return held.cast(pa.uint32()) if NARROW.fullmatch(name) and fits else held


def as_bytes(cell: object) -> bytes:
    """Return a cell of text as bytes: SQLite holds anything in such a column."""
    return cell if isinstance(cell, bytes) else str(cell).encode()


def write(folder: Path, kind: str, table: str, rows: pa.Table) -> None:
    """Write one table into a folder."""
    path = folder / f"{table}.{kind}"
    if kind == PARQUET:
        pq.write_table(rows, path, compression="none", version="1.0", row_group_size=ROWS_A_GROUP)
        return
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as stream:
        stream.write_table(rows.combine_chunks())
