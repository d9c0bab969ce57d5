"""The shapes that ranges have in their NVTX payloads, as nsys records PyTorch's functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.sensible_times import make_sense
from analysis.knowledge.nvtx_payloads import ARRAY, FIRST_SCHEMA
from analysis.knowledge.tensor_payloads import in_payload, speaks_of_shape
from analysis.knowledge.vocabulary import clean
from analysis.recorded.payload_schemas import declared_schemas, is_nccl, payload_records, rows_of
from analysis.show.render import plural
from analysis.source import tables
from analysis.source.nvtx_tables import has_payloads, payload_entries, payload_ranges

if TYPE_CHECKING:
    from analysis.source.report import Report


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
    entries = rows_of(payload_entries(report), ("text", "flags", "type"))
    several = (text for text, flags, type_ in entries if flags & ARRAY or type_ >= FIRST_SCHEMA)
    return any(map(speaks_of_shape, several)) and has_payloads(report)


def payload_shapes(report: Report) -> PayloadShapes:
    """Return the ranges of operators with shapes in their payloads."""
    none = np.empty(0, np.int64)
    declared = declared_schemas(report)
    told = [domain for domain, schemas in declared.items() if not is_nccl(schemas)]
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
    payloads = [payload_records(declared, text) for text in digits]
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
