"""NVTX extended payloads: structured data on a range, read by the schema that its program declared.

Types, flags and the places of entries are those of NVTX's ``nvToolsExtPayload.h`` (version 1, of
2026), with the sizes of 64-bit Linux. How nsys keeps payloads in ``NVTX_EVENTS.binaryData`` is
documented nowhere: before each stand four little-endian numbers of 8 bytes, domain, schema, size,
and size with these. So the public project nsys-ai found NCCL's payloads in reports of nsys 2026; no
report with such data was at hand here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

HEADER: Final = struct.Struct("<4Q")

POINTER: Final = 1 << 1
OFFSET: Final = 1 << 2 | 1 << 3
ARRAY: Final = 7 << 4
"""Flags of entries: an address; a value that lies elsewhere in the payload; which kind of array."""

FIXED, ZERO_TERMINATED, LENGTH_INDEX = (kind << 4 for kind in (1, 2, 3))
"""Kinds of arrays: of ``detail`` values, up to a zero, of the value of entry ``detail``."""

STATIC, DYNAMIC = 1, 2
"""`Schema.type` of a structure of one size, and of one whose arrays have any length."""

FIRST_SCHEMA: Final = 1 << 24
"""Entry types from here on are numbers of schemas and enumerations."""

UNSIGNED: Final = {1: 12, 2: 14, 4: 16, 8: 18}
"""The entry type of a whole number without sign, by its bytes."""

_FORMATS: Final = dict(zip(range(1, 21), "bBhHiIqQqQbBhHiIqQfd", strict=True)) | {
    21: "16s", 22: "Q", 23: "Q", 24: "I", 25: "B", 26: "H", 27: "I", 32: "B", 33: "16s", 34: "16s",
    42: "e", 43: "f", 44: "d", 45: "16s", 50: "2s", 52: "f", 67: "Q", 68: "I", 69: "I", 70: "Q",
    71: "I", 72: "Q", 73: "I", 74: "Q", 80: "Q",
}  # fmt: skip
"""How `struct` reads each type of entry; of what is no number in Python, the bytes."""

_STRINGS: Final = {75: (1, "utf-8"), 76: (1, "utf-8"), 77: (2, "utf-16-le"), 78: (4, "utf-32-le")}
"""Types of strings: the bytes of a unit, and the encoding."""

MOST_VALUES: Final = 1 << 16
"""Of one payload: more is damage, or a schema inside itself."""

Value: TypeAlias = "int | float | str | bytes | list[Value] | Record | None"
Record: TypeAlias = tuple[tuple[str, Value], ...]
"""The labels and values of a structure's entries, in order; None stands for what was pointed to."""


class Unreadable(ValueError):
    """A payload that is not what its schema says, or of a kind that is not read here."""


@dataclass(frozen=True)
class Entry:
    """One entry of a schema; ``detail`` is the length of an array, or the entry that tells it."""

    label: str
    type: int
    flags: int = 0
    detail: int = 0
    offset: int = 0

    @property
    def array(self) -> int:
        """The kind of array, 0 for none; text of a fixed length may lack the flag."""
        return self.flags & ARRAY or (FIXED if self.type in _STRINGS and self.detail else 0)

    @property
    def is_address(self) -> bool:
        """Whether its value is an address, and what it points to lies outside."""
        return bool(self.flags & POINTER) or (self.type in _STRINGS and not self.array)


@dataclass(frozen=True)
class Schema:
    """A structure, as its program declared it; unions, of further types, are not read.

    Attributes:
        type: `STATIC` or `DYNAMIC`.
        entries: in order.
        size: in bytes, of a static one; 0 where not told.
        pack: the most that entries are aligned to, in bytes; 0 where not told.
    """

    type: int
    entries: tuple[Entry, ...]
    size: int = 0
    pack: int = 0


def read(data: bytes, declared: Mapping[int, Mapping[int, Schema]]) -> list[Record]:
    """Return the payloads of one event, one after another.

    Args:
        data: headers and payloads.
        declared: the schemas of each domain, by number.

    Raises:
        Unreadable: they are not as their schemas say, or there is no such schema.
    """
    found, place = [], 0
    while place < len(data):
        try:
            domain, number, size, _ = HEADER.unpack_from(data, place)
            place += HEADER.size
            payload = _Payload(declared.get(domain, {}), data[place : place + size])
            found.append(payload.structure(number, 0)[0])
            place += size
        except (struct.error, OverflowError, RecursionError):
            raise Unreadable("not what its schema says") from None
    return found


