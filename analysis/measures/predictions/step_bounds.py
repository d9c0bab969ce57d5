"""Where the bounds of steps lie, on which threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.source import tables

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.steps import Steps


def step_threads(attribution: Attribution, steps: Steps) -> Int64:
    """Return ``(W,)`` the thread that opened each step.

    Of a stretch of time that no range is, that is the thread of its process with most work.
    """
    every = attribution.ranges
    ranges = every.take(np.isin(every.start_ns, steps.start_ns))
    columns = (ranges.process, ranges.start_ns, ranges.end_ns, ranges.thread)
    listed = zip(*(column.tolist() for column in columns), strict=True)
    opened = {(process, start, end): thread for process, start, end, thread in listed}
    of_steps = (steps.process, steps.start_ns, steps.end_ns)
    wanted = zip(*(column.tolist() for column in of_steps), strict=True)
    found = [opened.get(key, tables.MISSING) for key in wanted]
    for place in [place for place, thread in enumerate(found) if thread == tables.MISSING]:
        launches = attribution.all_launches
        mine = launches.thread[launches.process == steps.process[place]]
        threads, counts = np.unique(mine, return_counts=True)
        found[place] = int(threads[counts.argmax()])
    return np.array(found, np.int64)


def step_bounds(attribution: Attribution, steps: Steps | None) -> tuple[Int64, Int64]:
    """Return the threads and instants of the bounds of steps: all starts, then all ends."""
    if steps is None:
        none = np.empty(0, np.int64)
        return none, none
    thread = step_threads(attribution, steps)
    return np.append(thread, thread), np.append(steps.start_ns, steps.end_ns)
