"""NVTX payloads in a report: the tables of their schemas, and the bytes of each range's."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from analysis.knowledge.nvtx_payloads import HEADER, Schema

DDL: Final = (
    "NVTX_PAYLOAD_SCHEMAS (domainId INTEGER, schemaId INTEGER, name TEXT, type INTEGER, "
    "flags INTEGER, numEntries INTEGER, payloadSize INTEGER, alignTo INTEGER)",
    "NVTX_PAYLOAD_SCHEMA_ENTRIES (domainId INTEGER NOT NULL, schemaId INTEGER NOT NULL, "
    "idx INTEGER NOT NULL, flags INTEGER, type INTEGER, name TEXT, description TEXT, "
    "arrayOrUnionDetail INTEGER, offset INTEGER)",
    "NVTX_PAYLOAD_ENUMS (domainId INTEGER, schemaId INTEGER, name TEXT, numEntries INTEGER, "
    "size INTEGER)",
)


def framed(number: int, payload: bytes, domain: int = 1) -> bytes:
    """Return a payload as it stands in `NVTX_EVENTS.binaryData`."""
    return HEADER.pack(domain, number, len(payload), HEADER.size + len(payload)) + payload


def add_payloads(
    path: Path,
    schemas: Iterable[tuple[int, Schema]],
    payloads: Mapping[str, bytes | str | None],
    *,
    domain: int = 1,
    enums: Mapping[int, int] | None = None,
) -> Path:
    """Add schemas to a report, a payload for each range of some names, and return its path.

    Like nsys, 0 is left out of a schema's rows.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in DDL:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        for number, schema in schemas:
            row = (domain, number, None, schema.type, None, len(schema.entries))
            sizes = (schema.size or None, schema.pack or None)
            insert(connection, "NVTX_PAYLOAD_SCHEMAS", *row, *sizes)
            for place, entry in enumerate(schema.entries):
                told = (entry.flags or None, entry.type, entry.label, None)
                more = (entry.detail or None, entry.offset or None)
                table = "NVTX_PAYLOAD_SCHEMA_ENTRIES"
                insert(connection, table, domain, number, place, *told, *more)
        for number, size in (enums or {}).items():
            insert(connection, "NVTX_PAYLOAD_ENUMS", domain, number, None, 2, size)
        there = [row[1] for row in connection.execute("PRAGMA table_info(NVTX_EVENTS)")]
        if "binaryData" not in there:
            connection.execute("ALTER TABLE NVTX_EVENTS ADD COLUMN binaryData TEXT")
        for name, data in payloads.items():
            connection.execute("UPDATE NVTX_EVENTS SET binaryData = ? WHERE text = ?", (data, name))
    return path


def insert(connection: sqlite3.Connection, table: str, *row: object) -> None:
    """Add a row."""
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
