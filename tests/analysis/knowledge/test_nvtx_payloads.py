"""NVTX payloads by their schemas: a C compiler's layout is the oracle, other bytes are refused."""

import ctypes
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.knowledge.nvtx_payloads import (
    DYNAMIC,
    FIXED,
    LENGTH_INDEX,
    MOST_VALUES,
    OFFSET,
    POINTER,
    STATIC,
    ZERO_TERMINATED,
    Entry,
    Schema,
    Unreadable,
    read,
)
from tests.made.reports.build_payloads import framed

INT, INT64, UINT64, SIZE, FLOAT, DOUBLE, ADDRESS, TEXT = 5, 17, 18, 22, 19, 20, 23, 76
OUTER, INNER = 1 << 24, 1 << 32  # numbers of a program's own choice, and of the tool's
C_TYPES: dict[int, Any] = {
    1: ctypes.c_int8,
    4: ctypes.c_uint16,
    INT: ctypes.c_int32,
    INT64: ctypes.c_int64,
    UINT64: ctypes.c_uint64,
    FLOAT: ctypes.c_float,
    DOUBLE: ctypes.c_double,
}


def values(data: bytes, *entries: Entry, type_: int = STATIC, **more: Schema) -> list[Any]:
    """Return the values that a payload of these entries tells."""
    inner = {INNER: more["inner"]} if more else {}
    (record,) = read(framed(OUTER, data), {1: {OUTER: Schema(type_, entries), **inner}})
    return [value for _, value in record]


@given(st.lists(st.tuples(st.sampled_from(sorted(C_TYPES)), st.integers(0, 3)), min_size=1))
def test_entries_without_offsets_lie_where_a_c_compiler_puts_them(
    members: list[tuple[int, int]],
) -> None:
    """A number stands for an array of so many, 0 for none; twice all of them, after a byte."""

    class Inside(ctypes.Structure):
        _fields_ = [
            (f"m{turn}", C_TYPES[kind] * count if count else C_TYPES[kind])
            for turn, (kind, count) in enumerate(members)
        ]

    class Whole(ctypes.Structure):
        _fields_ = [("first", ctypes.c_int8), ("both", Inside * 2)]

    made, wanted = Whole(first=7), []
    for inside in made.both:
        row: list[Any] = []
        for turn, (_, count) in enumerate(members):
            numbers = [turn + place + 1 for place in range(max(count, 1))]
            setattr(inside, f"m{turn}", tuple(numbers) if count else numbers[0])
            row.append(numbers if count else numbers[0])
        wanted.append(row)
    entries = tuple(
        Entry(f"m{turn}", kind, FIXED if count else 0, count)
        for turn, (kind, count) in enumerate(members)
    )
    outer = (Entry("first", 1), Entry("both", INNER, FIXED, 2))
    inner = Schema(STATIC, entries, ctypes.sizeof(Inside))
    first, both = values(bytes(made), *outer, inner=inner)
    found = [[value for _, value in part] if isinstance(part, tuple) else [part] for part in both]
    assert (first, found) == (7, wanted)


def test_a_length_may_be_told_by_an_entry_before_as_python_s_nvtx_does() -> None:
    size, data = Entry("size", UINT64), Entry("data", INT64, LENGTH_INDEX, 0)
    array = Schema(DYNAMIC, (size, data))
    packed = struct.pack("<i4xQ2qQ1qi", -1, 2, 30, 40, 1, 50, -2)
    entries = (Entry("a", INT), Entry("b", INNER), Entry("c", INNER), Entry("d", INT))
    assert values(packed, *entries, type_=DYNAMIC, inner=array) == [
        -1,
        (("size", 2), ("data", [30, 40])),
        (("size", 1), ("data", [50])),
        -2,
    ]


