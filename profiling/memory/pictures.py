"""Pictures of `profiling.memory`: what a device held over time, and peaks by context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis.show.pictures import (
    MIB,
    MILLI,
    binary_units,
    doubling,
    draw_each,
    engineering_units,
    title,
)
from profiling import names
from profiling.common.machine import device_name
from profiling.common.measuring import Result
from profiling.common.settings import Settings
from profiling.memory.tables import INFERENCE, MODEL, outcome
from profiling.processes.attempts import OK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {
    MODEL: "tab:gray",
    names.WARMUP: "tab:olive",
    INFERENCE: "tab:cyan",
    names.FORWARD: "tab:green",
    names.BACKWARD: "tab:red",
    names.OPTIMIZER: "tab:purple",
}
"""What is marked, by colour; the outermost of these."""


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write a picture over time for every run that ended well, and one of the peaks.

    Args:
        results: with their timelines.
        folder: for the pictures.

    Raises:
        ReportError: one cannot be written.
    """
    done = [result for result in results if outcome(result) == OK]
    fills: dict[str, Callable[[Axes], None]] = {}
    for result in done:
        settings = Settings.from_fields(result["settings"])
        name = f"memory-{settings.size}-{settings.precision}-{settings.context}.png"
        fills[name] = partial(over_time, timeline=result["timeline"], settings=settings)
    if done:
        fills["memory-peaks.png"] = partial(by_context, results=done)
    return draw_each(folder, fills)


def over_time(axes: Axes, timeline: dict[str, Any], settings: Settings) -> None:
    """Draw what was held after every change, and mark the phases."""
    times, levels = timeline["time_ns"], timeline["allocated_bytes"]
    if not times:
        return
    start = times[0]
    axes.step(
        [(time - start) / 1e6 for time in times],
        [level / MIB for level in levels],
        where="post",
        color="black",
        linewidth=0.8,
    )
    labelled, marked_until = set(), start
    for phase in timeline["phases"]:
        name = phase["name"]
        if name in _COLOURS and phase["start_ns"] >= marked_until:
            marked_until = phase["end_ns"]
            axes.axvspan(
                (phase["start_ns"] - start) / 1e6,
                (phase["end_ns"] - start) / 1e6,
                color=_COLOURS[name],
                alpha=0.25,
                linewidth=0,
                label=None if name in labelled else name,
            )
            labelled.add(name)
    axes.set(
        xlabel="time, with the profiler's own",
        ylabel="held by tensors",
        title=title(
            "Memory",
            f"{settings.size}, {settings.mode}, batch {settings.batch}, context "
            f"{settings.context}, {settings.precision}",
            device=device_name(settings.device),
        ),
        ylim=(0, None),
    )
    engineering_units(axes.xaxis, "s", MILLI)
    binary_units(axes.yaxis)


def by_context(axes: Axes, results: Sequence[Result]) -> None:
    """Draw the peaks of a forward pass alone and of a full step against the context."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for result in results:
        settings = Settings.from_fields(result["settings"])
        for phase in (INFERENCE, names.STEP):
            if phase in result["peaks"]:
                point = settings.context, result["peaks"][phase] / MIB
                lines.setdefault((settings.precision, phase), []).append(point)
    for (precision, phase), points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=f"{phase}, {precision}")
    doubling(axes, (context for points in lines.values() for context, _ in points))
    # One command measures one model on one device, in several formats.
    every = [Settings.from_fields(result["settings"]) for result in results]
    formats = dict.fromkeys(each.precision for each in every)
    of = title("Most memory held", every[0].size, *formats, device=device_name(every[0].device))
    axes.set(xlabel="context", ylabel="peak", title=of, ylim=(0, None))
    binary_units(axes.yaxis)
