"""The calls of operators with their shapes, wherever a report has them.

Four recordings tell: the table of operators that is made of a PyTorch trace; the ranges that our
nsys recording without a GPU puts around operators; those of ``emit_nvtx(record_shapes=True)``; and
those of PyTorch's functions with payloads. The first that tells any is read: ``emit_nvtx`` sees the
backward pass, functions do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Int64, coded
from analysis.arithmetic.intervals import NONE
from analysis.knowledge.operands import Operands, in_name, read
from analysis.knowledge.vocabulary import clean
from analysis.recorded import ranges
from analysis.recorded.payload_shapes import may_have_payload_shapes, payload_shapes
from analysis.source import tables
from analysis.source.operator_tables import operator_ranges, shape_rows

if TYPE_CHECKING:
    from analysis.source.report import Report


@dataclass(frozen=True)
class OperatorCalls:
    """The calls of operators whose shapes were recorded, ``M`` of them, in any order.

    Attributes:
        kinds: ``(K,)`` what was called: the operator's name, and its operands.
        kind: ``(M,)`` the position of each call's.
        start_ns: ``(M,)``.
        end_ns: ``(M,)``.
        thread: ``(M,)`` the global thread id.
        unread: in words, where shapes may be that were not read; "" where nowhere.
    """

    kinds: list[tuple[str, Operands]]
    kind: Int64
    start_ns: Int64
    end_ns: Int64
    thread: Int64
    unread: str = ""

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Int64) -> Self:
        """Return the calls at some positions; the kinds stay as they are."""
        fields = ("kind", "start_ns", "end_ns", "thread")
        return replace(self, **{field: getattr(self, field)[rows] for field in fields})


MANY: Final = 50_000
LOOKED_AT: Final = 41
"""Of more ranges than that one in so many is looked at: with `emit_nvtx` nearly every has shapes.

Their start decides which, and not their place in the file.
"""


def may_have_shapes(report: Report) -> bool:
    """Return whether a report can hold operators with shapes, without reading them all."""
    if report.has(tables.OPERATOR, "shapes"):
        known = f"SELECT 1 AS there FROM {tables.OPERATOR} WHERE shapes IS NOT NULL LIMIT 1"
        return len(report.columns(known)["there"]) > 0
    if may_have_payload_shapes(report):
        return True
    if not report.has(tables.NVTX, "text"):
        return False
    more = report.columns(f"SELECT 1 AS there FROM {tables.NVTX} LIMIT 1 OFFSET {MANY}")
    one_in = LOOKED_AT if len(more["there"]) else 1
    found = report.columns(
        f"SELECT 1 AS there FROM {tables.NVTX} WHERE start % {one_in} = 0 "
        "AND instr(text, ', sizes = [') > 0 LIMIT 1"
    )
    return len(found["there"]) > 0


def operator_calls(report: Report) -> OperatorCalls:
    """Return the calls of operators with shapes, read once; none where no shapes were recorded."""
    return report.once(_read)


def _read(report: Report) -> OperatorCalls:
    for source in (_of_trace, _of_operator_ranges, _of_names):
        found = source(report)
        if len(found):
            return found
    return _of_payloads(report)


def _of_trace(report: Report) -> OperatorCalls:
    rows = shape_rows(report)
    key = np.zeros(len(rows["start_ns"]), np.int64)
    columns = [rows[field] for field in ("name_id", "shapes", "types", "inputs")]
    for column in columns:
        # Numbers from 0 for what is alike so far; a column more each time.
        values, place = np.unique(column, return_inverse=True)
        _, key = np.unique(key * len(values) + place, return_inverse=True)
    _, first = np.unique(key, return_index=True)
    ids = np.unique(np.concatenate([column[first] for column in columns]))
    texts = tables.known_strings(report, ids[ids != tables.MISSING].tolist())
    told = [
        tuple(texts.get(number, "") for number in numbers)
        for numbers in zip(*(column[first].tolist() for column in columns), strict=True)
    ]
    return _calls(told, key.astype(np.int64), rows["start_ns"], rows["end_ns"], rows["thread"])


def _of_operator_ranges(report: Report) -> OperatorCalls:
    rows = operator_ranges(report)
    closed = rows["end_ns"] != tables.MISSING
    rows = {field: column[closed] for field, column in rows.items()}
    names, name = coded(tables.texts_of(report, rows).tolist())
    return _named(names, name, rows["start_ns"], rows["end_ns"], rows["thread"])


def _of_names(report: Report) -> OperatorCalls:
    known = ranges.load(report)
    return _named(known.names, known.name, known.start_ns, known.end_ns, known.thread)


def _of_payloads(report: Report) -> OperatorCalls:
    known = payload_shapes(report)
    calls = _calls(known.told, known.key, known.start_ns, known.end_ns, known.thread)
    return replace(calls, unread=known.note)


def _named(
    names: list[str], name: Int64, start_ns: Int64, end_ns: Int64, thread: Int64
) -> OperatorCalls:
    """Return the calls among ranges whose names tell shapes."""
    number: dict[tuple[str, ...], int] = {}
    key = np.full(len(names), NONE, np.int64)
    for place, text in enumerate(names):
        if ", sizes = " in text and (told := in_name(text)):
            key[place] = number.setdefault((clean(text), *told), len(number))
    of_range = key[name] if len(names) else np.empty(0, np.int64)
    rows = np.flatnonzero(of_range != NONE)
    return _calls(list(number), of_range[rows], start_ns[rows], end_ns[rows], thread[rows])


def _calls(
    told: list[tuple[str, ...]], key: Int64, start_ns: Int64, end_ns: Int64, thread: Int64
) -> OperatorCalls:
    """Return calls by what their texts tell, without those whose shapes cannot be read."""
    kinds: list[tuple[str, Operands]] = []
    place = np.full(len(told), NONE, np.int64)
    for number, (name, *texts) in enumerate(told):
        operands = read(*texts)
        if operands is not None:
            place[number] = len(kinds)
            kinds.append((name, operands))
    kind = place[key] if len(told) else np.empty(0, np.int64)
    kept = kind != NONE
    return OperatorCalls(kinds, kind[kept], start_ns[kept], end_ns[kept], thread[kept])
