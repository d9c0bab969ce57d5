"""Which phase a kernel belongs to, and which work is inside a range of some name.

A range has the work launched on its own thread (*own*). The backward pass, though, is launched by
a thread of autograd's own while the main thread waits inside `backward`: so where the launching
thread has no phase open, the range open on another thread of the process when the launch began
counts (*caller*). Where no range is a phase the steps stand in, or else the outermost ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis.arithmetic.containment import Intervals, innermost
from analysis.arithmetic.intervals import NONE, ordered, parents
from analysis.attribution import warmup
from analysis.attribution.launches import within
from analysis.knowledge.vocabulary import canonical
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution, Launches
    from analysis.recorded.ranges import Ranges

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

OTHER: Final = "other"
NO_PHASES: Final = "no range is called forward, backward or optimizer: the outermost are shown"
ONLY_STEPS: Final = "no range is called forward, backward or optimizer: the steps are shown whole"
MOST: Final = 10
"""How many names of outermost ranges have a row of their own where a person reads it."""


@dataclass(frozen=True)
class Phases:
    """The phase of each piece of work.

    Attributes:
        labels: ``(P,)`` the phases there are, in the order they run, and last `OTHER`.
        phase: ``(N,)`` positions in ``labels``.
        by_caller: ``(N,)`` whether another thread's range decided.
        ranges: the ranges that were taken as phases.
        notes: where other ranges stand in for phases, which.
        label: ``(R,)`` the phase of each of the ranges, a position in ``labels``.
        rest: the position of the phase that holds several ranges' names, where `folded` made one.
    """

    labels: list[str]
    phase: Int64
    by_caller: Bools
    ranges: Ranges
    notes: tuple[str, ...]
    label: Int64
    rest: int | None = None

    def folded(self, most: int = MOST) -> Phases:
        """Return the same with one phase, ``(N more ranges)``, for all but the first of many.

        `OTHER` stays what was launched outside all of them.
        """
        more = len(self.labels) - 1 - most
        if more < 2:  # one alone needs no row to stand in for it
            return self
        number = np.minimum(np.arange(len(self.labels)), most)
        number[-1] = most + 1
        return replace(
            self,
            labels=[*self.labels[:most], f"({more:,} more ranges)", OTHER],
            phase=number[self.phase],
            label=number[self.label],
            rest=most,
        )


def phases(found: Attribution) -> Phases:
    """Return the phase of all work of a report, warm-up included."""
    chosen, notes = taken_as_phases(found)
    place, by_caller = around(found, chosen, np.ones(len(found.work.kind), np.bool_))
    placed = place != NONE
    labels, label = labels_of(found, chosen, place)
    phase = np.full(len(place), len(labels), np.int64)
    phase[placed] = label[place[placed]]
    return Phases([*labels, OTHER], phase, by_caller, chosen, notes, label)


def taken_as_phases(found: Attribution) -> tuple[Ranges, tuple[str, ...]]:
    """Return the ranges that are phases, or stand in for them; and if so, a note on it.

    Steps go before outermost ranges: those may be of autograd's thread, which works for a step.
    """
    ranges = found.ranges
    chosen = ranges.where(lambda name: name in names.PHASES)
    if chosen.any():
        return ranges.take(chosen), ()
    stepping = ranges.called(names.STEP)
    if (stepping & ~found.ranges_in_warmup).any():
        return ranges.take(stepping), (ONLY_STEPS,)
    return outermost(ranges, found.ranges_in_warmup), (NO_PHASES,)


def labels_of(found: Attribution, chosen: Ranges, place: Int64) -> tuple[list[str], Int64]:
    """Return the canonical names of some ranges: phases as they run, others by their work's time.

    Args:
        found: the work; that in warm-up does not count.
        chosen: the ranges, ``R`` of them.
        place: ``(N,)`` the range that each piece of work is in, or `NONE`.

    Returns:
        ``(K,)`` names, and ``(R,)`` positions in them.
    """
    called = [canonical(name) for name in chosen.names]
    used = sorted({called[number] for number in np.unique(chosen.name).tolist()})
    number = {label: position for position, label in enumerate(used)}
    label = np.array([number.get(name, NONE) for name in called], np.int64)[chosen.name]
    if set(used) <= set(names.PHASES):
        order = sorted(range(len(used)), key=lambda one: names.PHASES.index(used[one]))
    else:
        counts = (place != NONE) & ~found.work_in_warmup
        kernel, wall = np.zeros((2, len(used)), np.int64)
        np.add.at(kernel, label[place[counts]], found.work.duration_ns[counts])
        np.add.at(wall, label, chosen.wall_ns)
        order = np.lexsort((np.arange(len(used)), -wall, -kernel)).tolist()
    position = np.empty(len(used), np.int64)
    position[order] = np.arange(len(used))
    return [used[one] for one in order], position[label]


def outermost(ranges: Ranges, in_warmup: Bools) -> Ranges:
    """Return the ranges that no other range of their thread contains, warm-up left out."""
    inside = parents(ranges.start_ns, ranges.end_ns, ranges.thread)
    return ranges.take((inside == NONE) & ~in_warmup)


def last_around(outer: Intervals, inner: Intervals) -> Int64:
    """Return `analysis.arithmetic.containment.innermost` for outer intervals in any order.

    >>> outer = Intervals(np.array([8, 7, 7]), np.array([0, 2, 0]), np.array([9, 5, 9]))
    >>> inner = Intervals(np.array([7, 7, 8, 9]), np.array([3, 4, 3, 3]), np.array([4, 6, 4, 4]))
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
    return around_launches(found.launches, chosen, callable_)


def around_launches(launches: Launches, chosen: Ranges, callable_: Bools) -> tuple[Int64, Bools]:
    """Return the same for some launches, ``N`` of them."""
    times = (chosen.start_ns, chosen.end_ns)
    own = last_around(
        Intervals(chosen.thread, *times),
        Intervals(launches.thread, launches.start_ns, launches.end_ns),
    )
    rows = np.flatnonzero((own == NONE) & launches.known & callable_)
    instant = launches.start_ns[rows]
    process = (launches.thread[rows] >> 24) & 0xFFFFFF
    caller = last_around(Intervals(chosen.process, *times), Intervals(process, instant, instant))
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
        ReportError: no range is called so; the message lists some that there are.
    """
    return inside_of(found, warmup.meant(found.report.path, found.ranges, wanted))


def inside_of(found: Attribution, chosen: Bools) -> Bools:
    """Return which work is inside some ranges, by the same rule.

    A step and a warm-up have what any thread of their process launched meanwhile.

    Args:
        found: the work.
        chosen: ``(R,)`` which of all ranges.
    """
    ranges = found.ranges
    if warmup.all_of(ranges, chosen, names.WARMUP):
        return found.work_in_warmup
    if warmup.all_of(ranges, chosen, names.STEP):
        launches = found.launches
        process = np.where(launches.known, (launches.thread >> 24) & 0xFFFFFF, tables.MISSING)
        return within(launches.start_ns, process, ranges.take(chosen))
    phase = phases(found)
    no_own = (phase.phase == len(phase.labels) - 1) | phase.by_caller
    place, _ = around(found, ranges.take(chosen), no_own)
    result: Bools = place != NONE
    return result
