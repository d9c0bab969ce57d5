"""The table of a sweep: a row a configuration, in milliseconds."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from analysis.show.table import Column, Table, columns_of
from profiling import names
from profiling.benchmark.steadiness import steadiness_warnings
from profiling.processes.attempts import OK
from profiling.sweep.store import SweepRow

NS_PER_MS: Final = 1e6
NOISY: Final = 0.05
"""A standard deviation above that share of the mean is large, and its likely cause is told."""


def statistic(row: SweepRow, part: str, which: str) -> float:
    """Return a statistic of a part's times in milliseconds; NaN where there is none."""
    if row.result is None or part not in row.result["statistics"]:
        return float("nan")
    value: float = row.result["statistics"][part][which]
    return value / NS_PER_MS


def step_times(row: SweepRow) -> list[int]:
    """Return the times of a row's steps in nanoseconds, none where it could not be measured."""
    return list(row.result["total_ns"]) if row.result else []


def by_configuration(rows: Sequence[SweepRow]) -> list[list[SweepRow]]:
    """Return the measured rows of each configuration, ordered by their warm-up."""
    alike: dict[object, list[SweepRow]] = {}
    for row in rows:
        if row.result is not None:
            run = row.settings
            key = run.size, run.batch, run.context, run.mode, run.precision
            alike.setdefault(key, []).append(row)
    return [sorted(group, key=lambda row: row.settings.warmup) for group in alike.values()]


def utilization(row: SweepRow) -> float:
    """Return the MFU, a share of 1; NaN where no peak is known, or nothing was measured."""
    found = (row.result or {}).get("mfu")
    return float("nan") if found is None else float(found)


def table(rows: Sequence[SweepRow], heading: str, notes: Sequence[str]) -> Table:
    """Return the table; what a row could not measure is missing, and its status says why."""
    columns = columns_of([_cells(row) for row in rows])
    return Table(
        name="sweep",
        columns=columns,
        heading=heading,
        notes=(*notes, *_remarks(rows)),
        hidden=(*_never_measured(columns), *_same_batch(rows)),
        droppable=("Backward/Forward", "Mode"),
        spare=(
            *(f"{part.title()} Std (ms)" for part in names.PHASES),
            "Status",  # a note says it of each row that failed
            "Total Std (ms)",
            *(f"{part.title()} Mean (ms)" for part in names.PHASES),
        ),
    )


def _cells(row: SweepRow) -> dict[str, Any]:
    settings = row.settings
    times = {
        f"{part.title()} {figure.title()} (ms)": statistic(row, part, figure)
        for part in ("total", *names.PHASES)
        for figure in ("mean", "std")
    }
    forward, backward = (statistic(row, part, "mean") for part in (names.FORWARD, names.BACKWARD))
    return {
        "Model": settings.size,
        **times,
        "Context": settings.context,
        "Warm-up": settings.warmup,
        "Mode": settings.mode,
        "Dtype": settings.precision,
        "Backward/Forward": backward / forward,
        "Status": row.status,
        "Batch": settings.batch,
        "MFU": utilization(row),
    }


def _never_measured(columns: dict[str, Column]) -> tuple[str, ...]:
    """Return the times that no row has, and the MFU, which a person need not see."""
    return tuple(
        name
        for name, column in columns.items()
        if (name == "MFU" or (name.endswith("(ms)") and not name.startswith("Total")))
        and not isinstance(column, list)
        and np.isnan(column).all()
    )


def _same_batch(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """Return the column of batches where the heading says it all."""
    return ("Batch",) if len({row.settings.batch for row in rows}) < 2 else ()


def label(row: SweepRow) -> str:
    """Return what tells a row from the others."""
    settings = row.settings
    return (
        f"{settings.size}, batch {settings.batch}, context {settings.context}, "
        f"warm-up {settings.warmup}, "
        f"{settings.mode}, {settings.precision}"
    )


def _remarks(rows: Sequence[SweepRow]) -> list[str]:
    """Return why rows are missing, and why some are unsteady."""
    said = [f"{label(row)}: {row.status}: {row.reason}" for row in rows if row.status != OK]
    warmest = {id(row): group[-1] for group in by_configuration(rows) for row in group[:-1]}
    for row in rows:
        if row.result is None:
            continue
        total = row.result["statistics"]["total"]
        if total["std"] > NOISY * total["mean"]:
            share = f"{total['std'] / total['mean']:.0%}"
            warm = step_times(warmest[id(row)]) if id(row) in warmest else None
            cause = (
                "; ".join(steadiness_warnings(step_times(row), warm)) or "no step stands out: noise"
            )
            said.append(f"{label(row)}: the deviation is {share} of the mean: {cause}")
    return said