class _Payload:
    """The bytes of one payload, and the schemas of its domain."""

    def __init__(self, schemas: Mapping[int, Schema], data: bytes) -> None:
        self.schemas = schemas
        self.data = data
        self.left = MOST_VALUES
        self.aligned: dict[int, int] = {}

    def structure(self, number: int, begin: int) -> tuple[Record, int]:
        """Return what stands at a place by a schema, and where that ends."""
        schema = self.schemas.get(number)
        if schema is None or schema.type not in (STATIC, DYNAMIC):
            raise Unreadable("no schema of a kind that is read")
        values: list[Value] = []
        place = end = begin
        for turn, entry in enumerate(schema.entries):
            if entry.offset or not turn:
                place = begin + entry.offset
            else:
                place += (begin - place) % self.alignment(entry, schema.pack)
            value, place = self.entry(entry, place, values)
            values.append(value)
            end = max(end, place)
        labels = (entry.label for entry in schema.entries)
        whole = begin + schema.size if schema.type == STATIC and schema.size else end
        return tuple(zip(labels, values, strict=True)), whole

    def entry(self, entry: Entry, place: int, before: Sequence[Value]) -> tuple[Value, int]:
        """Return the value of an entry, and where it ends."""
        if entry.flags & OFFSET or not 0 <= place <= len(self.data):
            raise Unreadable("an offset")
        if entry.is_address:
            return None, place + 8
        if not entry.array:
            return self.one(entry.type, place)
        unit, encoding = _STRINGS.get(entry.type) or (0, "")
        count = self.length(entry, place, before)
        if encoding:
            end = place + count * unit
            if end > len(self.data):
                raise Unreadable("too short")
            text = self.data[place:end].decode(encoding, "replace").partition("\0")[0]
            return text, end + unit * (entry.array == ZERO_TERMINATED)
        values: list[Value] = []
        for _ in range(count):
            value, place = self.one(entry.type, place)
            values.append(value)
        if entry.array == ZERO_TERMINATED:
            place = self.one(entry.type, place)[1]
        return values, place

    def one(self, type_: int, place: int) -> tuple[Value, int]:
        """Return one value of a type, and where it ends; a lone number in a structure is bare."""
        self.left -= 1
        if self.left < 0:
            raise Unreadable("too many values")
        if type_ < FIRST_SCHEMA:
            form = struct.Struct(_form(type_))
            return form.unpack_from(self.data, place)[0], place + form.size
        record, end = self.structure(type_, place)
        alone = record[0][1] if len(record) == 1 else record
        return (record if isinstance(alone, list | tuple) else alone), end

    def length(self, entry: Entry, place: int, before: Sequence[Value]) -> int:
        """Return how many values an array has."""
        told: Value = None
        if entry.array == FIXED:
            told = entry.detail
        elif entry.array == LENGTH_INDEX and 0 <= entry.detail < len(before):
            told = before[entry.detail]
        elif entry.array == ZERO_TERMINATED:
            unit = self.alignment(entry, 0)
            ends = range(place, len(self.data) - unit + 1, unit)
            zeros = (turn for turn, end in enumerate(ends) if not any(self.data[end : end + unit]))
            told = next(zeros, None)
        if not isinstance(told, int):
            raise Unreadable("a length that is not told")
        return max(told, 0)

    def alignment(self, entry: Entry, pack: int) -> int:
        """Return what the begin of an entry is a multiple of, counted from its structure's."""
        if entry.is_address:
            step = 8
        elif entry.type in _STRINGS:
            step = _STRINGS[entry.type][0]
        elif entry.type < FIRST_SCHEMA:
            step = min(struct.calcsize(_form(entry.type)), 8)
        elif entry.type in self.aligned:
            step = self.aligned[entry.type]
        else:
            inner = self.schemas.get(entry.type, Schema(STATIC, ()))
            self.aligned[entry.type] = 1  # should the schema be inside itself
            step = max((self.alignment(each, inner.pack) for each in inner.entries), default=1)
            self.aligned[entry.type] = step
        return min(step, pack) if pack > 0 else step


def _form(type_: int) -> str:
    """Return how `struct` reads one value of a type that is no structure and no text."""
    if type_ not in _FORMATS:
        raise Unreadable("a type that is not read")
    return f"<{_FORMATS[type_]}"
