"""A picture of memory over time, with the phases marked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.knowledge.vocabulary import canonical
from analysis.memory.tables import Memory
from analysis.recorded.ranges import outermost
from analysis.show.pictures import MIB, MILLI, binary_units, draw_each, engineering_units, title
from profiling import names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.measures.memory_changes import MemoryChanges

_COLOURS: Final = {
    names.WARMUP: "tab:olive",
    names.FORWARD: "tab:green",
    names.BACKWARD: "tab:red",
    names.OPTIMIZER: "tab:purple",
}


def draw(memory: Memory, path: Path) -> list[Path]:
    """Write a picture for every device into a folder, which is made if it is not there.

    Raises:
        ReportError: matplotlib is not installed, or one cannot be written.
    """
    fills = {}
    for each in memory.changes:
        of_process = f"-{each.process}" if memory.several_processes else ""
        name = f"memory-{each.name.replace(':', '')}{of_process}.png"
        fills[name] = partial(over_time, memory=memory, changes=each)
    return draw_each(path, fills)


def over_time(axes: Axes, memory: Memory, changes: MemoryChanges) -> None:
    """Draw the memory held after every change, and mark the outermost warm-up and phases."""
    start = int(changes.time_ns[0])
    axes.step(
        (changes.time_ns - start) / 1e6,
        changes.allocated / MIB,
        where="post",
        color="black",
        linewidth=0.8,
    )
    ranges = memory.attribution.ranges
    mine = ranges.where(lambda name: name in _COLOURS) & (ranges.process == changes.process)
    some = ranges.take(mine)
    labelled = set()
    outer = np.flatnonzero(outermost(some, place=some.process))
    for row in outer[np.argsort(some.start_ns[outer], kind="stable")].tolist():
        begin, end = int(some.start_ns[row]), int(some.end_ns[row])
        name = canonical(some.names[some.name[row]])
        axes.axvspan(
            (begin - start) / 1e6,
            (end - start) / 1e6,
            color=_COLOURS[name],
            alpha=0.25,
            linewidth=0,
            label=None if name in labelled else name,
        )
        labelled.add(name)
    report = memory.attribution.report
    known = [report.run.get(key) for key in ("size", "model", "dtype")]
    axes.set(xlabel="time", ylabel="held by tensors", ylim=(0, None))
    axes.set_title(
        title(f"Memory of {changes.name}, {memory.source}", *known, device=report.device)
    )
    engineering_units(axes.xaxis, "s", MILLI)
    binary_units(axes.yaxis)
