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

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.attribution.inferred import Marked
from analysis.attribution.launches import during_ranges, range_intervals
from analysis.knowledge.vocabulary import canonical
from analysis.recorded.ranges import outermost
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.launches import Attribution, Launches
    from analysis.recorded.ranges import Ranges

OTHER: Final = "other"
NO_PHASES: Final = "no range is called forward, backward or optimizer: the outermost are shown"
ONLY_STEPS: Final = "no range is called forward, backward or optimizer: the steps are shown whole"
MOST_LISTED: Final = 10
"""How many names of outermost ranges have a row of their own where a person reads it."""


@dataclass(frozen=True)
class WorkPhases:
    """The phase of each piece of work.

    Attributes:
        labels: ``(P,)`` the phases there are, in the order they run, and last `OTHER`.
        phase: ``(N,)`` positions in ``labels``.
        by_caller: ``(N,)`` whether another thread's range decided.
        in_none: ``(M,)`` of all device work, copies too, which was launched by a thread that had no
            phase open.
        ranges: the ranges that were taken as phases, ``R`` of them.
        taken: which of all ranges of the report those are.
        notes: where other ranges stand in for phases, which; what of the phases is inferred.
        label: ``(R,)`` the phase of each of the ranges, a position in ``labels``.
        rest: the position of the phase that holds several ranges' names, where `folded` made one.
    """

    labels: list[str]
    phase: Int64
    by_caller: Bools
    in_none: Bools
    ranges: Ranges
    taken: Bools
    notes: tuple[str, ...]
    label: Int64
    rest: int | None = None

    @property
    def are_phases(self) -> bool:
        """Whether these are phases, marked or inferred, and no ranges that stand in for them."""
        return bool(self.labels[:-1]) and set(self.labels[:-1]) <= set(names.PHASES)

    @property
    def inferred(self) -> bool:
        """Whether the phases are inferred: no range of the report marks them."""
        return self.are_phases and bool(self.ranges.inferred.any())

    def inferred_labels(self, labels: list[str]) -> Int64:
        """Return 1 for each of some names of phases that is inferred, else 0, ``(L,)``."""
        return np.array([self.inferred and name in names.PHASES for name in labels], np.int64)

    def folded(self, most: int = MOST_LISTED) -> WorkPhases:
        """Return these phases with one, ``(N more ranges)``, in place of all but the first of many.

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


def phases_of_work(attribution: Attribution, *, warmup_counts: bool = False) -> WorkPhases:
    """Return the phase that each piece of a report's work belongs to.

    Args:
        attribution: the work, that in warm-up too.
        warmup_counts: whether warm-up ranges can stand in for phases, where there are none.
    """
    return attribution.once(_phases_of_work, warmup_counts)


def _phases_of_work(attribution: Attribution, warmup_counts: bool) -> WorkPhases:
    taken, notes = phase_ranges(attribution, warmup_counts=warmup_counts)
    if not warmup_counts and (rare := phases_of_warmup(attribution)):
        notes = (*notes, f"{' and '.join(rare)} ran in the warm-up only, which is left out")
    chosen = attribution.ranges.take(taken)
    place, by_caller = ranges_around(attribution.all_launches, chosen)
    in_none = (place == NONE) | by_caller
    place, by_caller = place[: len(attribution.work)], by_caller[: len(attribution.work)]
    placed = place != NONE
    counts = placed & (warmup_counts | ~attribution.work_in_warmup)
    labels, label = ordered_labels(attribution, chosen, place, counts)
    phase = np.full(len(place), len(labels), np.int64)
    phase[placed] = label[place[placed]]
    return WorkPhases([*labels, OTHER], phase, by_caller, in_none, chosen, taken, notes, label)


def phase_ranges(
    attribution: Attribution, *, warmup_counts: bool = False
) -> tuple[Bools, tuple[str, ...]]:
    """Return which ranges are phases, or which stand in for them; notes on what is not marked.

    Steps go before outermost ranges: those may be of autograd's thread, which works for a step.
    """
    ranges = attribution.ranges
    chosen = ranges.where(lambda name: name in names.PHASES)
    if chosen.any():
        return chosen, Marked.of(attribution.report).notes
    stepping = ranges.called(names.STEP)
    counts = np.ones(len(ranges), np.bool_) if warmup_counts else ~attribution.ranges_in_warmup
    if (stepping & counts).any():
        return stepping, (ONLY_STEPS,)
    return outermost(ranges) & counts, (NO_PHASES,)


def phases_of_warmup(attribution: Attribution) -> list[str]:
    """Return the phases that ran in the warm-up and at no other time, in the order they run."""
    ranges, warm = attribution.ranges, attribution.ranges_in_warmup
    found = [(phase, ranges.called(phase)) for phase in names.PHASES]
    return [phase for phase, chosen in found if chosen.any() and not (chosen & ~warm).any()]


def ordered_labels(
    attribution: Attribution, chosen: Ranges, place: Int64, counts: Bools
) -> tuple[list[str], Int64]:
    """Return the canonical names of ranges: phases as they run, others by their work's time.

    Args:
        attribution: the work.
        chosen: the ranges, ``R`` of them.
        place: ``(N,)`` the range that each piece of work is in, or `NONE`.
        counts: ``(N,)`` the work whose time counts.

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
        time_ns = attribution.work.duration_ns[counts]
        kernel = sums(label[place[counts]], time_ns, len(used))
        wall = sums(label, chosen.wall_ns, len(used))
        order = np.lexsort((np.arange(len(used)), -wall, -kernel)).tolist()
    position = np.empty(len(used), np.int64)
    position[order] = np.arange(len(used))
    return [used[one] for one in order], position[label]