def test_text_and_arrays_end_at_their_length_or_at_a_zero() -> None:
    data = b"ab\0c" + b"def\0" + struct.pack("<3hh", 1, 2, 0, 9)
    entries = (
        Entry("fixed", TEXT, detail=4),
        Entry("free", TEXT, ZERO_TERMINATED),
        Entry("numbers", 13, ZERO_TERMINATED),
        Entry("last", 13),
    )
    assert values(data, *entries, type_=DYNAMIC) == ["ab", "def", [1, 2], 9]


def test_a_negative_length_is_none() -> None:
    entries = (Entry("length", 11), Entry("text", TEXT, LENGTH_INDEX, 0), Entry("last", 11))
    assert values(struct.pack("<bb", -3, 9), *entries, type_=DYNAMIC) == [-3, "", 9]


def test_offsets_that_are_told_count_and_addresses_tell_nothing() -> None:
    data = struct.pack("<QQQi4x", 1, 0xDEAD, 0xBEEF, 5)
    entries = (
        Entry("a", SIZE),
        Entry("text", TEXT),
        Entry("numbers", INT, POINTER | FIXED, 3),
        Entry("b", INT, offset=24),
    )
    assert values(data, *entries) == [1, None, None, 5]


def test_packed_structures_have_no_holes() -> None:
    entries = (Entry("a", 1), Entry("b", INT64))
    schemas = {1: {OUTER: Schema(STATIC, entries, 9, pack=1)}}
    assert read(framed(OUTER, struct.pack("<bq", 1, 2)), schemas) == [(("a", 1), ("b", 2))]


def test_the_payloads_of_an_event_stand_one_after_another() -> None:
    schemas = {1: {OUTER: Schema(STATIC, (Entry("a", INT),), 4)}}
    both = framed(OUTER, struct.pack("<i", 1)) + framed(OUTER, struct.pack("<i", 2))
    assert read(both, schemas) == [(("a", 1),), (("a", 2),)]


ITSELF = Schema(DYNAMIC, (Entry("a", 1), *[Entry("b", OUTER)] * 9))
EMPTY = Schema(STATIC, (Entry("a", INNER, FIXED, MOST_VALUES + 1),))


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        (Schema(STATIC, (Entry("a", INT64),)), b"1234567"),
        (Schema(STATIC, (Entry("a", INT64, FIXED, 1 << 60),)), bytes(80)),
        (Schema(STATIC, (Entry("a", TEXT, FIXED, 9),)), b"short"),
        (Schema(DYNAMIC, (Entry("a", INT, ZERO_TERMINATED),)), b"no zero here"),
        (Schema(DYNAMIC, (Entry("a", INT, LENGTH_INDEX, 0),)), bytes(80)),
        (Schema(STATIC, (Entry("a", INT, OFFSET),)), bytes(80)),
        (Schema(STATIC, (Entry("a", INT, offset=-4),)), bytes(80)),
        (Schema(STATIC, (Entry("a", 999),)), bytes(80)),
        (Schema(STATIC, (Entry("a", OUTER + 7),)), bytes(80)),
        (Schema(3, (Entry("a", INT),)), bytes(80)),
        (ITSELF, bytes(4000)),
        (EMPTY, bytes(80)),
    ],
)
def test_what_is_not_as_its_schema_says_is_refused(schema: Schema, data: bytes) -> None:
    with pytest.raises(Unreadable):
        read(framed(OUTER, data), {1: {OUTER: schema, INNER: Schema(STATIC, ())}})


@given(st.binary(max_size=200), st.lists(st.integers(0, 120), max_size=6), st.integers(0, 255))
def test_of_any_bytes_and_schema_nothing_else_comes(
    data: bytes, types: list[int], flags: int
) -> None:
    entries = tuple(Entry("a", kind, flags, turn) for turn, kind in enumerate(types))
    for whole in (data, framed(OUTER, data)):
        try:
            read(whole, {1: {OUTER: Schema(DYNAMIC, entries)}})
        except Unreadable:
            continue
