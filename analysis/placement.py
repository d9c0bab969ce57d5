"""Which phase a kernel belongs to, and which work is inside a range of some name.

A range has the work launched on its own thread (*own*). The backward pass, though, is launched by
a thread of autograd's own while the main thread waits inside `backward`: so where the launching
thread has no phase open, the range open on another thread of the process when the launch began
counts (*caller*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.errors import ReportError
from analysis.intervals import NONE, ordered, parents
from analysis.projection import Spans, innermost
from analysis.vocabulary import canonical, matching
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution import Attribution
    from analysis.nvtx import Ranges

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

OTHER: Final = "other"
NO_PHASES: Final = "no range is called forward, backward or optimizer: the outermost are shown"
MOST: Final = 10
"""How many names of outermost ranges stand in for phases where there are none."""


@dataclass(frozen=True)
class Phases:
    """The phase of each piece of work.

    Attributes:
        labels: ``(P,)`` the phases there are, in the order they run, and last `OTHER`.
        phase: ``(N,)`` positions in ``labels``.
        by_caller: ``(N,)`` whether another thread's range decided.
        ranges: the ranges that were taken as phases.
        notes: where outermost ranges stand in for phases, that they do.
    """

    labels: list[str]
    phase: Int64
    by_caller: Bools
    ranges: Ranges
    notes: tuple[str, ...] = ()


def phases(found: Attribution) -> Phases:
    """Return the phase of all work of a report, warm-up included."""
    ranges = found.ranges
    notes: tuple[str, ...] = ()
    chosen = ranges.take(ranges.where(lambda name: name in names.PHASES))
    if not len(chosen):
        chosen, notes = outermost(ranges, found.ranges_in_warmup), (NO_PHASES,)
    labels = labels_of(chosen)
    place, by_caller = around(found, chosen, np.ones(len(found.work.kind), np.bool_))
    position = {label: number for number, label in enumerate(labels)}
    of_name = np.array(
        [position.get(canonical(name), len(labels)) for name in chosen.names], np.int64
    )
    phase = np.full(len(place), len(labels), np.int64)
    placed = place != NONE
    phase[placed] = of_name[chosen.name[place[placed]]]
    return Phases([*labels, OTHER], phase, by_caller, chosen, notes)


def labels_of(ranges: Ranges) -> list[str]:
    """Return the canonical names of some ranges: phases as they run, others by time."""
    wall: dict[str, int] = {}
    times = np.bincount(ranges.name, ranges.wall_ns, len(ranges.names))
    for number in np.unique(ranges.name).tolist():
        label = canonical(ranges.names[number])
        wall[label] = wall.get(label, 0) + int(times[number])
    if set(wall) <= set(names.PHASES):
        return sorted(wall, key=names.PHASES.index)
    return sorted(wall, key=lambda label: (-wall[label], label))[:MOST]


def outermost(ranges: Ranges, in_warmup: Bools) -> Ranges:
    """Return the ranges that no other range of their thread contains, warm-up left out."""
    inside = parents(ranges.start_ns, ranges.end_ns, ranges.thread)
    return ranges.take((inside == NONE) & ~in_warmup)


def last_around(outer: Spans, inner: Spans) -> Int64:
    """Return `analysis.projection.innermost` for outer intervals in any order.

    >>> outer = Spans(np.array([8, 7, 7]), np.array([0, 2, 0]), np.array([9, 5, 9]))
    >>> inner = Spans(np.array([7, 7, 8, 9]), np.array([3, 4, 3, 3]), np.array([4, 6, 4, 4]))
    >>> last_around(outer, inner).tolist()
    [1, 2, 0, -1]
    """
    order = ordered(outer.start_ns, outer.end_ns, outer.thread)
    place = innermost(outer.take(order), inner)
    found = place != NONE
    place[found] = order[place[found]]
    return place


def around(found: Attribution, chosen: Ranges, callable_: Bools) -> tuple[Int64, Bools]:
    """Return the innermost of some ranges around each launch: on its thread, else its caller's.

    Args:
        found: the work.
        chosen: the ranges that count.
        callable_: ``(N,)`` for which work another thread's range may count.

    Returns:
        ``(N,)`` positions in ``chosen`` or `NONE`, and ``(N,)`` whether another thread decided.
    """
    launches = found.launches
    times = (chosen.start_ns, chosen.end_ns)
    own = last_around(
        Spans(chosen.thread, *times), Spans(launches.thread, launches.start_ns, launches.end_ns)
    )
    rows = np.flatnonzero((own == NONE) & launches.known & callable_)
    instant = launches.start_ns[rows]
    process = (launches.thread[rows] >> 24) & 0xFFFFFF
    caller = last_around(Spans(chosen.process, *times), Spans(process, instant, instant))
    own[rows] = caller
    by_caller = np.zeros(len(own), np.bool_)
    by_caller[rows] = caller != NONE
    return own, by_caller


def inside(found: Attribution, wanted: str) -> Bools:
    """Return which work is inside a range of a name: own, or the caller's where no phase is own.

    Args:
        found: the work.
        wanted: a name as it was recorded, else one of its other spellings, else a glob.

    Raises:
        ReportError: no range is called so; the message lists those there are.
    """
    known = matching(found.ranges.names, wanted)
    if not known:
        there = ", ".join(sorted({canonical(name) for name in found.ranges.names})[:20])
        raise ReportError(
            found.report.path, f"no NVTX range is called {wanted!r}", f"it has: {there or 'none'}"
        )
    if {canonical(name) for name in known} == {names.WARMUP}:
        return found.work_in_warmup
    chosen = found.ranges.take(
        np.array([name in known for name in found.ranges.names], np.bool_)[found.ranges.name]
    )
    phase = phases(found)
    no_own = (phase.phase == len(phase.labels) - 1) | phase.by_caller
    place, _ = around(found, chosen, no_own)
    result: Bools = place != NONE
    return result
