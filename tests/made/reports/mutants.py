"""Damaged reports, each a real one with one thing changed: a column, a cell, a table, some bytes.

A mutation is chosen by a number alone, so a mutant that fails can be made again.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.made.commands.in_process import run_command

VALUES: Final[dict[str, object]] = {
    "NULL": None,
    "text": "abc",
    "number in text": "12x",
    "blob": b"\x00\xff",
    "fraction": 1.5,
    "infinity": float("inf"),
    "most": 2**63 - 1,
    "least": -(2**63),
    "negative": -1,
    "zero": 0,
    "far": 2**62,
    "escapes": "\x1b[31mred\x1b[0m\r\n|\u202e",
}
"""What a cell is given, by what the mutant is called after."""

READ: Final = (
    *("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"),
    *("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET", "CUPTI_ACTIVITY_KIND_RUNTIME"),
    *("NVTX_EVENTS", "StringIds", "PROFILER_OVERHEAD", "ENUM_CUDA_MEMCPY_OPER"),
    *("TARGET_INFO_GPU", "TARGET_INFO_SESSION_START_TIME", "ANALYSIS_DETAILS"),
    *("META_DATA_EXPORT", "EXPORT_META_DATA", "CUDA_GPU_MEMORY_USAGE_EVENTS"),
    *("TOOLKIT_OPERATOR", "TOOLKIT_RUN", "TOOLKIT_RANGE_COST", "TOOLKIT_MEMORY"),
    "TOOLKIT_RANGE_MEMORY",
)
"""The tables that some question reads."""

COLUMNS: Final = frozenset(
    {
        *("start", "end", "deviceId", "streamId", "correlationId", "globalPid", "globalTid"),
        *("graphId", "graphNodeId", "demangledName", "shortName", "mangledName", "nameId"),
        *("bytes", "copyKind", "srcKind", "dstKind", "srcDeviceId", "dstDeviceId", "memKind"),
        *("eventType", "text", "textId", "domainId", "endGlobalTid", "int64Value", "uint64Value"),
        *("id", "value", "name", "label", "duration", "utcEpochNs", "memoryOperationType"),
        *("cuDevice", "totalMemory", "memoryBandwidth", "clockRate", "smCount"),
    }
)
"""The columns of theirs that some question reads; of tables of ours it is every one."""

BASE_BYTES: Final = 300_000
"""About the size of a report that mutants are made of, its tables without rows aside."""

Change = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True)
class Mutation:
    """One change of a report: in words, and what makes it."""

    name: str
    change: Change


def mutations(path: Path) -> Iterator[Mutation]:
    """Yield every mutation of a report's tables, in an order that does not change."""
    with closing(sqlite3.connect(path)) as connection:
        there = [
            (
                str(table),
                [str(row[1]) for row in connection.execute(f'PRAGMA table_info("{table}")')],
            )
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            )
            if table in READ
        ]
        rows = {
            table: int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])
            for table, _ in there
        }
    for table, columns in there:
        if not rows[table]:
            continue
        yield Mutation(f"without {table}", sql(f'DROP TABLE "{table}"'))
        yield Mutation(f"{table} empty", sql(f'DELETE FROM "{table}"'))
        yield Mutation(f"{table} twice", sql(f'INSERT INTO "{table}" SELECT * FROM "{table}"'))
        for column in columns:
            if column not in COLUMNS and not table.startswith("TOOLKIT_"):
                continue
            where = f"{table}.{column}"
            drop = sql(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
            yield Mutation(f"without {where}", drop)
            update = f'UPDATE "{table}" SET "{column}" = '
            yield Mutation(f"{where} as text", sql(f'{update}cast("{column}" AS text) || " "'))
            for name, value in VALUES.items():
                yield Mutation(f"{where} all {name}", sql(f"{update}?", value))
                yield Mutation(
                    f"{where} once {name}",
                    sql(f"{update}? WHERE rowid = {1 + rows[table] // 2}", value),
                )
        if {"start", "end"} <= set(columns):
            times = f'UPDATE "{table}" SET start = "end", "end" = start'
            yield Mutation(f"{table} times exchanged", sql(times))
            yield Mutation(
                f"{table} times exchanged once",
                sql(f"{times} WHERE rowid = {1 + rows[table] // 2}"),
            )
            far = f'UPDATE "{table}" SET start = -(1 << 62), "end" = 1 << 62'
            yield Mutation(f"{table} times far apart", sql(f"{far} WHERE rowid = 1"))


def sql(statement: str, *values: object) -> Change:
    """Return what runs one statement, declared types and keys of the file aside."""

    def change(connection: sqlite3.Connection) -> None:
        connection.execute(statement, values)

    return change


def loosened(path: Path) -> None:
    """Take from a report the constraints that keep a cell from being what it should not be."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in connection.execute(tables).fetchall():
            fields = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
            listed = ", ".join(f'"{field[1]}" {field[2]}' for field in fields)
            connection.execute(f'ALTER TABLE "{table}" RENAME TO "old {table}"')
            connection.execute(f'CREATE TABLE "{table}" ({listed})')
            connection.execute(f'INSERT INTO "{table}" SELECT * FROM "old {table}"')
            connection.execute(f'DROP TABLE "old {table}"')
        connection.execute("VACUUM")


def mutant(base: Path, mutation: Mutation, path: Path) -> Path:
    """Write a report with one mutation."""
    path.write_bytes(base.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        mutation.change(connection)
    return path


def with_flipped_bytes(base: Path, seed: int, path: Path, count: int = 8) -> Path:
    """Write a report in which some bytes, past the file's header, are others."""
    content = bytearray(base.read_bytes())
    chance = random.Random(seed)
    for _ in range(count):
        content[chance.randrange(100, len(content))] = chance.randrange(256)
    path.write_bytes(content)
    return path


def truncated(base: Path, seed: int, path: Path) -> Path:
    """Write the first part of a report."""
    content = base.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(len(content))])
    return path


def cut(report: Path, path: Path) -> Path:
    """Write a part of a report, about `BASE_BYTES`: what went on while some of its kernels ran."""
    with closing(sqlite3.connect(f"{report.as_uri()}?mode=ro", uri=True)) as connection:
        sql = "SELECT start FROM CUPTI_ACTIVITY_KIND_KERNEL ORDER BY start"
        starts = [start for (start,) in connection.execute(sql)]
    first = len(starts) * 2 // 5
    last = first + len(starts) * BASE_BYTES // (2 * report.stat().st_size)
    window = ["--from-ns", str(starts[first]), "--to-ns", str(starts[min(last, len(starts) - 1)])]
    done = run_command("analysis.trim", report, "--output", path, *window)
    assert done.returncode == 0, done.stderr
    return path
