"""The part of a report that counts: which work, ranges, steps and instants a selection keeps.

Where a report marks warm-up, or a slow first step is inferred to be that, it is left out unless
asked for. What was launched during a warm-up
range of its process, on whichever thread, is warm-up, and so is a range that began then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.attribution import named_ranges, steps, work_phases
from analysis.attribution.inferred import STEP_GLOBS, Marked, marked_ranges
from analysis.attribution.launches import Attribution, during_ranges
from analysis.attribution.nearby import ranges_near
from analysis.attribution.selection import EXCLUDE_NOTHING, Selection
from analysis.recorded.device_work import device_work, has_read_device_work
from analysis.recorded.ranges import all_ranges
from analysis.recorded.work import NO_WORK, check_known, has_device_work, ranked_work_quickly
from analysis.show.errors import ReportError
from analysis.show.render import duration, percent
from analysis.source import tables
from analysis.source.column_cache import LARGE_BYTES
from analysis.source.readers.stretch import Stretch
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.steps import Steps
    from analysis.recorded.ranges import Ranges
    from analysis.recorded.work import Work
    from analysis.source.report import Report


@dataclass(frozen=True)
class Selected:
    """The part of a report that counts, by a `Selection`.

    Attributes:
        attribution: all work of the report beside its ranges.
        selection: what was asked for.
    """

    attribution: Attribution
    selection: Selection

    @classmethod
    def of(cls, report: Report, asked: Selection) -> Selected:
        """Return the part of a report with kernels or operators that counts.

        Raises:
            ReportError: it holds neither kernels nor operators, or no such range, step, device or
                process.
        """
        return cls(Attribution.of(report), asked)._checked()

    @classmethod
    def of_work(cls, report: Report, asked: Selection) -> Selected:
        """Return the same for an answer that depends on what counts alone, not on what is around.

        Of a large report only the steps and the process that are asked for are read.

        Raises:
            ReportError: as `of`.
        """
        return cls.of(narrowed(report, asked), asked)

    @classmethod
    def of_any(cls, report: Report, asked: Selection) -> Selected:
        """Return the part that counts of a report that need not hold kernels or operators.

        Raises:
            ReportError: there is no such range, step, device or process.
        """
        return cls(Attribution.of_any(report), asked)._checked()

    @classmethod
    def of_devices(cls, report: Report, asked: Selection) -> Selected:
        """Return the part that counts of what GPUs did, copies and sets alone included.

        Raises:
            ReportError: there is no such range, step, device or process.
        """
        return cls(Attribution.of_devices(report), asked)._checked()

    def _checked(self) -> Selected:
        report, asked = self.attribution.report, self.selection
        if asked.device is not None and self.attribution.work.on_cpu:
            problem = f"no device {asked.device}: a CPU run"
            raise ReportError(report.path, problem, "leave --device out")
        if asked.device is not None:
            check_known(
                report, "device", asked.device, distinct_known(self.attribution.device.device)
            )
        if asked.process is not None:
            ranges = np.unique(self.attribution.ranges.process)
            known = distinct_known(self._process) | distinct_known(ranges)
            check_known(report, "process", asked.process, known)
        self.excluded, self._chosen_steps  # noqa: B018  (raise where there are none)
        return self

    @property
    def everything(self) -> Selected:
        """The whole of the same report, warm-up too."""
        return Selected(self.attribution, Selection(exclude=(EXCLUDE_NOTHING,)))

    def without(self, what: str) -> ReportError:
        """Return the error of a question about what the report has and the selection leaves out."""
        problem = f"no {what} in the part that counts"
        return ReportError(
            self.attribution.report.path, problem, "leave out less, or --exclude none"
        )

    @cached_property
    def excluded(self) -> tuple[tuple[str, Bools], ...]:
        """The names of ranges left out besides warm-up, with ``(R,)`` which ranges have each."""
        attribution = self.attribution
        return tuple(
            (name, named_ranges.ranges_left_out(attribution.report.path, attribution.ranges, name))
            for name in dict.fromkeys(self.selection.exclude)
            if name != EXCLUDE_NOTHING
        )

    @property
    def any_excluded(self) -> Bools:
        """``(R,)`` which ranges are left out by name, besides warm-up."""
        found = np.zeros(len(self.attribution.ranges), np.bool_)
        for _, chosen in self.excluded:
            found |= chosen
        return found

    @cached_property
    def excluded_names(self) -> tuple[str, ...]:
        """The names of ranges left out besides warm-up that there are."""
        return tuple(
            name for name, chosen in self.excluded if chosen.any() and not self._is_warmup(chosen)
        )

    @cached_property
    def warmup_counts(self) -> bool:
        """Whether warm-up counts as any other part of the report does."""
        return EXCLUDE_NOTHING in self.selection.exclude and not any(
            self._is_warmup(chosen) for _, chosen in self.excluded
        )

    def _is_warmup(self, chosen: Bools) -> bool:
        return named_ranges.all_called(self.attribution.ranges, chosen, names.WARMUP)

    @property
    def leaves_warmup_out(self) -> bool:
        """Whether the report marks warm-up and the selection leaves it out."""
        return bool(len(self.attribution.warmup)) and not self.warmup_counts

    @cached_property
    def all_work(self) -> Bools:
        """``(M,)`` which device work counts, copies and sets too; on a CPU which operators."""
        kept = self._before_exclusion
        for _, inside in self._excluded_work:
            kept = kept & ~inside
        return kept

    @cached_property
    def of_place(self) -> Bools:
        """``(M,)`` which device work is of the device and the process that are asked for."""
        kept = np.ones(len(self.attribution.all_launches), np.bool_)
        if self.selection.device is not None:
            kept &= self.attribution.device.device == self.selection.device
        if self.selection.process is not None:
            kept &= self._process == self.selection.process
        return kept

    @cached_property
    def _in_steps(self) -> Bools:
        """``(M,)`` which device work of the place was launched in the steps that are asked for."""
        if self._chosen_steps is None:
            return self.of_place
        launches = self.attribution.all_launches
        return self.of_place & self._in_chosen_steps(launches.start_ns, launches.process)

    @property
    def _before_exclusion(self) -> Bools:
        """``(M,)`` which device work would count, were no range named that is to be left out."""
        if not self.leaves_warmup_out:
            return self._in_steps
        return self._in_steps & ~self.attribution.all_in_warmup

    @cached_property
    def _excluded_work(self) -> tuple[tuple[str, Bools], ...]:
        """The names left out besides warm-up, with ``(M,)`` which device work each holds."""
        return tuple(
            (name, work_phases.work_inside(self.attribution, chosen))
            for name, chosen in self.excluded
        )

    @property
    def work(self) -> Bools:
        """``(N,)`` which ranked work counts: kernels and graph replays, or operators."""
        return self.all_work[: len(self.attribution.work)]

    @cached_property
    def counted_work(self) -> Work:
        """The ranked work that counts."""
        return self.attribution.work.take(self.work)

    @cached_property
    def ranges(self) -> Bools:
        """``(R,)`` which ranges count.

        With a device, those of processes that used it; with steps, those that began in one of them.
        """
        attribution = self.attribution
        ranges = attribution.ranges
        kept = np.ones(len(ranges), np.bool_)
        if self.leaves_warmup_out:
            kept &= ~attribution.ranges_in_warmup
        for _, chosen in self.excluded:
            kept &= ~work_phases.ranges_inside(attribution, chosen)
        if self._chosen_steps is not None:
            kept &= self._in_chosen_steps(ranges.start_ns, ranges.process)
        if self._processes is not None:
            kept &= np.isin(ranges.process, self._processes)
        return kept

    @cached_property
    def _processes(self) -> Int64 | None:
        """The processes that count: the one asked for, those that used the device; None for all."""
        asked = self.selection
        found = None if asked.process is None else np.array([asked.process], np.int64)
        if asked.device is not None:
            done = self.attribution.device
            used = np.unique(done.process[done.device == asked.device])
            found = used if found is None else np.intersect1d(found, used)
        return found

    @property
    def _process(self) -> Int64:
        """``(M,)`` the process of all work."""
        calls = self.attribution.work.calls
        return calls.process if calls is not None else self.attribution.device.process

    def during(self, instant_ns: Int64, process: Int64) -> Bools:
        """Return ``(T,)`` which instants of some processes lie in the part that counts."""
        kept = ~self.left_out_at(instant_ns, process)
        if self._chosen_steps is not None:
            kept &= self._in_chosen_steps(instant_ns, process)
        if self._processes is not None:
            kept &= np.isin(process, self._processes)
        return kept

    @cached_property
    def left_out_work(self) -> Bools:
        """``(M,)`` which device work is left out by the range it is in: warm-up, or one named."""
        result = np.zeros(len(self.attribution.all_launches), np.bool_)
        for _, inside in self._excluded_work:
            result |= inside
        return result | self.attribution.all_in_warmup if self.leaves_warmup_out else result

    @cached_property
    def left_out_ranges(self) -> Ranges:
        """The ranges that are left out with all inside them: warm-up, and those that are named."""
        ranges = self.attribution.ranges
        kept = ranges.called(names.WARMUP) & self.leaves_warmup_out
        for _, chosen in self.excluded:
            kept |= chosen
        return ranges.take(kept)

    def left_out_at(self, instant_ns: Int64, process: Int64) -> Bools:
        """Return ``(T,)`` which instants lie in a range of their process that is left out."""
        return during_ranges(instant_ns, process, self.left_out_ranges)

    @cached_property
    def steps(self) -> Steps | None:
        """The steps that count, numbered from 0; None where there are none.

        Where some are asked for, those; else those whose ranges count.
        Where warm-up counts, a warm-up range without a step inside is a step too: our launcher
        opens one for each.
        """
        if self._chosen_steps is not None:
            known, wanted = self._chosen_steps
            return known.numbered(wanted)
        return steps.steps_of_report(
            self.attribution, warmup_counts=self.warmup_counts, eligible=self.ranges
        )

    @cached_property
    def _chosen_steps(self) -> tuple[Steps, range] | None:
        """The steps there are, and which numbers are asked for; None where none are."""
        if self.selection.steps is None:
            return None
        attribution, processes = self.attribution, self._processes
        mine = None if processes is None else np.isin(attribution.ranges.process, processes)
        known = steps.steps_of_report(attribution, eligible=mine)
        return steps.selected_steps(
            attribution.report.path, known, self.selection.steps, of_some=mine is not None
        )

    def _in_chosen_steps(self, instant_ns: Int64, process: Int64) -> Bools:
        assert self._chosen_steps is not None, "no steps were asked for"
        known, wanted = self._chosen_steps
        number = known.at(instant_ns, process)
        chosen: Bools = (number >= wanted.start) & (number < wanted.stop)
        return chosen

    @cached_property
    def heading_lines(self) -> tuple[str, ...]:
        """The lines of a heading on the part that counts: how much was left out, and why."""
        return (*self.warmup_lines, *self.other_lines)

    @property
    def warmup_lines(self) -> tuple[str, ...]:
        """A line on how much of the work was warm-up, where the report marks any."""
        attribution = self.attribution
        if not len(attribution.warmup):
            return ()
        warm = attribution.all_in_warmup
        if self._chosen_steps is not None and not (warm & self._in_steps).any():
            return ()  # few steps have a warm-up inside
        what = "left out" if self.leaves_warmup_out else "included"
        what += self.why_warmup
        if not self._told_ns.any():
            return (f"warm-up: {what}",)
        time, share = self._time_and_share(warm, self._in_steps)
        return (f"{time}, {share}, was warm-up: {what}",)

    @property
    def why_warmup(self) -> str:
        """In words why the first step is warm-up, where the report marks none; else ""."""
        slower = Marked.of(self.attribution.report).slower
        if not slower:
            return ""
        return f" (inferred: the first step took {slower:.1f} times the others' median)"

    @property
    def place_lines(self) -> tuple[str, ...]:
        """Lines on the steps, device and process asked for, and on a warm-up that is not there."""
        nothing = any(not chosen.any() for _, chosen in self.excluded)
        places = []
        if self._chosen_steps is not None:
            known, wanted = self._chosen_steps
            last = f" to {wanted.stop - 1}" if len(wanted) > 1 else ""
            steps_asked = f"step{'s' if last else ''} {wanted.start}{last}"
            places.append(f"{steps_asked} of {known.count}")
        if self.selection.device is not None:
            places.append(f"device {self.selection.device}")
        if self.selection.process is not None:
            places.append(f"process {self.selection.process}")
        return (
            *([named_ranges.NO_WARMUP] if nothing else []),
            *([f"only {', '.join(places)}"] if places else []),
        )

    @property
    def other_lines(self) -> tuple[str, ...]:
        """Lines on what was left out or asked for besides warm-up.

        Each name has what it takes of what the ones before it left.
        """
        lines = []
        kept = self._before_exclusion
        for name, inside in self._excluded_work:
            if name in self.excluded_names:
                time, share = self._time_and_share(kept & inside, self._in_steps)
                lines.append(f"{name} left out" + (f": {time}, {share}" if time else ""))
                kept = kept & ~inside
        return (*lines, *self.place_lines)

    @cached_property
    def _told_ns(self) -> Int64:
        """``(M,)`` the time of the work that headings speak of: ranked, else copies and sets."""
        work = self.attribution.work
        if work.on_cpu:
            return work.duration_ns
        done = self.attribution.device
        return np.where(np.arange(len(done)) < (len(work) or len(done)), done.duration_ns, 0)

    def _time_and_share(self, some: Bools, of: Bools) -> tuple[str, str]:
        """Return in words how long some work took and its share of other work; "" without any."""
        if not self._told_ns.any():
            return "", ""
        time, whole = (int(self._told_ns[rows].sum()) for rows in (some & of, of))
        what = "work" if len(self.attribution.work) else "copies and sets"
        return duration(time), f"{percent(time / max(whole, 1))} of the {what}"


def narrowed(report: Report, asked: Selection) -> Report:
    """Return a large report with the calls, the work and the ranges alone of what it is asked for.

    That is some steps, a process, or both. The whole report is returned where nothing is to be
    gained: none of these is asked for, it is small, or its work was read already, perhaps to infer
    from it which steps there are.
    """
    everything = asked.steps is None and asked.process is None
    by_device = asked.device is not None  # which looks at all work
    small = report.opened.state.size < LARGE_BYTES
    if everything or by_device or small or not has_device_work(report):
        return report
    marked = Selected(Attribution(report, NO_WORK), asked)
    try:
        more, steps_asked = marked.any_excluded, marked.steps
    except ReportError:
        return report  # of which it is said what is wrong first
    lacks_steps = steps_asked is None and asked.steps is not None
    if lacks_steps or has_read_device_work(report):
        return report
    stretch = Stretch(process=asked.process)
    if steps_asked is not None and asked.steps is not None:
        begins, ends = int(steps_asked.start_ns.min()), int(steps_asked.end_ns.max())
        stretch = replace(stretch, start_ns=begins, end_ns=ends)
    near = ranges_near(Marked.of(report), stretch, more)
    narrow = report.narrowed(stretch, {marked_ranges: near, all_ranges: near.ranges})
    return narrow if len(device_work(narrow)) else report


def distinct_known(numbers: Int64) -> set[int]:
    """Return the distinct numbers that are not `tables.MISSING`."""
    return set(np.unique(numbers).tolist()) - {tables.MISSING}


def selected_work(
    report: Report, within_range: str | None, asked: Selection
) -> tuple[Work, tuple[str, ...]]:
    """Return the ranked work that counts, and the lines of a heading on it.

    Where nothing is to be left out, only the names and times of kernels are read.

    Args:
        report: what was recorded.
        within_range: a range, by name or glob, that the work must be inside of; or None.
        asked: what counts.

    Raises:
        ReportError: there is no such range, step, device or process, or no work at all.
    """
    plain = within_range is None and asked.is_plain
    if plain and not tables.has_range(report, named_ranges.WARMUP_NAMES, STEP_GLOBS):
        return ranked_work_quickly(report), ()
    chosen, kept, lines = selected_rows(report, within_range, asked)
    return chosen.attribution.work.take(kept), lines


def selected_rows(
    report: Report, within_range: str | None, asked: Selection
) -> tuple[Selected, Bools, tuple[str, ...]]:
    """Return the part of a report that counts, ``(N,)`` which ranked work does, and heading lines.

    Args and errors are those of `selected_work`.
    """
    chosen = Selected.of_work(report, asked)
    kept = chosen.work
    lines: tuple[str, ...] = ()
    if within_range is not None:
        attribution = chosen.attribution
        wanted = named_ranges.ranges_named(report.path, attribution.ranges, within_range)
        kept = kept & work_phases.work_inside(attribution, wanted)[: len(kept)]
        if attribution.ranges.inferred[wanted].any():
            lines = (f"{within_range} is inferred: no range marks it",)
    return chosen, kept, (*lines, *chosen.heading_lines)
