"""Tables of memory: torch's allocator and what ranges keep, in our reports; nsys's own events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.row_order import in_order
from analysis.arithmetic.sensible_times import make_sense
from analysis.source import tables
from analysis.source.times import kept

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.report import Report

ALLOCATOR: Final = "TOOLKIT_MEMORY"
NSYS_EVENTS: Final = "CUDA_GPU_MEMORY_USAGE_EVENTS"
OF_RANGES: Final = "TOOLKIT_RANGE_MEMORY"

MOST_BYTES: Final = 1 << 50
"""A pebibyte: no machine has so much, and thousands of them still add up exactly."""

HOST: Final = -1
"""The device of memory of the machine itself."""

_HOST_KINDS: Final = (0, 1)
"""``memKind`` of pageable and of pinned memory, which lie in the machine."""


def allocator_changes(report: Report) -> Columns:
    """Return every allocation and release of torch's allocator, in order of time.

    Returns:
        ``time_ns, device, thread, process, address, delta, allocated, peak``, in bytes.
    """
    rows = report.columns(
        "SELECT time_ns, device, coalesce(global_tid, -1) AS thread, "
        f"{tables.process_of(report, ALLOCATOR, 'global_tid')} AS process, "
        "coalesce(address, -1) AS address, delta_bytes AS delta, allocated_bytes AS allocated, "
        f"peak_bytes AS peak FROM {ALLOCATOR}",
        tables.count(report, ALLOCATOR),
    )
    # The table is our own, and written in the order in which torch's allocator did it.
    order = np.argsort(rows["time_ns"], kind="stable")
    rows = {name: column[order] for name, column in rows.items()}
    return sensible_memory(report, ALLOCATOR, rows, "delta", "allocated", "peak")


def nsys_changes(report: Report) -> Columns:
    """Return every CUDA allocation and release that nsys saw, in order of time.

    Returns:
        ``time_ns, global_pid, process, device, address, delta, correlation``, in bytes.
    """
    host = ", ".join(map(str, _HOST_KINDS))
    rows = report.columns(
        "SELECT start AS time_ns, coalesce(globalPid, -1) AS global_pid, "
        f"{tables.process_of(report, NSYS_EVENTS, 'globalPid')} AS process, "
        f"CASE WHEN memKind IN ({host}) THEN {HOST} ELSE deviceId END AS device, address, "
        "bytes AS delta, coalesce(memoryOperationType, 1) AS operation, "
        f"{tables.first(report, NSYS_EVENTS, 'correlationId')} AS correlation "
        f"FROM {NSYS_EVENTS}",
        tables.count(report, NSYS_EVENTS),
    )
    # What one process did at one instant is in the order of its calls.
    rows = in_order(rows, "time_ns", "global_pid", "correlation")
    rows = sensible_memory(report, NSYS_EVENTS, rows, "delta")
    rows["delta"] = np.where(rows.pop("operation") == 0, rows["delta"], -rows["delta"])
    return rows


def sensible_memory(report: Report, table: str, rows: Columns, *bytes_: str) -> Columns:
    """Return the rows whose time and numbers of bytes make sense; the report counts the others."""
    good = make_sense(rows["time_ns"], rows["time_ns"])
    for name in bytes_:
        good &= (rows[name] >= -MOST_BYTES) & (rows[name] <= MOST_BYTES)
    return kept(report, table, rows, good)


def range_memory(report: Report, *numbers: str) -> Columns:
    """Return ``range`` and some columns of bytes of what ranges keep for the backward pass."""
    listed = ", ".join(f"coalesce({name}, -1) AS {name}" for name in numbers)
    return report.columns(
        f"SELECT cast(coalesce(name, '') AS text) AS range, {listed} FROM {OF_RANGES}",
        text=("range",),
    )
