"""The shapes that ranges have in their NVTX payloads, as nsys records PyTorch's functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.sensible_times import make_sense
from analysis.knowledge.nvtx_payloads import (
    ARRAY,
    FIRST_SCHEMA,
    STATIC,
    UNSIGNED,
    Entry,
    Record,
    Schema,
    read,
)
from analysis.knowledge.tensor_payloads import in_payload, speaks_of_shape
from analysis.knowledge.vocabulary import clean
from analysis.show.render import plural
from analysis.source import tables
from analysis.source.nvtx_tables import (
    has_payloads,
    payload_entries,
    payload_enums,
    payload_ranges,
    payload_schemas,
)

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

Schemas: TypeAlias = dict[int, dict[int, Schema]]
"""The schemas of each domain, by number."""

UNKNOWN: Final = Schema(0, ())
"""Stands for a schema that programs declared differently: nothing can be read by it."""

COMMUNICATOR: Final = "NCCL communicator ID"
"""The label that every schema of NCCL's has: its payloads tell sizes of messages, and no shapes."""


@dataclass(frozen=True)
class PayloadShapes:
    """The ranges of operators whose payloads tell shapes, ``M`` of them.

    Attributes:
        told: ``(K,)`` distinct operators, each with the texts on its shapes and types.
        key: ``(M,)`` the position of each range's.
        start_ns: ``(M,)``.
        end_ns: ``(M,)``.
        thread: ``(M,)`` the global thread id.
        note: in words, which payloads told none; "" where none did so.
    """

    told: list[tuple[str, ...]]
    key: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    note: str


def may_have_payload_shapes(report: Report) -> bool:
    """Return whether a report can hold shapes in payloads, without reading them."""
    entries = _rows(payload_entries(report), ("text", "flags", "type"))
    several = (text for text, flags, type_ in entries if flags & ARRAY or type_ >= FIRST_SCHEMA)
    return any(map(speaks_of_shape, several)) and has_payloads(report)


def payload_shapes(report: Report) -> PayloadShapes:
    """Return the ranges of operators with shapes in their payloads."""
    none = np.empty(0, np.int64)
    declared = _declared(report)
    told = [domain for domain, schemas in declared.items() if not _is_nccl(schemas)]
    if not told:
        return PayloadShapes([], none, none, none, none, "")
    if not has_payloads(report):
        note = "NVTX payloads were recorded, not exported: nsys export --include-blobs=true does"
        return PayloadShapes([], none, none, none, none, note)
    found, digits, code = payload_ranges(report)
    counts: Bools = np.isin(found.more["domain"], told)
    counts &= (found.end_ns != tables.MISSING) & ~found.elsewhere
    counts &= make_sense(found.start_ns, found.end_ns)
    names = ["", *found.names]  # of one without a name, too
    pairs, pair = np.unique((found.name + 1) * len(digits) + code, return_inverse=True)
    payloads = [_payloads(declared, text) for text in digits]
    number: dict[tuple[str, ...], int] = {}
    key = np.full(len(pairs), NONE, np.int64)
    for turn, both in enumerate(pairs.tolist()):
        name, place = divmod(both, len(digits))
        texts = in_payload(clean(names[name]), payloads[place])
        if texts is not None:
            key[turn] = number.setdefault(texts, len(number))
    of_range = np.where(counts, key[pair], NONE)
    rows = np.flatnonzero(of_range != NONE)
    unread = int(counts.sum()) - len(rows)
    some = plural(unread, "range has", "ranges have")
    note = f"{some} NVTX payloads that tell no shapes of an operator with known costs"
    return PayloadShapes(
        list(number),
        of_range[rows],
        found.start_ns[rows],
        found.end_ns[rows],
        found.thread[rows],
        note if unread else "",
    )


def _is_nccl(schemas: dict[int, Schema]) -> bool:
    """Return whether the schemas of a domain are NCCL's, but for its enumerations."""
    labels = [{entry.label for entry in schema.entries} - {""} for schema in schemas.values()]
    return any(labels) and all(COMMUNICATOR in some for some in labels if some)


def _payloads(declared: Schemas, digits: str) -> list[Record]:
    """Return what a payload tells; nothing where it cannot be read."""
    try:
        return read(bytes.fromhex(digits), declared)
    except ValueError:  # no such digits, or `Unreadable`
        return []


def _declared(report: Report) -> Schemas:
    """Return the schemas of a report, `UNKNOWN` where two programs declared one differently.

    An enumeration stands as a structure of one number.
    """
    entries: dict[tuple[int, int], list[Entry]] = {}
    twice: set[tuple[int, int]] = set()
    fields = ("domain", "number", "place", "text", "type", "flags", "detail", "offset")
    for domain, number, place, *told in _rows(payload_entries(report), fields):
        known = entries.setdefault((domain, number), [])
        if place != len(known):
            twice.add((domain, number))
        known.append(Entry(*told))
    schemas: Schemas = {}
    for domain, number, type_, size, pack in _rows(
        payload_schemas(report), ("domain", "number", "type", "size", "pack")
    ):
        inside = schemas.setdefault(domain, {})
        if number in inside:
            twice.add((domain, number))
        inside[number] = Schema(type_, tuple(entries.get((domain, number), ())), size, pack)
    for domain, number in twice:
        schemas.setdefault(domain, {})[number] = UNKNOWN
    for domain, number, size in _rows(payload_enums(report), ("domain", "number", "size")):
        value = Entry("", UNSIGNED.get(size, 0))
        schemas.setdefault(domain, {}).setdefault(number, Schema(STATIC, (value,), size))
    return schemas


def _rows(columns: Columns, fields: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Return the rows of a small table."""
    return zip(*(columns[field].tolist() for field in fields), strict=True)
