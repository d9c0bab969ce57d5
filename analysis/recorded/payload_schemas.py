"""The schemas of the NVTX payloads of a report, and what payloads tell by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from analysis.knowledge.nvtx_payloads import STATIC, UNSIGNED, Entry, Record, Schema, read
from analysis.source.nvtx_tables import payload_entries, payload_enums, payload_schemas

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

Schemas: TypeAlias = dict[int, dict[int, Schema]]
"""The schemas of each domain, by number."""

UNKNOWN: Final = Schema(0, ())
"""Stands for a schema that programs declared differently: nothing can be read by it."""

COMMUNICATOR: Final = "NCCL communicator ID"
"""The label that every schema of NCCL's has: its payloads tell sizes of messages, and no shapes."""


def is_nccl(schemas: dict[int, Schema]) -> bool:
    """Return whether the schemas of a domain are NCCL's, but for its enumerations."""
    labels = [{entry.label for entry in schema.entries} - {""} for schema in schemas.values()]
    return any(labels) and all(COMMUNICATOR in some for some in labels if some)


def payload_records(declared: Schemas, digits: str) -> list[Record]:
    """Return what a payload tells; nothing where it cannot be read."""
    try:
        return read(bytes.fromhex(digits), declared)
    except ValueError:  # no such digits, or `Unreadable`
        return []


def declared_schemas(report: Report) -> Schemas:
    """Return the schemas of a report, `UNKNOWN` where two programs declared one differently.

    An enumeration stands as a structure of one number.
    """
    entries: dict[tuple[int, int], list[Entry]] = {}
    twice: set[tuple[int, int]] = set()
    fields = ("domain", "number", "place", "text", "type", "flags", "detail", "offset")
    for domain, number, place, *told in rows_of(payload_entries(report), fields):
        known = entries.setdefault((domain, number), [])
        if place != len(known):
            twice.add((domain, number))
        known.append(Entry(*told))
    schemas: Schemas = {}
    for domain, number, type_, size, pack in rows_of(
        payload_schemas(report), ("domain", "number", "type", "size", "pack")
    ):
        inside = schemas.setdefault(domain, {})
        if number in inside:
            twice.add((domain, number))
        inside[number] = Schema(type_, tuple(entries.get((domain, number), ())), size, pack)
    for domain, number in twice:
        schemas.setdefault(domain, {})[number] = UNKNOWN
    for domain, number, size in rows_of(payload_enums(report), ("domain", "number", "size")):
        value = Entry("", UNSIGNED.get(size, 0))
        schemas.setdefault(domain, {}).setdefault(number, Schema(STATIC, (value,), size))
    return schemas


def rows_of(columns: Columns, fields: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of a small table."""
    return zip(*(columns[field].tolist() for field in fields), strict=True)
