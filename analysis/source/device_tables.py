"""Tables of what GPUs did, and of the CUDA calls behind it: kernels, graphs, copies, sets.

As in `analysis.source.tables`, tables and columns may be missing, missing numbers are
`tables.MISSING`, and times are integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.row_order import in_order
from analysis.show.called import called
from analysis.source import tables
from analysis.source.column_cache import LARGE_BYTES
from analysis.source.times import check_sum, sensible

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.readers.stretch import Stretch
    from analysis.source.report import Report

COPY: Final = "CUPTI_ACTIVITY_KIND_MEMCPY"
SET: Final = "CUPTI_ACTIVITY_KIND_MEMSET"
OVERHEAD: Final = "PROFILER_OVERHEAD"
SYNCHRONIZATION: Final = f"{tables.ACTIVITY}SYNCHRONIZATION"
CUDA_EVENT: Final = f"{tables.ACTIVITY}CUDA_EVENT"
STREAM: Final = "TARGET_INFO_CUDA_STREAM"
UNIFIED_MEMORY: Final = ("CUDA_UM_CPU_PAGE_FAULT_EVENTS", "CUDA_UM_GPU_PAGE_FAULT_EVENTS")
"""What says that pages of unified memory were moved when they were touched."""

OF_DEVICES: Final = (tables.KERNEL, tables.GRAPH, COPY, SET)
"""The tables of what GPUs did, in the order of `analysis.recorded.device_work.KINDS`."""

PAGEABLE: Final = 0
PINNED: Final = 1
MANAGED: Final = 4
"""Kinds of memory, as `ENUM_CUDA_MEM_KIND` numbers them."""

HOST_TO_DEVICE: Final = 1
DEVICE_TO_HOST: Final = 2
"""Directions of copying, as `ENUM_CUDA_MEMCPY_OPER` numbers them."""

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

BYTES_A_ROW: Final = 60
"""What a question about a large report needs at least for each row, as measured (85 to 100)."""

_NAME: Final = ("demangledName", "shortName", "mangledName")

WORK: Final = {
    "device": ("deviceId",),
    "stream": ("streamId",),
    "correlation": ("correlationId",),
    "global_pid": ("globalPid",),
    "graph": ("graphId",),
    "graph_node": ("graphNodeId",),
}
"""Our name for a column that every table of `OF_DEVICES` may have, and nsys's."""

COLUMNS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    tables.KERNEL: {**WORK, "name_id": _NAME},
    tables.GRAPH: WORK,
    COPY: {
        **WORK,
        "bytes": ("bytes",),
        "copy_kind": ("copyKind",),
        "source_memory": ("srcKind",),
        "target_memory": ("dstKind",),
        "source_device": ("srcDeviceId",),
        "target_device": ("dstDeviceId",),
    },
    SET: {**WORK, "bytes": ("bytes",), "memory": ("memKind",)},
}
"""What is read of each table; of several columns the first that is there and not NULL counts."""

CALLED: Final = {
    "thread": ("globalTid",),
    "correlation": ("correlationId",),
    "name_id": ("nameId",),
}
TAKEN: Final = {"thread": ("globalTid",), "name_id": ("nameId",)}
OF_STREAM: Final = {
    "device": ("deviceId",),
    "stream": ("streamId",),
    "correlation": ("correlationId",),
    "global_pid": ("globalPid",),
    "event": ("eventSyncId",),
}
"""What says which stream a synchronisation or the record of an event is about, and which event.

``eventId`` is a handle that CUDA uses again; ``eventSyncId`` is one record's alone.
"""


def events(report: Report, table: str, fields: Mapping[str, Sequence[str]]) -> Columns:
    """Return ``start_ns``, ``end_ns`` and some columns of a table, in order of time.

    Args:
        report: where to look.
        table: one with ``start`` and ``end``; an end that is missing counts as the start.
        fields: our name for a column, and nsys's names, the first that is there counts.

    Returns:
        Each as int64, ``(N,)``, of the rows whose times make sense; empty where there is no such
        table. A column that it has not is `tables.MISSING` throughout, and takes no memory.
    """
    if not report.has(table, "start", "end"):
        return {name: np.empty(0, np.int64) for name in ("start_ns", "end_ns", *fields)}
    sql = {name: tables.first(report, table, *columns) for name, columns in fields.items()}
    there = {name: text for name, text in sql.items() if text != str(tables.MISSING)}
    listed = "".join(f", {text} AS {name}" for name, text in there.items())
    stretch = stretch_of(report, table)
    rows = report.database.columns(
        f'SELECT start AS start_ns, coalesce("end", start) AS end_ns{listed} FROM {table}',
        tables.count(report, table) if stretch is None else 0,
        stretch=stretch,
    )
    rows = sensible(report, table, in_order(rows, "start_ns", "-end_ns"))
    lacking = np.broadcast_to(np.int64(tables.MISSING), len(rows["start_ns"]))
    return {**rows, **{name: lacking for name in fields if name not in there}}


