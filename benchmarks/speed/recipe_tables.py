"""Write the tables that NVIDIA's projection recipe reads, as `nsys export --type=parquetdir` does.

    python -m benchmarks.speed.recipe_tables report.sqlite report_pqtdir
    python -m benchmarks.speed.recipe_tables report.sqlite report_pqtdir whole

Only the columns that the recipe reads are there, with the types nsys gives them; "whole" writes all
columns of all tables, the others with the types that SQLite declares. A table that the report lacks
is written without rows, as `--lazy=false` has it.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

TIMES: Final = {"start": pa.int64(), "end": pa.int64()}
WORK: Final = {"correlationId": pa.int64(), "globalPid": pa.uint64(), **TIMES}

CALLS: Final = {"correlationId": pa.int64(), "globalTid": pa.uint64(), **TIMES}
TEXT: Final = {"text": pa.string(), **TIMES, "textId": pa.int64()}

TABLES: Final[Mapping[str, Mapping[str, pa.DataType]]] = {
    "StringIds": {"id": pa.int32(), "value": pa.string()},
    "NVTX_EVENTS": {**TEXT, "globalTid": pa.uint64(), "endGlobalTid": pa.uint64()},
    "CUPTI_ACTIVITY_KIND_RUNTIME": CALLS,
    "CUPTI_ACTIVITY_KIND_KERNEL": WORK,
    "CUPTI_ACTIVITY_KIND_MEMCPY": WORK,
    "CUPTI_ACTIVITY_KIND_MEMSET": WORK,
}
"""The tables and their columns, with the types that nsys 2023.4.4 was seen to write."""


DECLARED: Final = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string()}
WHOLE: Final = "whole"


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, pa.DataType]:
    """Return all columns that a report has of a table, and their types."""
    declared = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    return {
        **{name: DECLARED[kind] for _, name, kind, *_ in declared},
        **TABLES.get(table, {}),
    }


def read(
    connection: sqlite3.Connection, table: str, columns: Mapping[str, pa.DataType]
) -> pa.Table:
    """Return some columns of a report's table, empty where it has none."""
    names = ", ".join(f'"{name}"' for name in columns)
    there = table in names_of(connection)
    rows = connection.execute(f'SELECT {names} FROM "{table}"').fetchall() if there else []
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = [typed(column, kind) for column, kind in zip(values, columns.values(), strict=True)]
    return pa.table(arrays, names=list(columns))


def names_of(connection: sqlite3.Connection) -> list[str]:
    """Return the names of a report's tables."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in found]


def typed(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """Return a column; SQLite keeps an unsigned number of 64 bits as a signed one."""
    if kind == pa.uint64():
        return pa.array(values, pa.int64()).cast(kind, safe=False)
    return pa.array(values, kind)


def main(argv: Sequence[str]) -> int:
    """Write the tables of a report into a folder."""
    report, folder = map(Path, argv[:2])
    folder.mkdir(parents=True, exist_ok=True)
    uri = f"{report.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        written = dict(TABLES)
        if argv[2:] == [WHOLE]:
            written |= {name: columns_of(connection, name) for name in names_of(connection)}
        for table, columns in written.items():
            path = folder / f"{table}.parquet"
            # As nsys writes it: not compressed, in the oldest format.
            rows = read(connection, table, columns)
            pq.write_table(rows, path, compression="NONE", version="1.0")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
