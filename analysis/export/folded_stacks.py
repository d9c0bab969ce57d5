"""Folded stacks: a line for each chain of ranges and the work inside, with its time in nanoseconds.

    step;forward;attention;ampere_sgemm_128x64_tn 1234567

Flame graphs are drawn of these. The chain is that of the ranges around the launch, and where the
launching thread has no phase open, as autograd's, below it that of the thread that waits. The
lines add up to the time of the whole report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals, innermost, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.attribution.launches import Attribution, range_intervals
from analysis.attribution.work_phases import phase_ranges, ranges_around
from analysis.costs.device_peaks import DevicePeaks
from analysis.costs.lost_time import lost_times
from analysis.export.ranks import labels
from analysis.knowledge.vocabulary import clean
from analysis.measures.alignment import check_ranks
from analysis.show.errors import ReportError, one_line
from analysis.show.output import as_unicode
from analysis.show.render import duration, percent

if TYPE_CHECKING:
    from analysis.source.report import Report

BY: Final = ("kernel", "busy", "lost")
"""Times: the sum of kernels (on a CPU of operators' self time); the time in which a device did
anything; what work took longer than it could have at the peak of the device."""

NO_RANGE: Final = "(no range)"
"""The root of what was launched in no range."""

UNNAMED: Final = "(unnamed)"


@dataclass(frozen=True)
class FoldedStacks:
    """Stacks with their times.

    Attributes:
        time_ns: of each stack, by its text.
        notes: on what is in no stack, and why.
    """

    time_ns: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def total_ns(self) -> int:
        """The time of all stacks."""
        return sum(self.time_ns.values())

    def lines(self) -> list[str]:
        """Return a line for each stack, in alphabetical order."""
        return [f"{stack} {time}\n" for stack, time in sorted(self.time_ns.items())]


def folded_stacks(reports: Sequence[Report], by: str = BY[0]) -> FoldedStacks:
    """Return the stacks of reports; of several each has a root of its own.

    Args:
        reports: a rank each.
        by: one of `BY`.

    Raises:
        ReportError: one has no work, or no time of it is known to be lost; they are not of one
            run, a rank each.
    """
    check_ranks(reports)
    time_ns: Counter[str] = Counter()
    notes: list[str] = []
    for report, label in zip(reports, labels(reports), strict=True):
        found, about = _stacks(report, by)
        root = f"{frame(label)};" if label else ""
        time_ns.update({root + stack: time for stack, time in found.items()})
        notes += [f"{label}: {note}" if label else note for note in about]
    return FoldedStacks(dict(time_ns), tuple(notes))


def frame(name: str) -> str:
    r"""Return a name as one frame of a stack: it neither ends it nor the line.

    >>> frame("a;b"), frame("two\nlines"), frame(" ")
    ('a:b', 'two\\nlines', '(unnamed)')
    """
    return one_line(as_unicode(name)).replace(";", ":").strip() or UNNAMED


def _stacks(report: Report, by: str) -> tuple[dict[str, int], list[str]]:
    copies_count = by == "busy"
    attribution = (Attribution.of_any if copies_count else Attribution.of)(report)
    notes: list[str] = []
    if by == "lost":
        time_ns, notes = _lost(attribution)
    else:
        time_ns = _busy(attribution) if copies_count else attribution.work.duration_ns
    if not len(time_ns):
        raise ReportError(report.path, "no work in this report", "record with --trace=cuda,nvtx")
    names, name = _work_names(attribution)
    around, inside = _chains(attribution)
    count = len(time_ns)
    paths, path = _paths(attribution)
    columns = (np.append(path, NONE)[around[:count]], np.append(path, NONE)[inside[:count]])
    keys, group = np.unique(np.stack([*columns, name[:count]]), axis=1, return_inverse=True)
    total = sums(group.reshape(-1).astype(np.int64), time_ns, keys.shape[1])
    result: Counter[str] = Counter()
    for (outer, inner, work), time in zip(keys.T.tolist(), total.tolist(), strict=True):
        frames = [paths[place] for place in (outer, inner) if place != NONE]
        result[";".join([*(frames or [NO_RANGE]), names[work]])] += time
    return _above_zero(result, notes)


def _above_zero(stacks: Counter[str], notes: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the stacks with time: what was faster than its ideal lost less than nothing."""
    below = [time for time in stacks.values() if time < 0]
    if below:
        notes = [
            *notes,
            f"{len(below):,} stacks were faster than their ideal time, by {-sum(below):,} ns: a "
            "flame graph cannot show that; left out",
        ]
    return {stack: time for stack, time in stacks.items() if time > 0}, notes


def _work_names(attribution: Attribution) -> tuple[list[str], Int64]:
    """Return frames, and ``(M,)`` the position of each piece of work's, copies and sets too."""
    if attribution.work.on_cpu:
        return list(map(frame, attribution.work.names)), attribution.work.kind
    return list(map(frame, attribution.device.names)), attribution.device.name


def _chains(attribution: Attribution) -> tuple[Int64, Int64]:
    """Return ``(M,)`` the innermost ranges around all device work: its caller's, and its own."""
    ranges, launches = attribution.ranges, attribution.all_launches
    around = range_intervals(ranges)
    own = innermost(around, launches)
    phases = ranges.take(phase_ranges(attribution, warmup_counts=True)[0])
    place, by_caller = ranges_around(launches, phases)
    rows = np.flatnonzero(by_caller)
    caller = np.full(len(own), NONE, np.int64)
    begun = launches.start_ns[rows]
    caller[rows] = innermost(around, Intervals(phases.thread[place[rows]], begun, begun))
    return caller, own


def _paths(attribution: Attribution) -> tuple[list[str], Int64]:
    """Return the chains of names of ranges, and ``(R,)`` the position of each range's."""
    ranges = attribution.ranges
    names = [frame(clean(name)) for name in ranges.names]
    known: dict[tuple[int, str], int] = {}
    texts: list[str] = []
    path = [NONE] * len(ranges)
    rows = zip(ranges.name.tolist(), attribution.parents.tolist(), strict=True)
    for number, (name, parent) in enumerate(rows):  # one comes after those around it
        outer = path[parent] if parent != NONE else NONE
        place = known.setdefault((outer, names[name]), len(texts))
        if place == len(texts):
            texts.append(f"{texts[outer]};{names[name]}" if outer != NONE else names[name])
        path[number] = place
    return texts, np.array(path, np.int64)


def _busy(attribution: Attribution) -> Int64:
    """Return ``(M,)`` the time in which work kept its device busy; on a CPU, its process.

    What several pieces of work share is the last one's to begin, so that nothing counts twice.
    """
    if attribution.work.calls is not None:
        calls = attribution.work.calls
        start, end, where = calls.start_ns, calls.end_ns, calls.process
    else:
        done = attribution.device
        start, end = done.start_ns, done.end_ns
        _, where = np.unique(np.stack([done.process, done.device]), axis=1, return_inverse=True)
        where = where.reshape(-1)
    result = np.zeros(len(start), np.int64)
    for number in np.unique(where).tolist():
        mine = np.flatnonzero(where == number)
        begin, finish = start[mine], end[mine]
        bounds = np.unique(np.append(begin, finish))
        zeros = np.zeros(len(mine), np.int64)
        pieces = Intervals(np.zeros(len(bounds) - 1, np.int64), bounds[:-1], bounds[1:])
        owner = innermost_of_any(Intervals(zeros, begin, finish), pieces)
        busy = owner != NONE
        result[mine] = sums(owner[busy], np.diff(bounds)[busy], len(mine))
    return result


def _lost(attribution: Attribution) -> tuple[Int64, list[str]]:
    """Return ``(N,)`` the time that work lost, 0 where no ideal time is known, and a note on that.

    Raises:
        ReportError: no ideal time is known.
    """
    report, work = attribution.report, attribution.work
    if not DevicePeaks.of(report, work).known:
        problem = "the peak of this device is not known, and so no lost time"
        raise ReportError(report.path, problem, "ask --by kernel")
    lost = lost_times(attribution)
    known = ~np.isnan(lost)
    if not known.any():
        problem = "no work in this report whose FLOPs or bytes are known, and so no lost time"
        raise ReportError(report.path, problem, "record with shapes, or ask --by kernel")
    unknown = int(work.duration_ns[~known].sum())
    share = percent(unknown / max(int(work.duration_ns.sum()), 1))
    note = f"{duration(unknown)}, {share} of {work.source} time, is not modelled: in no stack"
    return np.where(known, lost, 0).astype(np.int64), [note] if unknown else []
