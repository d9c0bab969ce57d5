"""The stretches of a report that are kept: steps, instances of a range, or a window of time.

A stretch is that of a process, `ANY` for all of them, and half open, as the steps of
`analysis.kernels --steps` are: what begins at its very end belongs to what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.attribution import steps
from analysis.attribution.launches import Attribution
from analysis.attribution.selection import StepBounds
from analysis.knowledge.vocabulary import matching
from analysis.recorded.work import NO_WORK
from analysis.show.called import called
from analysis.show.errors import ReportError
from analysis.show.sheet import visible
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

Row = tuple[int, int, int]

ANY: Final = -1
"""Stands for every process."""

LATEST_NS: Final = (1 << 63) - 1


class Window(NamedTuple):
    """One stretch of time of a process, or of `ANY`; which step or instance, `NONE` of warm-up."""

    process: int
    start_ns: int
    end_ns: int
    number: int


@dataclass(frozen=True)
class Windows:
    """The stretches of time of a report that are kept.

    Attributes:
        listed: each of them.
        what: what they are, ``step`` or the like.
        count: how many of those the report has.
        strays: ``(process, start, end)`` of step ranges that reach into a stretch and are none of
            the steps, because they began inside another one: kept, they would be taken for one.
    """

    listed: tuple[Window, ...]
    what: str
    count: int
    strays: tuple[Row, ...] = ()

    @property
    def numbers(self) -> list[int]:
        """The numbers of the steps or instances, ascending."""
        return sorted({each.number for each in self.listed} - {NONE})

    @property
    def for_all(self) -> bool:
        """Whether they hold for every process."""
        return any(each.process == ANY for each in self.listed)

    def last(self, count: int) -> Self:
        """Return only the last of the steps, with the warm-up that is kept."""
        kept = {NONE, *self.numbers[-count:]}
        return replace(self, listed=tuple(each for each in self.listed if each.number in kept))

    def joined(self) -> list[Row]:
        """Return ``(process, start, end)``, disjoint in each process, and all under `ANY`."""
        owners = ((each, process) for each in self.listed for process in (each.process, ANY))
        return merged([(process, each.start_ns, each.end_ns) for each, process in owners])

    def describe(self) -> str:
        """Return in words what part of the report is kept."""
        numbers = self.numbers
        if self.for_all:
            words = self.what
        elif self.count == 1:
            words = f"the only {self.what}"
        elif len(numbers) == 1:
            words = f"{self.what} {numbers[0]} of {self.count:,}, counted from 0"
        else:
            words = f"{self.what}s {numbers[0]} to {numbers[-1]} of {self.count:,}, counted from 0"
        return words + (", and warm-up" if any(each.number == NONE for each in self.listed) else "")


def windows_of(*columns: Int64) -> tuple[Window, ...]:
    """Return stretches from columns: processes, starts, ends, numbers."""
    return tuple(map(Window, *(column.tolist() for column in columns)))


def merged(rows: list[Row]) -> list[Row]:
    """Return the union of stretches of time, process by process.

    >>> merged([(7, 4, 9), (7, 0, 5), (8, 0, 1), (7, 9, 9)])
    [(7, 0, 9), (8, 0, 1)]
    """
    found: list[Row] = []
    for process, start, end in sorted(row for row in rows if row[1] < row[2]):
        if found and found[-1][0] == process and start <= found[-1][2]:
            found[-1] = (process, found[-1][1], max(found[-1][2], end))
        else:
            found.append((process, start, end))
    return found


def time_window(start_ns: int | None, end_ns: int | None) -> Windows:
    """Return one window of time, for all processes."""
    low, high = start_ns or 0, LATEST_NS if end_ns is None else end_ns
    upto = "the end" if end_ns is None else f"{high:,} ns"
    what = f"what was going on between {low:,} ns and {upto}"
    return Windows((Window(ANY, low, high, 0),), what, count=1)


def step_windows(report: Report, asked: StepBounds | None, *, every: bool = False) -> Windows:
    """Return the steps that are asked for as stretches, warm-up not among them.

    Args:
        report: whose.
        asked: as in a slice; None for the last that is whole.
        every: where nothing is asked for, all of them.

    Raises:
        ReportError: there are no steps, or none of these.
    """
    found = ranges_alone(report)
    known = steps.steps_of_report(found)
    if known is None and asked is None:
        remedy = "name a range with --within RANGE, or a time with --from-ns and --to-ns"
        raise ReportError(report.path, "no step ranges in this report", remedy)
    if known is None or asked is not None:
        known, wanted = steps.selected_steps(report.path, known, asked or (None, None))
    else:
        last = whole_steps(found.ranges, known)
        wanted = range(0 if every else last - 1, last)
    kept = (known.number >= wanted.start) & (known.number < wanted.stop)
    columns = (known.process, known.start_ns, known.end_ns, known.number)
    made = Windows(windows_of(*(column[kept] for column in columns)), names.STEP, known.count)
    return replace(made, strays=tuple(sorted(set(stray_steps(found.ranges, made)))))


def ranges_alone(report: Report) -> Attribution:
    """Return the ranges of a report, without its work: it may hold none at all."""
    return Attribution(report, NO_WORK)


def whole_steps(ranges: Ranges, known: steps.Steps) -> int:
    """Return how many steps every process has, less the last where the recording cut it off."""
    counts = np.unique(known.process, return_counts=True)[1]
    count = int(counts.min())
    cut_off = known.end_ns == ranges.end_ns.max()  # a range that was never closed ends last
    if ranges.unclosed and count > 1 and bool((cut_off & (known.number == count - 1)).any()):
        count -= 1
    return count


def stray_steps(ranges: Ranges, made: Windows) -> Iterator[Row]:
    """Yield the step ranges that reach into a stretch from before it; see `Windows.strays`."""
    stepping = ranges.take(ranges.called(names.STEP))
    for process, begin, _ in made.joined():
        start, end = stepping.start_ns, stepping.end_ns
        reach = (start < begin) & (end > begin) & (stepping.process == process)
        for low, high in zip(start[reach].tolist(), end[reach].tolist(), strict=True):
            yield process, low, high


def range_windows(report: Report, wanted: str, instance: int) -> Windows:
    """Return one instance of a range as a stretch, in every process that has it.

    Instances in warm-up count only where there is no other.

    Args:
        report: whose.
        wanted: its name, another spelling of it, or a glob.
        instance: which, from 0, in order of time in each process.

    Raises:
        ReportError: there is no such range, or not so many.
    """
    found = ranges_alone(report)
    ranges = found.ranges
    fitting = matching(ranges.names, wanted)
    if not fitting:
        remedy = f"list them with: {called('analysis.ranges', str(report.path))}"
        raise ReportError(report.path, f"no NVTX range is called {wanted!r}", remedy)
    named = np.array([name in fitting for name in ranges.names], np.bool_)[ranges.name]
    if bool((named & ~found.ranges_in_warmup).any()):
        named &= ~found.ranges_in_warmup
    rows = steps.disjoint_ranges(ranges, np.flatnonzero(named))
    _, begins, counts = np.unique(ranges.process[rows], return_index=True, return_counts=True)
    number = np.arange(len(rows)) - np.repeat(begins, counts)
    count = int(counts.max())
    if instance >= count:
        problem = f"no instance {instance} of {wanted!r}: there are {count}"
        raise ReportError(report.path, problem, "counted from 0 in each process, outer ones only")
    rows = rows[number == instance]
    columns = (ranges.process[rows], ranges.start_ns[rows], ranges.end_ns[rows])
    what = f"instance of {visible(wanted)!r}"
    return Windows(windows_of(*columns, np.full(len(rows), instance)), what, count)


def with_warmup(report: Report, chosen: Windows) -> Windows:
    """Return the chosen stretches together with the report's warm-up ranges."""
    warm = ranges_alone(report).warmup
    of_none = np.full(len(warm), NONE)
    more = windows_of(warm.process, warm.start_ns, warm.end_ns, of_none)
    return replace(chosen, listed=(*chosen.listed, *more))