def check_room(report: Report) -> None:
    """Refuse a report whose calls, work and ranges surely do not fit into memory.

    Columns lie in files, but what is reckoned with them does not. Nothing is counted of a small
    report, nor of a stretch of one.

    Raises:
        ReportError: there are too many rows; it says how to get by with fewer.
    """
    if report.stretch is not None or report.opened.state.size < LARGE_BYTES:
        return
    rows = sum(tables.count(report, each) for each in (*OF_DEVICES, tables.RUNTIME, tables.NVTX))
    fewer = f"cut some steps out of it with {called('analysis.trim')}"
    remedy = f"{fewer}, or ask kernels, ranges or phases about some (--steps)"
    report.database.check_held(rows, "rows of work, calls and ranges", remedy, BYTES_A_ROW)


def stretch_of(report: Report, table: str) -> Stretch | None:
    """Return the stretch of which alone the rows of a table are read; None for all rows.

    A report is narrowed to what ran in a stretch of time, and what calls in it started.
    """
    if report.stretch is None or table not in (*OF_DEVICES, tables.RUNTIME):
        return None
    of_calls = table == tables.RUNTIME
    column = "globalTid" if of_calls else "globalPid"
    stretch = replace(report.stretch, process_sql=tables.process_of(report, table, column))
    if of_calls or not report.has(table, "correlationId"):
        return stretch
    number = report.once(calls)["correlation"]
    number = number[number != tables.MISSING]
    found = (int(number.min()), int(number.max())) if len(number) else None
    return replace(stretch, correlation=found)


def device_events(report: Report, table: str) -> Columns:
    """Return the rows of one of `OF_DEVICES`: ``start_ns``, ``end_ns`` and its `COLUMNS`."""
    rows = events(report, table, COLUMNS[table])
    if "bytes" in rows:
        check_sum(report, table, np.zeros_like(rows["bytes"]), rows["bytes"])
    return rows


def kernel_durations(report: Report) -> Columns:
    """Return ``name_id, duration_ns`` of every kernel: what ranking all of them takes."""
    if not report.has(tables.KERNEL, "start", "end"):
        return {name: np.empty(0, np.int64) for name in ("name_id", "duration_ns")}
    rows = events(report, tables.KERNEL, {"name_id": _NAME})
    return {"name_id": rows["name_id"], "duration_ns": rows["end_ns"] - rows["start_ns"]}


def kernel_grids(report: Report) -> Columns:
    """Return ``name_id, x, y, z``: with what grids the kernels of each name were launched."""
    fields = {
        "name_id": tables.first(report, tables.KERNEL, *_NAME),
        **{axis: tables.first(report, tables.KERNEL, f"grid{axis.upper()}") for axis in "xyz"},
    }
    if not report.has(tables.KERNEL):
        return {name: np.empty(0, np.int64) for name in fields}
    listed = ", ".join(f"{text} AS {name}" for name, text in fields.items())
    return in_order(report.columns(f"SELECT DISTINCT {listed} FROM {tables.KERNEL}"))


def calls(report: Report) -> Columns:
    """Return the CUDA calls of the host: ``start_ns``, ``end_ns`` and `CALLED`."""
    if not report.has(tables.RUNTIME, "globalTid", "correlationId"):
        return {name: np.empty(0, np.int64) for name in ("start_ns", "end_ns", *CALLED)}
    return events(report, tables.RUNTIME, CALLED)


def overhead(report: Report) -> Columns:
    """Return what the profiler itself took: ``start_ns``, ``end_ns`` and `TAKEN`."""
    return events(report, OVERHEAD, TAKEN)


def synchronizations(report: Report) -> Columns:
    """Return what calls waited for, or made a stream wait for: `OF_STREAM` and ``sync_type``."""
    return _numbers(report, SYNCHRONIZATION, {**OF_STREAM, "sync_type": ("syncType",)})


def event_records(report: Report) -> Columns:
    """Return where CUDA events were recorded: `OF_STREAM`."""
    return _numbers(report, CUDA_EVENT, OF_STREAM)


def stream_kinds(report: Report) -> Columns:
    """Return ``process, stream, kind`` of streams: 1 blocking, 2 non-blocking, 3 the default.

    The kinds are those of `ENUM_CUPTI_STREAM_TYPE`.
    """
    fields = {"process": ("processId",), "stream": ("streamId",), "kind": ("flag",)}
    return _numbers(report, STREAM, fields)


def _numbers(report: Report, table: str, fields: Mapping[str, Sequence[str]]) -> Columns:
    """Return columns of a table that need not have times, empty where there is no such table."""
    if not report.has(table):
        return {name: np.empty(0, np.int64) for name in fields}
    listed = ", ".join(
        f"{tables.first(report, table, *columns)} AS {name}" for name, columns in fields.items()
    )
    return in_order(report.columns(f"SELECT {listed} FROM {table}"))


def copy_kinds(report: Report) -> dict[int, str]:
    """Return what the kinds of copies are called: as the report says, else `COPY_KINDS`."""
    known = dict(COPY_KINDS)
    table = "ENUM_CUDA_MEMCPY_OPER"
    if report.has(table, "id", "label"):
        found = report.columns(
            f"SELECT id, cast(label AS text) AS label FROM {table} WHERE label IS NOT NULL "
            "ORDER BY 1, 2",
            text=("label",),
        )
        known.update(zip(found["id"].tolist(), found["label"].tolist(), strict=True))
    return known


def are_empty(report: Report, listed: Sequence[str]) -> bool:
    """Return whether none of some tables has a row."""
    return all(tables.is_empty(report, table) for table in listed)
