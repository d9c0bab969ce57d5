"""A run of which some work, such as collectives, runs beside what follows it on its stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.intervals import NONE
from analysis.measures.replay.device_order import possible

if TYPE_CHECKING:
    from analysis.arithmetic.arrays import Bools, Int64
    from analysis.measures.replay.recorded_run import RecordedRun

Edges = tuple["Int64", "Int64"]


def with_overlap(run: RecordedRun, apart: Bools, until: Bools) -> RecordedRun:
    """Return a run in which some work holds up nothing but work of its own kind, as far as can be.

    Each still follows on what it followed on, and on the one before it of its kind on its device.
    What reads the results follows on all of it: the work that is named, and calls that wait.

    Args:
        run: as it was recorded.
        apart: ``(M,)`` which work runs beside.
        until: ``(M,)`` which work follows on all before it, such as that of the optimizer.
    """
    done, order = run.done, run.order
    lines = order.lines
    before = order.before.copy()
    while True:  # past all that runs beside, on the same stream
        rows = np.flatnonzero((before != NONE) & ~apart)
        rows = rows[apart[before[rows]]]
        if not len(rows):
            break
        before[rows] = order.before[before[rows]]
    kept = ~apart[order.edge_from] | apart[order.edge_to]
    to, source = [order.edge_to[kept]], [order.edge_from[kept]]
    for process, device in {
        *zip(done.process[apart].tolist(), done.device[apart].tolist(), strict=True)
    }:
        here = (done.process == process) & (done.device == device)
        mine = np.flatnonzero(apart & here)
        mine = mine[np.argsort(lines.key_ns[mine], kind="stable")]
        to.append(mine[1:])
        source.append(mine[:-1])
        reads = np.flatnonzero(until & here & ~apart)
        last = np.searchsorted(lines.key_ns[mine], lines.key_ns[reads], side="left") - 1
        to.append(reads[last >= 0])
        source.append(mine[last[last >= 0]])
    both = np.concatenate(to), np.concatenate(source)
    to_, source_ = possible(done, lines, *both, order.meetings)
    changed = replace(order, before=before, edge_to=to_, edge_from=source_)
    return replace(run, order=changed)
