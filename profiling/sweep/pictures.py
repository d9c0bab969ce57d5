"""Pictures of a sweep: time by part with its spread, and how time grows with the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.show.pictures import MILLI, doubling, draw_each, engineering_units, leave_room, title
from profiling import names
from profiling.sweep.store import SweepRow
from profiling.sweep.table import statistic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW_LABELS: Final = 10
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
    slanted = len(rows) > FEW_LABELS
    axes.set_xticks(
        places,
        [_short(row, rows) for row in rows],
        rotation=60 if slanted else 0,
        ha="right" if slanted else "center",
    )
    axes.set(ylabel="time of a step", title=_title("Steps by part", rows))
    leave_room(axes, len(rows))
    engineering_units(axes.yaxis, "s", MILLI)


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
    doubling(axes, (row.settings.context for row in rows))
    axes.set(yscale="log", xlabel="context (positions)", ylabel="time of a step")
    axes.set_title(_title("Steps by context", rows))
    engineering_units(axes.yaxis, "s", MILLI)


def _title(what: str, rows: Sequence[SweepRow]) -> str:
    """Return the title of a picture: what it shows, and what is the same in all of its rows."""
    same = {
        key: {getattr(row.settings, key) for row in rows} for key in ("size", "mode", "precision")
    }
    devices = {row.machine.get("device_name", row.settings.device) for row in rows}
    known = (str(*each) for each in same.values() if len(each) == 1)
    return title(what, *known, device=devices.pop() if len(devices) == 1 else "")


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
