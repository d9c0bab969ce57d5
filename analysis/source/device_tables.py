"""Tables of what a device did besides kernels, and of the CUDA calls.

As there, tables and columns may be missing, missing numbers are `tables.MISSING`, and times are
integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.source import tables

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

COPY: Final = "CUPTI_ACTIVITY_KIND_MEMCPY"
SET: Final = "CUPTI_ACTIVITY_KIND_MEMSET"
OVERHEAD: Final = "PROFILER_OVERHEAD"

PAGEABLE: Final = 0
PINNED: Final = 1
MANAGED: Final = 4
"""Kinds of memory, as `ENUM_CUDA_MEM_KIND` numbers them."""

HOST_TO_DEVICE: Final = 1
"""A direction of copying, as `ENUM_CUDA_MEMCPY_OPER` numbers them."""

COPY_KINDS: Final[Mapping[int, str]] = {
    0: "Unknown",
    1: "Host-to-Device",
    2: "Device-to-Host",
    3: "Host-to-Array",
    4: "Array-to-Host",
    5: "Array-to-Array",
    6: "Array-to-Device",
    7: "Device-to-Array",
    8: "Device-to-Device",
    9: "Host-to-Host",
    10: "Peer-to-Peer",
    11: "Unified Host-to-Device",
    12: "Unified Device-to-Host",
    13: "Unified Device-to-Device",
}
"""The labels of `ENUM_CUDA_MEMCPY_OPER`, for files without that table (up to schema 2.9)."""

WORK: Final = {
    "device": "deviceId",
    "correlation": "correlationId",
    "global_pid": "globalPid",
}
COPIED: Final = {
    **WORK,
    "bytes": "bytes",
    "kind": "copyKind",
    "source": "srcKind",
    "target": "dstKind",
    "source_device": "srcDeviceId",
    "target_device": "dstDeviceId",
}
WRITTEN: Final = {**WORK, "bytes": "bytes", "memory": "memKind"}
CALLED: Final = {"thread": "globalTid", "correlation": "correlationId", "name_id": "nameId"}
TAKEN: Final = {"thread": "globalTid", "name_id": "nameId"}


def events(report: Report, table: str, fields: Mapping[str, str]) -> Columns:
    """Return ``start_ns``, ``end_ns`` and some columns of a table, in the order of the file.

    Args:
        report: where to look.
        table: one with ``start`` and ``end``; an end that is missing counts as the start.
        fields: our name for a column, and theirs.

    Returns:
        Each as int64, ``(N,)``; empty where there is no such table.
    """
    if not report.has(table, "start", "end"):
        return {name: np.empty(0, np.int64) for name in ("start_ns", "end_ns", *fields)}
    listed = "".join(
        f", {tables.first(report, table, column)} AS {name}" for name, column in fields.items()
    )
    return report.columns(
        f'SELECT start AS start_ns, coalesce("end", start) AS end_ns{listed} FROM {table}',
        tables.count(report, table),
    )


def copies(report: Report) -> Columns:
    """Return the memory copies: `COPIED`."""
    return events(report, COPY, COPIED)


def sets(report: Report) -> Columns:
    """Return the memory sets: `WRITTEN`."""
    return events(report, SET, WRITTEN)


def calls(report: Report) -> Columns:
    """Return the CUDA calls: `CALLED`."""
    return events(report, tables.RUNTIME, CALLED)


def overhead(report: Report) -> Columns:
    """Return what the profiler itself took: `TAKEN`."""
    return events(report, OVERHEAD, TAKEN)


def work(report: Report, table: str) -> Columns:
    """Return rows of `tables.KERNEL`, `tables.GRAPH`, `COPY` or `SET`: `WORK`."""
    return events(report, table, WORK)


def copy_kinds(report: Report) -> dict[int, str]:
    """Return what the kinds of copies are called: as the report says, else `COPY_KINDS`."""
    known = dict(COPY_KINDS)
    table = "ENUM_CUDA_MEMCPY_OPER"
    if report.has(table, "id", "label"):
        found = report.columns(
            f"SELECT id, cast(label AS blob) AS label FROM {table} WHERE label IS NOT NULL"
        )
        known.update(zip(found["id"].tolist(), found["label"].tolist(), strict=True))
    return known


def elements(report: Report) -> dict[tuple[str, int], int]:
    """Return how many numbers a range yields, by its name and FLOPs, where it is known."""
    if not report.has(tables.RANGE_COST, "name", "flops", "elements"):
        return {}
    found = report.columns(
        f"SELECT cast(name AS blob) AS name, flops, elements FROM {tables.RANGE_COST} "
        "WHERE flops IS NOT NULL AND elements IS NOT NULL"
    )
    keys = zip(found["name"].tolist(), found["flops"].tolist(), strict=True)
    return dict(zip(keys, found["elements"].tolist(), strict=True))


def are_empty(report: Report, listed: Sequence[str]) -> bool:
    """Return whether none of some tables has a row."""
    return all(tables.is_empty(report, table) for table in listed)
