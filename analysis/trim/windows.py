"""The stretches of a report that are kept: steps, instances of a range, or a window of time.

A stretch is that of a process, `ANY` for all of them, and half open, as the steps of
`analysis.kernels --steps` are: what begins at its very end belongs to what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.intervals import NONE
from analysis.attribution import steps
from analysis.attribution.launches import Attribution
from analysis.knowledge.vocabulary import matching
from analysis.recorded.work import NO_WORK
from analysis.show.called import called
from analysis.show.errors import ReportError
from analysis.show.render import visible
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report

Bounds = tuple[int | None, int | None]
Row = tuple[int, int, int]

ANY: Final = -1
"""Stands for every process."""

LATEST_NS: Final = (1 << 63) - 1


@dataclass(frozen=True)
class Windows:
    """The stretches of time of a report that are kept.

    Attributes:
        process: ``(W,)`` process ids, or `ANY`.
        start_ns: ``(W,)``.
        end_ns: ``(W,)``, exclusive.
        number: ``(W,)`` which step or instance each is, from 0; `NONE` of warm-up.
        what: what they are, ``step`` or the like.
        count: how many of those the report has.
        strays: ``(process, start, end)`` of step ranges that reach into a stretch and are none of
            the steps, because they began inside another one: kept, they would be taken for one.
    """

    process: Int64
    start_ns: Int64
    end_ns: Int64
    number: Int64
    what: str
    count: int
    strays: tuple[Row, ...] = ()

    @property
    def numbers(self) -> list[int]:
        """The numbers of the steps or instances, ascending."""
        return sorted(set(self.number[self.number != NONE].tolist()))

    def last(self, count: int) -> Self:
        """Return only the last of the steps, with the warm-up that is kept."""
        kept = np.isin(self.number, [NONE, *self.numbers[-count:]])
        fields = ("process", "start_ns", "end_ns", "number")
        return replace(self, **{field: getattr(self, field)[kept] for field in fields})

    def joined(self) -> list[Row]:
        """Return ``(process, start, end)``, disjoint in each process, and all under `ANY`."""
        rows = zip(self.process.tolist(), self.start_ns.tolist(), self.end_ns.tolist(), strict=True)
        listed = list(rows)
        return merged([*listed, *((ANY, start, end) for _, start, end in listed)])

    def describe(self) -> str:
        """Return in words what part of the report is kept."""
        numbers = self.numbers
        if bool((self.process == ANY).any()):
            words = self.what
        elif self.count == 1:
            words = f"the only {self.what}"
        elif len(numbers) == 1:
            words = f"{self.what} {numbers[0]} of {self.count:,}, counted from 0"
        else:
            words = f"{self.what}s {numbers[0]} to {numbers[-1]} of {self.count:,}, counted from 0"
        return words + (", and warm-up" if bool((self.number == NONE).any()) else "")


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
    process, start, end, number = (np.array([one], np.int64) for one in (ANY, low, high, 0))
    what = f"what was going on between {low:,} ns and {upto}"
    return Windows(process, start, end, number, what, count=1)


def step_windows(report: Report, asked: Bounds | None, *, every: bool = False) -> Windows:
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
    made = Windows(
        known.process[kept],
        known.start_ns[kept],
        known.end_ns[kept],
        known.number[kept],
        names.STEP,
        known.count,
    )
    return replace(made, strays=stray_steps(found, made))


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


def stray_steps(attribution: Attribution, made: Windows) -> tuple[Row, ...]:
    """Return the step ranges that reach into a stretch from before it; see `Windows.strays`."""
    ranges = attribution.ranges
    stepping = np.flatnonzero(ranges.called(names.STEP))
    rows: list[Row] = []
    for process, begin, _ in made.joined():
        start, end = ranges.start_ns[stepping], ranges.end_ns[stepping]
        reach = (start < begin) & (end > begin) & (ranges.process[stepping] == process)
        rows += [
            (process, low, high)
            for low, high in zip(start[reach].tolist(), end[reach].tolist(), strict=True)
        ]
    return tuple(sorted(set(rows)))


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
    there = {ranges.names[number] for number in np.unique(ranges.name).tolist()}
    fitting = matching(there, wanted)
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
    rows, number = rows[number == instance], number[number == instance]
    what = f"instance of {visible(wanted)!r}"
    return Windows(
        ranges.process[rows], ranges.start_ns[rows], ranges.end_ns[rows], number, what, count
    )


def with_warmup(report: Report, chosen: Windows) -> Windows:
    """Return the chosen stretches together with the report's warm-up ranges."""
    warm = ranges_alone(report).warmup
    return replace(
        chosen,
        process=np.append(chosen.process, warm.process),
        start_ns=np.append(chosen.start_ns, warm.start_ns),
        end_ns=np.append(chosen.end_ns, warm.end_ns),
        number=np.append(chosen.number, np.full(len(warm), NONE, np.int64)),
    )
