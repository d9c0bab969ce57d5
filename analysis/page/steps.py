"""The lines of the page about its steps: how long each took, and what recording cost them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Float64
from analysis.measures.step_times import FEWEST, TRIMMED, slowdown, step_times
from analysis.show.render import duration, plural

if TYPE_CHECKING:
    from analysis.attribution.selected import Selected


def step_lines(chosen: Selected) -> list[str]:
    """Return lines on the spread of the steps' times, recorded beside not recorded.

    Recorded steps are the step ranges in the file, as long as they were open on the host; where
    there is none, what the launcher noted of the run, unless only a part of that is in the file.

    Args:
        chosen: the part of a report that counts.
    """
    report, known = chosen.attribution.report, chosen.steps
    noted, bare = (step_times(report, key) for key in ("step_ns", "unprofiled_step_ns"))
    cut = bool(report.run.get(TRIMMED))
    lines = []
    if known is not None:
        lines = [f"step, recorded: {spread(known.wall_ns.astype(np.float64))}"]
        lines += [f"steps: {note}" for note in known.notes]
    elif len(noted) and not cut:
        lines = [f"step, recorded: {spread(noted)}"]
    if len(bare):
        whole = ", in the run it was cut from" if cut else ""
        line = f"step, not recorded{whole}: {spread(bare)}"
        lines.append(f"{line}: {cost(noted, bare)}" if len(noted) else line)
    return lines


def cost(recorded: Float64, bare: Float64) -> str:
    """Return in words what recording cost a step, if that can be told."""
    if min(len(recorded), len(bare)) < FEWEST:
        return "too few steps to tell what recording costs"
    more = slowdown(recorded, bare)
    if more is None:
        return "what recording costs cannot be told, steps differ too much among themselves"
    if more < 0:
        return (
            f"recorded steps took {-more * 100:.1f} % less, so the two were not timed under the "
            "same conditions"
        )
    return f"recording cost {more * 100:+.1f} %"


def spread(times: Float64) -> str:
    """Return the median of some times and how far they lie apart."""
    count = plural(len(times), "step")
    if len(times) == 1:
        return f"{duration(float(times[0]))} ({count})"
    ends = f"{duration(float(times.min()))} to {duration(float(times.max()))}"
    return f"median {duration(float(np.median(times)))} ({ends}, {count})"
