"""The metadata of a report: its tables, who exported it, the run, the GPUs.

Everything here may be missing: old exporters wrote no metadata, and tables without rows are left
out of a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.show.errors import ReportError
from analysis.source import tables
from analysis.source.trace.fields import UNTIMED

if TYPE_CHECKING:
    from analysis.source.database import Columns
    from analysis.source.open_report import OpenReport

Schema = Mapping[str, tuple[str, ...]]

METADATA_TABLES: Final = ("META_DATA_EXPORT", "EXPORT_META_DATA")
RUN_TABLE: Final = "TOOLKIT_RUN"
"""Where our launcher notes a run, by key."""

PARTS: Final = ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size")
"""What a size stands for; worth a word where the size is the same."""

SHAPE: Final = ("size", *PARTS, "batch", "context", "dtype")
"""What makes the step of a run another piece of work: no gate judges one by the other."""


@dataclass(frozen=True)
class Gpu:
    """One GPU; ``ordinal`` is the ``deviceId`` of its kernels, -1 stands for an unknown number."""

    ordinal: int
    name: str
    memory_bytes: int
    bandwidth_bytes_per_s: int
    clock_hz: int
    multiprocessors: int


def is_report(schema: Schema) -> bool:
    """Return whether some tables are an nsys export: strings, and events that refer to them."""
    recorded = (
        *METADATA_TABLES,
        tables.NVTX,
        tables.OPERATOR,
        "ThreadNames",
        "ANALYSIS_DETAILS",
        "PROFILER_OVERHEAD",
    )
    known = any(table in schema for table in recorded)
    return "StringIds" in schema and (
        known or any(table.startswith("CUPTI_ACTIVITY_KIND_") for table in schema)
    )


def exporter_metadata(report: OpenReport) -> dict[str, str]:
    """Return the exporter's notes by name; their table is from 2021 and was renamed in 2023."""
    for table in METADATA_TABLES:
        if report.has(table, "name", "value"):
            return pairs(report, table, "name")
    return {}


def run_metadata(report: OpenReport) -> dict[str, str]:
    """Return the launcher's notes on the run, by key."""
    return pairs(report, RUN_TABLE, "key") if report.has(RUN_TABLE, "key", "value") else {}


def pairs(report: OpenReport, table: str, key: str) -> dict[str, str]:
    """Return a table of names and values as a dictionary, where NULL values are empty.

    Of several values with one name the last in the order of letters counts.
    """
    found = report.columns(
        f"SELECT cast({key} AS text) AS key, cast(coalesce(value, '') AS text) AS value "
        f"FROM {table} WHERE {key} IS NOT NULL ORDER BY 1, 2",
        text=("key", "value"),
    )
    return dict(zip(found["key"].tolist(), found["value"].tolist(), strict=True))


def events_without_times(report: OpenReport) -> int:
    """Return how many events of a trace were left out because their times make no sense."""
    try:
        known = json.loads(run_metadata(report).get("left_out") or "{}")
    except (ReportError, ValueError, RecursionError):  # closed by now, or another's note
        return 0
    counts = known.items() if isinstance(known, dict) else ()
    return sum(
        count
        for why, count in counts
        if why.rpartition(": ")[2] in UNTIMED and isinstance(count, int)
    )


def gpus(report: OpenReport) -> list[Gpu]:
    """Return the GPUs of the machine, in the order of their CUDA ordinals.

    Files of 2020 have `TARGET_INFO_CUDA_GPU` and little in it, and ``cuDevice`` came later; there
    the GPU's own number stands for it.
    """
    for table in ("TARGET_INFO_GPU", "TARGET_INFO_CUDA_GPU"):
        if not report.has(table, "name"):
            continue
        wanted = {
            "ordinal": ("cuDevice", "id", "deviceId"),
            "memory_bytes": ("totalMemory",),
            "bandwidth_bytes_per_s": ("memoryBandwidth",),
            "clock_hz": ("clockRate",),
            "multiprocessors": ("smCount",),
        }
        fields = [
            f"{tables.first(report, table, *known)} AS {name}" for name, known in wanted.items()
        ]
        found = report.columns(
            f"SELECT cast(coalesce(name, '') AS text) AS name, {', '.join(fields)} "
            f"FROM {table} ORDER BY 2, 1, 3, 4, 5, 6",
            text=("name",),
        )
        return [Gpu(**row) for row in rows(found)]
    return []


def duration_ns(report: OpenReport) -> int | None:
    """Return how long the recording lasted, if the report says."""
    if not report.has("ANALYSIS_DETAILS", "duration"):
        return None
    found = report.columns(
        "SELECT cast(coalesce(max(duration), -1) AS bigint) AS d FROM ANALYSIS_DETAILS"
    )
    longest = int(found["d"][0])
    return longest if longest >= 0 else None


def started_ns(report: OpenReport) -> int | None:
    """Return when the recording began, in nanoseconds since 1970 (UTC), if the report says."""
    table = "TARGET_INFO_SESSION_START_TIME"
    if not report.has(table, "utcEpochNs"):
        return None
    found = report.columns(
        f"SELECT cast(coalesce(max(utcEpochNs), -1) AS bigint) AS t FROM {table}"
    )
    began = int(found["t"][0])
    return began if began >= 0 else None


def rows(columns: Columns) -> list[dict[str, Any]]:
    """Return the rows of some columns as dictionaries; for tables of a few rows."""
    lists = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
