"""The steps of a report: when each was open, and what was launched in it.

A step is a range called `step`, or what other people call one; a range of a training loop that
PyTorch's profiler was scheduled over (``ProfilerStep#7``) is one too. Where there is none, steps
are inferred from optimizers (`analysis.attribution.inferred`). Work belongs to the step that
was open in its process when it was launched, whichever thread launched it: autograd's has no
`step` range of its own. The first step of every process together is the first step, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.attribution.inferred import STEPS_NOTE
from analysis.show.errors import ReportError
from analysis.show.render import plural
from profiling import names

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.attribution.launches import Attribution
    from analysis.recorded.ranges import Ranges


@dataclass(frozen=True)
class Steps:
    """When each step was open in each process; no two of one process overlap.

    Attributes:
        process: ``(W,)`` process ids, ascending.
        start_ns: ``(W,)`` ascending within a process.
        end_ns: ``(W,)``, exclusive.
        number: ``(W,)`` which step it is, from 0.
        notes: what keeps the steps from being alike.
    """

    process: Int64
    start_ns: Int64
    end_ns: Int64
    number: Int64
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of steps, the processes' steps of one number taken as one."""
        return int(self.number.max(initial=-1)) + 1

    @property
    def wall_ns(self) -> Int64:
        """``(count,)`` how long each step was open, in the process where it took longest."""
        longest = np.zeros(self.count, np.int64)
        np.maximum.at(longest, self.number, self.end_ns - self.start_ns)
        return longest

    def numbered(self, wanted: range) -> Steps:
        """Return the steps in a range of numbers, numbered from 0 anew."""
        kept = (self.number >= wanted.start) & (self.number < wanted.stop)
        return Steps(
            self.process[kept],
            self.start_ns[kept],
            self.end_ns[kept],
            self.number[kept] - wanted.start,
            self.notes,
        )

    def times_of(self, process: int) -> tuple[Int64, Int64]:
        """Return the starts and ends of one process's steps."""
        mine = self.process == process
        return self.start_ns[mine], self.end_ns[mine]

    def at(self, instant_ns: Int64, process: Int64) -> Int64:
        """Return the step that was open in a process at an instant, or `NONE`.

        Args:
            instant_ns: ``(N,)``.
            process: ``(N,)`` process ids.

        >>> window = [np.array(each) for each in ([7, 7], [0, 10], [10, 15], [0, 1])]
        >>> Steps(*window).at(np.array([9, 10, 15, 3]), np.array([7, 7, 7, 8])).tolist()
        [0, 1, -1, -1]
        """
        found = np.full(len(instant_ns), NONE, np.int64)
        for one in np.unique(self.process).tolist():
            windows = np.flatnonzero(self.process == one)
            rows = np.flatnonzero(process == one)
            last = np.searchsorted(self.start_ns[windows], instant_ns[rows], side="right") - 1
            window = windows[last.clip(0)]
            inside = (last >= 0) & (instant_ns[rows] < self.end_ns[window])
            found[rows] = np.where(inside, self.number[window], NONE)
        return found


def steps_of_report(
    attribution: Attribution, *, warmup_counts: bool = False, eligible: Bools | None = None
) -> Steps | None:
    """Return the steps of a report, or None where no range is a step.

    Args:
        attribution: its ranges.
        eligible: ``(R,)`` which ranges can be a step; None for all.
        warmup_counts: whether steps inside a warm-up range count. Then a warm-up range without a
            step inside is a step of its own: our launcher opens one for each.
    """
    ranges = attribution.ranges
    stepping = ranges.called(names.STEP)
    if not warmup_counts:
        stepping &= ~attribution.ranges_in_warmup
    if eligible is not None:
        stepping &= eligible
    rows = disjoint_ranges(ranges, np.flatnonzero(stepping))
    overlapping = int(stepping.sum()) - len(rows)
    if not len(rows):
        return None
    if warmup_counts:
        warming = ranges.called(names.WARMUP)
        if eligible is not None:
            warming &= eligible
        warm = np.flatnonzero(warming)
        bare = warm[~ranges_holding(ranges, warm, rows)]
        rows = disjoint_ranges(ranges, np.concatenate([rows, bare]))
    notes = []
    if ranges.inferred[rows].any():
        notes.append(STEPS_NOTE)
    if overlapping:
        began = plural(overlapping, "step range")
        notes.append(f"{began} began inside another; the outer ones count")
    processes, begins, counts = np.unique(
        ranges.process[rows], return_index=True, return_counts=True
    )
    if len(set(counts.tolist())) > 1:
        notes.append(
            f"its processes have from {counts.min()} to {counts.max()} steps; a step is that of "
            f"the {len(processes)} processes together, so the last ones are not whole"
        )
    return Steps(
        process=ranges.process[rows],
        start_ns=ranges.start_ns[rows],
        end_ns=ranges.end_ns[rows],
        number=np.arange(len(rows)) - np.repeat(begins, counts),
        notes=tuple(notes),
    )


