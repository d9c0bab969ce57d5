"""Tables of what threads of the host did: CPU samples, system calls, scheduling, Python functions.

As in `analysis.source.tables`, tables and columns may be missing, missing numbers are
`tables.MISSING`, and times are integer nanoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.source import device_tables, tables
from analysis.source.times import sensible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analysis.source.database import Columns
    from analysis.source.report import Report

SAMPLES: Final = "COMPOSITE_EVENTS"
"""A row for each CPU sample: when, and on which thread."""

CALL_CHAINS: Final = "SAMPLING_CALLCHAINS"
"""A row for each frame of a sample's call chain, the function that ran at depth 0."""

SYSTEM_CALLS: Final = "OSRT_API"
SCHEDULING: Final = "SCHED_EVENTS"
PYTHON: Final = "TOOLKIT_PYTHON"

ADDRESS: Final = "0x"
"""How the symbol of a function begins whose name is not known."""


def samples(report: Report) -> Columns:
    """Return the CPU samples: ``id, start_ns, thread``, in the order of the file."""
    return _instants(report, SAMPLES, {"id": "id"})


def frames(report: Report, globs: Iterable[str]) -> Columns:
    """Return what ran in each CPU sample, and of its call chain what fits some patterns.

    Args:
        report: where to look.
        globs: the patterns of symbols, which hold no quote.

    Returns:
        ``id`` of the sample, ``symbol`` and ``module`` (string ids), ``depth``, and ``fits``: 1
        where the symbol fits a pattern, else 0.
    """
    if not report.has(CALL_CHAINS, "id", "symbol", "stackDepth"):
        return _none("id", "symbol", "module", "depth", "fits")
    known: list[int] = []
    if report.has("StringIds", "id", "value"):
        fits = " OR ".join(f"value GLOB '{glob}'" for glob in globs)
        known = report.columns(f"SELECT id FROM StringIds WHERE {fits}")["id"].tolist()
    wanted = f"coalesce(symbol IN ({', '.join(map(str, known))}), 0)" if known else "0"
    # One look at the table, which has a row for each frame of each sample.
    return report.columns(
        f"SELECT {tables.first(report, CALL_CHAINS, 'id')} AS id, "
        f"{tables.first(report, CALL_CHAINS, 'symbol')} AS symbol, "
        f"{tables.first(report, CALL_CHAINS, 'module')} AS module, "
        f"stackDepth AS depth, {wanted} AS fits "
        f"FROM {CALL_CHAINS} WHERE stackDepth = 0 OR (stackDepth > 0 AND {wanted})"
    )


def switches(report: Report) -> Columns:
    """Return when threads got and left a CPU: ``arrives`` (1 or 0), ``start_ns, thread``."""
    return _instants(report, SCHEDULING, {"arrives": "isSchedIn"})


def system_calls(report: Report) -> Columns:
    """Return the calls of the operating system: ``start_ns, end_ns, thread, name_id``."""
    fields = {"thread": ("globalTid",), "name_id": ("nameId",)}
    if not report.has(SYSTEM_CALLS, "globalTid", "nameId"):
        return _none("start_ns", "end_ns", *fields)
    return device_tables.events(report, SYSTEM_CALLS, fields)


def python_functions(report: Report) -> Columns:
    """Return the calls of Python functions of a trace: ``start_ns, end_ns, thread, name_id``."""
    if not report.has(PYTHON, "start_ns", "end_ns", "global_tid", "name_id"):
        return _none("start_ns", "end_ns", "thread", "name_id")
    rows = report.columns(
        f"SELECT start_ns, end_ns, global_tid AS thread, name_id FROM {PYTHON}",
        tables.count(report, PYTHON),
    )
    return sensible(report, PYTHON, rows)


def _instants(report: Report, table: str, fields: Mapping[str, str]) -> Columns:
    """Return some columns, ``start_ns`` and ``thread`` of a table of instants."""
    if not report.has(table, "start", "globalTid", *fields.values()):
        return _none(*fields, "start_ns", "thread")
    listed = ", ".join(
        f"{tables.first(report, table, column)} AS {name}" for name, column in fields.items()
    )
    rows = report.columns(
        f"SELECT {listed}, start AS start_ns, start AS end_ns, globalTid AS thread FROM {table} "
        "WHERE globalTid IS NOT NULL",
        tables.count(report, table),
    )
    return sensible(report, table, rows)


def _none(*names: str) -> Columns:
    return {name: np.empty(0, np.int64) for name in names}