def ranges_around(
    launches: Launches, chosen: Ranges, callable_: Bools | None = None
) -> tuple[Int64, Bools]:
    """Return the innermost range around each launch: on its own thread, else on its caller's.

    The caller's is the range that is open on another thread of the process when the launch begins:
    autograd's thread launches while the main thread waits in `backward`.

    Args:
        launches: ``N`` of them.
        chosen: the ranges that count.
        callable_: ``(N,)`` for which launches another thread's range may count; None for all.

    Returns:
        ``(N,)`` positions in ``chosen`` or `NONE`, and ``(N,)`` whether another thread decided.
    """
    around = range_intervals(chosen)
    own = innermost_of_any(around, launches)
    free = (own == NONE) & launches.known
    rows = np.flatnonzero(free if callable_ is None else free & callable_)
    instant = launches.start_ns[rows]
    caller = innermost_of_any(
        Intervals(chosen.process, around.start_ns, around.end_ns),
        Intervals(launches.process[rows], instant, instant),
    )
    own[rows] = caller
    by_caller = np.zeros(len(own), np.bool_)
    by_caller[rows] = caller != NONE
    return own, by_caller


def work_inside(attribution: Attribution, chosen: Bools) -> Bools:
    """Return which device work is inside some ranges: own, or by caller where no phase is own.

    A step and a warm-up have what any thread of their process launched meanwhile.

    Args:
        attribution: the work.
        chosen: ``(R,)`` which of all ranges.

    Returns:
        ``(M,)`` of all device work, copies too.
    """
    ranges, launches = attribution.ranges, attribution.all_launches
    of_process = chosen & of_whole_process(ranges)
    result = during_ranges(launches.start_ns, launches.process, ranges.take(of_process))
    others = chosen & ~of_process
    if others.any():
        in_none = phases_of_work(attribution).in_none
        result |= ranges_around(launches, ranges.take(others), in_none)[0] != NONE
    return result


def of_whole_process(ranges: Ranges) -> Bools:
    """Return ``(R,)`` which ranges are of all threads of their process: steps and warm-up."""
    return ranges.where(lambda name: name in (names.STEP, names.WARMUP))


def ranges_inside(attribution: Attribution, chosen: Bools) -> Bools:
    """Return which ranges are some ranges or inside them: own, or by caller where no phase is own.

    Autograd's thread opens its ranges while the main thread waits inside `backward`: they are
    inside that, where the whole of them is. A step and a warm-up have what any thread of their
    process opened meanwhile.

    Args:
        attribution: the ranges.
        chosen: ``(R,)`` which of all ranges.

    Returns:
        ``(R,)``.
    """
    ranges = attribution.ranges
    of_process = chosen & of_whole_process(ranges)
    during = during_ranges(ranges.start_ns, ranges.process, ranges.take(of_process))
    others = ranges.take(chosen & ~of_process)
    around, opened = range_intervals(others), range_intervals(ranges)
    place = innermost_of_any(around, opened)
    within = place != NONE
    # Of two ranges that last alike only their order tells which is inside: the parents below.
    within[within] = ranges.wall_ns[within] < others.wall_ns[place[within]]
    caller = innermost_of_any(
        Intervals(others.process, around.start_ns, around.end_ns),
        Intervals(ranges.process, opened.start_ns, opened.end_ns),
    )
    phases = range_intervals(ranges.take(phase_ranges(attribution)[0]))
    called = (caller != NONE) & (innermost_of_any(phases, opened) == NONE)
    result: Bools = (chosen | during | within | called) & ~ranges.elsewhere
    while True:
        # Ranges come after those around them, so a few rounds reach the bottom.
        further = result | ((attribution.parents != NONE) & result[attribution.parents])
        if np.array_equal(further, result):
            return result | chosen | during
        result = further
