"""What the rows of ranges do not tell: warm-up, other threads' work, ranges left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.containment import distinct
from analysis.attribution import phases, warmup
from analysis.attribution.launches import Launches, within
from analysis.show.render import duration
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution
    from analysis.recorded.ranges import Ranges

Bools = npt.NDArray[np.bool_]


def notes(found: Attribution, kept: Bools, of_place: Bools) -> tuple[str, ...]:
    """Return what the rows do not tell.

    Args:
        found: the ranges and the work.
        kept: ``(R,)`` which ranges are shown.
        of_place: ``(N,)`` which work counts.
    """
    left = (f"{found.ranges.unclosed:,} ranges were never closed: they end with the last",)
    return (
        *warmup.note(found, excluded=not (kept & found.ranges_in_warmup).any(), among=of_place),
        *of_other_threads(found, kept, of_place),
        *(left if found.ranges.unclosed else ()),
    )


def of_other_threads(found: Attribution, kept: Bools, of_place: Bools) -> tuple[str, ...]:
    """Return how much was launched by other threads while a phase or step that is shown was open.

    That is the rule of `analysis.attribution.phases`, by which others count; where outermost ranges
    stand in for phases there is nothing to compare with.
    """
    if not has_other_threads(found):
        return ()
    chosen, _ = phases.taken_as_phases(found)
    wanted = (*names.PHASES, names.STEP)
    if not len(chosen) or not chosen.where(lambda name: name in wanted).any():
        return ()
    rows = np.flatnonzero(of_place & on_other_threads(found, chosen))
    whole = found.launches
    launches = Launches(whole.thread[rows], whole.start_ns[rows], whole.end_ns[rows])
    place, by_caller = phases.around_launches(launches, chosen, np.ones(len(rows), np.bool_))
    helping = np.flatnonzero(by_caller)
    shown = found.ranges.take(kept)
    parts, total = [], 0
    for label in wanted:
        of_label = helping[chosen.called(label)[place[helping]]]
        windows = shown.take(shown.called(label))
        process = (launches.thread[of_label] >> 24) & 0xFFFFFF
        during = within(launches.start_ns[of_label], process, windows)
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
    return len(threads) > len(np.unique((threads >> 24) & 0xFFFFFF))


def on_other_threads(found: Attribution, chosen: Ranges) -> Bools:
    """Return ``(N,)`` which launches another thread's range may have, of some ranges.

    On the one thread of a process that has such ranges that can be none: the most of the launches
    need not be looked at.
    """
    threads = np.unique(chosen.thread)
    _, place, count = np.unique((threads >> 24) & 0xFFFFFF, return_inverse=True, return_counts=True)
    alone = threads[count[place] == 1]
    result: Bools = found.launches.known & ~np.isin(found.launches.thread, alone)
    return result