def warmup_steps(attribution: Attribution) -> int:
    """Return how many steps the warm-up of a report is, of the process with most.

    A warm-up range is as many steps as it holds, else as forward passes, else one. Of warm-up
    ranges inside one another the inner ones count.
    """
    ranges = attribution.ranges
    warm = np.flatnonzero(ranges.called(names.WARMUP))
    inside = [
        disjoint_ranges(ranges, np.flatnonzero(ranges.called(name)))
        for name in (names.STEP, names.FORWARD)
    ]
    most = 0
    for process in np.unique(ranges.process[warm]).tolist():
        mine = warm[ranges.process[warm] == process]
        begun = ranges.start_ns[mine]
        count = 0
        for row in mine.tolist():
            low, high = int(ranges.start_ns[row]), int(ranges.end_ns[row])
            holds_another = ((low < begun) & (begun < high)).any()
            held = (
                int(((low <= starts) & (starts < high)).sum())
                for rows in inside
                for starts in (ranges.start_ns[rows[ranges.process[rows] == process]],)
            )
            count += 0 if holds_another else next((number for number in held if number), 1)
        most = max(most, count)
    return most


def selected_steps(
    path: Path,
    known: Steps | None,
    bounds: tuple[int | None, int | None],
    *,
    of_some: bool = False,
) -> tuple[Steps, range]:
    """Return the steps of a report, and which of their numbers ``A:B`` selects.

    Args:
        path: of the report, for the message.
        known: its steps, warm-up left out.
        bounds: the first step, and the one after the last, as in a slice.
        of_some: whether the steps are those of some of its processes only.

    Raises:
        ReportError: there are no steps, or none of these.
    """
    if known is None:
        where = "in the processes asked for" if of_some else "in this report"
        raise ReportError(path, f"no step ranges {where}", "leave --steps out")
    wanted = range(known.count)[slice(*bounds)]
    if not len(wanted):
        problem = f"no such steps: there are {known.count}"
        raise ReportError(path, problem, "counted from 0, A:B")
    return known, wanted


def disjoint_ranges(ranges: Ranges, rows: Int64) -> Int64:
    """Return the positions of ranges that begin when no other of them is open in their process.

    Args:
        ranges: all of a report.
        rows: ``(N,)`` positions of those that count.

    Returns:
        Positions, ordered by process and start; of two that begin together the longer.
    """
    start, end, process = ranges.start_ns[rows], ranges.end_ns[rows], ranges.process[rows]
    order = np.lexsort((-end, start, process))
    kept = np.zeros(len(rows), np.bool_)
    for one in np.unique(process).tolist():
        of_it = order[process[order] == one]
        begins = start[of_it]
        place = 0
        while place < len(of_it):  # from step to step, of which there are few
            kept[of_it[place]] = True
            following = int(np.searchsorted(begins, end[of_it[place]], side="left"))
            place = max(following, place + 1)
    return rows[order[kept[order]]]


def ranges_holding(ranges: Ranges, outer: Int64, inner: Int64) -> Bools:
    """Return which outer ranges have an inner one begin inside them, in their process.

    Args:
        ranges: all of a report.
        outer: ``(N,)`` positions.
        inner: ``(M,)`` positions.
    """
    result = np.zeros(len(outer), np.bool_)
    for one in np.unique(ranges.process[outer]).tolist():
        rows = np.flatnonzero(ranges.process[outer] == one)
        begins = np.sort(ranges.start_ns[inner[ranges.process[inner] == one]])
        low = np.searchsorted(begins, ranges.start_ns[outer[rows]], side="left")
        high = np.searchsorted(begins, ranges.end_ns[outer[rows]], side="left")
        result[rows] = high > low
    return result
