"""Pictures of a sweep: time by part with its spread, and how time grows with the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.show.pictures import draw_each
from profiling import names
from profiling.sweep.store import SweepRow
from profiling.sweep.table import statistic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {
    names.FORWARD: "tab:green",
    names.BACKWARD: "tab:red",
    names.OPTIMIZER: "tab:purple",
}


def draw(rows: Sequence[SweepRow], folder: Path) -> list[Path]:
    """Write the pictures that the rows allow, and return the files.

    Args:
        rows: of a sweep; those that were not measured are left out.
        folder: it is there.

    Raises:
        ReportError: one cannot be written.
    """
    measured = [row for row in rows if row.result is not None]
    fills: dict[str, Callable[[Axes], None]] = {}
    if measured:
        fills["sweep-times.png"] = partial(bars, rows=measured)
    if len({row.settings.context for row in measured}) > 1:
        fills["sweep-contexts.png"] = partial(scaling, rows=measured)
    return draw_each(folder, fills)


def bars(axes: Axes, rows: Sequence[SweepRow]) -> None:
    """Draw a bar a row, its parts one on another, with the deviation of the whole."""
    places = range(len(rows))
    below = np.zeros(len(rows))
    for part, colour in _COLOURS.items():
        heights = np.nan_to_num([statistic(row, part, "mean") for row in rows])
        if heights.any():
            axes.bar(places, heights, bottom=below, color=colour, label=part)
        below = below + heights
    totals = [statistic(row, "total", "mean") for row in rows]
    spread = [statistic(row, "total", "std") for row in rows]
    axes.errorbar(
        places, totals, yerr=spread, fmt="k_", capsize=4, label="whole step, mean ± deviation"
    )
    axes.set_xticks(places, [_short(row, rows) for row in rows], rotation=30, ha="right")
    axes.set_ylabel("time of a step (ms)")


def scaling(axes: Axes, rows: Sequence[SweepRow]) -> None:
    """Draw a line for each configuration, its step time by context, both axes logarithmic."""
    lines: dict[str, list[SweepRow]] = {}
    for row in rows:
        settings = row.settings
        name = (
            f"{settings.size} {settings.mode} {settings.precision} batch {settings.batch} "
            f"warm-up {settings.warmup}"
        )
        lines.setdefault(name, []).append(row)
    for name, members in lines.items():
        members.sort(key=lambda row: row.settings.context)
        axes.errorbar(
            [row.settings.context for row in members],
            [statistic(row, "total", "mean") for row in members],
            yerr=[statistic(row, "total", "std") for row in members],
            marker="o",
            capsize=3,
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="context (positions)", ylabel="time of a step (ms)")


def _short(row: SweepRow, rows: Sequence[SweepRow]) -> str:
    """Return the size, and what else differs between the rows."""
    words = [row.settings.size]
    forms = {"batch": "B {}", "context": "T {}", "warmup": "warm-up {}", "mode": "{}"}
    for field, form in forms.items():
        if len({getattr(other.settings, field) for other in rows}) > 1:
            words.append(form.format(getattr(row.settings, field)))
    if len({other.settings.precision for other in rows}) > 1:
        words.append(row.settings.precision)
    return "\n".join(words)
