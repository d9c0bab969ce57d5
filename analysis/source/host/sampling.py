"""What a sampler and the scheduler saw of threads: CPU samples, their call chains, switches.

As in `analysis.source.tables`, tables and columns may be missing, missing numbers are
`tables.MISSING`, and times are integer nanoseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analysis.arithmetic.row_order import in_order
from analysis.source import tables
from analysis.source.host.columns import instants, no_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.source.database import Columns
    from analysis.source.report import Report

SAMPLES: Final = "COMPOSITE_EVENTS"
"""A row for each CPU sample: when, and on which thread."""

CALL_CHAINS: Final = "SAMPLING_CALLCHAINS"
"""A row for each frame of a sample's call chain, the function that ran at depth 0."""

SCHEDULING: Final = "SCHED_EVENTS"

ADDRESS: Final = "0x"
"""How the symbol of a function begins whose name is not known."""


def samples(report: Report) -> Columns:
    """Return the CPU samples: ``id, start_ns, thread``, in order of time."""
    return instants(report, SAMPLES, {"id": "id"})


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
        return no_rows("id", "symbol", "module", "depth", "fits")
    known: list[int] = []
    if report.has("StringIds", "id", "value"):
        fits = " OR ".join(f"value GLOB '{glob}'" for glob in globs)
        known = report.columns(f"SELECT id FROM StringIds WHERE {fits}")["id"].tolist()
    wanted = f"symbol IN ({', '.join(map(str, known))})" if known else "1 = 0"
    # One look at the table, which has a row for each frame of each sample.
    rows = report.columns(
        f"SELECT {tables.first(report, CALL_CHAINS, 'id')} AS id, "
        f"{tables.first(report, CALL_CHAINS, 'symbol')} AS symbol, "
        f"{tables.first(report, CALL_CHAINS, 'module')} AS module, "
        f"stackDepth AS depth, CASE WHEN {wanted} THEN 1 ELSE 0 END AS fits "
        f"FROM {CALL_CHAINS} WHERE stackDepth = 0 OR (stackDepth > 0 AND {wanted})"
    )
    return in_order(rows, "id", "depth")


def switches(report: Report) -> Columns:
    """Return when threads got and left a CPU: ``arrives`` (1 or 0), ``start_ns, thread``."""
    return instants(report, SCHEDULING, {"arrives": "isSchedIn"})
