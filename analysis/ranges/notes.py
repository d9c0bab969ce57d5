"""Notes on a table of ranges: the work of other threads, ranges left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.containment import distinct
from analysis.arithmetic.global_ids import process_of
from analysis.attribution import phases
from analysis.attribution.launches import within
from analysis.show.render import duration
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.attribution.selection import Selected
    from analysis.recorded.ranges import Ranges


def notes(chosen: Selected) -> tuple[str, ...]:
    """Return what the rows of ranges do not tell: work of other threads, ranges left open."""
    unclosed = chosen.found.ranges.unclosed
    left = (f"{unclosed:,} ranges were never closed: they end with the last",)
    return (*of_other_threads(chosen), *(left if unclosed else ()))


def of_other_threads(chosen: Selected) -> tuple[str, ...]:
    """Return how much was launched by other threads while a phase or step that is shown was open.

    That is the rule of `analysis.attribution.phases`, by which other commands count; where
    outermost ranges stand in for phases there is nothing to compare with.
    """
    found = chosen.found
    if not has_other_threads(found):
        return ()
    waiting, _ = phases.taken_as_phases(found)
    wanted = (*names.PHASES, names.STEP)
    if not len(waiting) or not waiting.where(lambda name: name in wanted).any():
        return ()
    rows = np.flatnonzero(chosen.work & on_other_threads(found, waiting))
    launches = found.launches.take(rows)
    place, by_caller = phases.around(launches, waiting)
    helping = np.flatnonzero(by_caller)
    shown = found.ranges.take(chosen.ranges)
    parts, total = [], 0
    for label in wanted:
        of_label = helping[waiting.called(label)[place[helping]]]
        windows = shown.take(shown.called(label))
        during = within(launches.start_ns[of_label], launches.process[of_label], windows)
        if during.any():
            parts.append(label)
            total += int(found.work.duration_ns[rows[of_label[during]]].sum())
    if not parts:
        return ()
    return (
        f"{duration(total)} were launched by other threads during {' and '.join(parts)}: here a "
        "range has what its own thread launched, as NVIDIA counts; phases, --within and compare "
        "count them there too",
    )


def has_other_threads(found: Attribution) -> bool:
    """Return whether a process launches, or opens ranges, on more than one thread."""
    known = [distinct(found.launches.thread), distinct(found.ranges.thread)]
    threads = np.unique(np.concatenate(known))
    threads = threads[threads != tables.MISSING]
    return len(threads) > len(np.unique(process_of(threads)))


def on_other_threads(found: Attribution, chosen: Ranges) -> Bools:
    """Return ``(N,)`` which launches another thread's range may have, of some ranges.

    On the one thread of a process that has such ranges that can be none: the most of the launches
    need not be looked at.
    """
    threads = np.unique(chosen.thread)
    _, place, count = np.unique(process_of(threads), return_inverse=True, return_counts=True)
    alone = threads[count[place] == 1]
    result: Bools = found.launches.known & ~np.isin(found.launches.thread, alone)
    return result
