"""The part of a report that counts: which work, ranges, steps and instants a selection keeps.

Where a report marks warm-up, that is left out unless asked for. What was launched during a warm-up
range of its process, on whichever thread, is warm-up, and so is a range that began then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE, parents
from analysis.attribution import named_ranges, steps, work_phases
from analysis.attribution.launches import Attribution, during_ranges
from analysis.attribution.selection import EXCLUDE_NOTHING, Selection
from analysis.recorded.work import check_known, ranked_work_quickly
from analysis.show.errors import ReportError
from analysis.show.render import duration, percent
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.attribution.steps import Steps
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
        if asked.steps is not None:
            self._chosen_steps  # noqa: B018  (raises where there are none)
        return self

    @cached_property
    def excluded(self) -> tuple[tuple[str, Bools], ...]:
        """The names of ranges left out besides warm-up, with ``(R,)`` which ranges have each."""
        path, ranges = self.attribution.report.path, self.attribution.ranges
        return tuple(
            (name, named_ranges.ranges_left_out(path, ranges, name))
            for name in self.selection.exclude
            if name != EXCLUDE_NOTHING
        )

    @property
    def leaves_warmup_out(self) -> bool:
        """Whether the report marks warm-up and the selection leaves it out."""
        return bool(len(self.attribution.warmup)) and not self.selection.warmup_counts

    @cached_property
    def all_work(self) -> Bools:
        """``(M,)`` which device work counts, copies and sets too; on a CPU which operators."""
        attribution, asked = self.attribution, self.selection
        kept = np.ones(len(attribution.all_launches), np.bool_)
        if self.leaves_warmup_out:
            kept &= ~attribution.all_in_warmup
        for _, chosen in self.excluded:
            kept &= ~work_phases.work_inside(attribution, chosen)
        if asked.steps is not None:
            launches = attribution.all_launches
            kept &= self._in_chosen_steps(launches.start_ns, launches.process)
        if asked.device is not None:
            kept &= attribution.device.device == asked.device
        if asked.process is not None:
            kept &= self._process == asked.process
        return kept

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
        attribution, asked = self.attribution, self.selection
        ranges = attribution.ranges
        kept = np.ones(len(ranges), np.bool_)
        if self.leaves_warmup_out:
            kept &= ~attribution.ranges_in_warmup
        for _, chosen in self.excluded:
            kept &= ~self._inside(chosen)
        if asked.steps is not None:
            kept &= self._in_chosen_steps(ranges.start_ns, ranges.process)
        if asked.process is not None:
            kept &= ranges.process == asked.process
        if asked.device is not None:
            kept &= np.isin(ranges.process, self._processes_of_device)
        return kept

    @cached_property
    def _processes_of_device(self) -> Int64:
        """The processes that launched work on the device that is asked for."""
        done = self.attribution.device
        return np.unique(done.process[done.device == self.selection.device])

    def _inside(self, chosen: Bools) -> Bools:
        """Return ``(R,)`` some ranges and all inside them, on any thread for warm-up."""
        ranges = self.attribution.ranges
        if named_ranges.all_called(ranges, chosen, names.WARMUP):
            return self.attribution.ranges_in_warmup
        result = chosen
        while True:
            # Ranges come after those around them, so a few rounds reach the bottom.
            further = result | ((self.parents != NONE) & result[self.parents])
            if np.array_equal(further, result):
                return result
            result = further

    @cached_property
    def parents(self) -> Int64:
        """``(R,)`` the innermost other range around each, on its thread, or `NONE`."""
        ranges = self.attribution.ranges
        return parents(ranges.start_ns, ranges.end_ns, ranges.thread)

    @property
    def _process(self) -> Int64:
        """``(M,)`` the process of all work."""
        calls = self.attribution.work.calls
        return calls.process if calls is not None else self.attribution.device.process

    def during(self, instant_ns: Int64, process: Int64) -> Bools:
        """Return ``(T,)`` which instants of some processes lie in the part that counts."""
        attribution, asked = self.attribution, self.selection
        kept = np.ones(len(instant_ns), np.bool_)
        if self.leaves_warmup_out:
            kept &= ~during_ranges(instant_ns, process, attribution.warmup)
        for _, chosen in self.excluded:
            kept &= ~during_ranges(instant_ns, process, attribution.ranges.take(chosen))
        if asked.steps is not None:
            kept &= self._in_chosen_steps(instant_ns, process)
        if asked.process is not None:
            kept &= process == asked.process
        if asked.device is not None:
            kept &= np.isin(process, self._processes_of_device)
        return kept

    def left_out_windows(self, process: int) -> tuple[Int64, Int64]:
        """Return starts and ends of the stretches of a process's time that do not count."""
        attribution = self.attribution
        parts = [attribution.warmup] if self.leaves_warmup_out else []
        parts += [attribution.ranges.take(chosen) for _, chosen in self.excluded]
        mine = [part.take(part.process == process) for part in parts]
        start = np.concatenate([np.empty(0, np.int64), *(part.start_ns for part in mine)])
        end = np.concatenate([np.empty(0, np.int64), *(part.end_ns for part in mine)])
        if self.selection.steps is not None:
            known, wanted = self._chosen_steps
            steps = known.numbered(wanted).of_process(process)
            lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
            start = np.concatenate([start, [lowest], steps.end_ns])
            end = np.concatenate([end, steps.start_ns, [highest]])
        return start, end

    @cached_property
    def steps(self) -> Steps | None:
        """The steps that count, numbered from 0; None where there are none.

        Where warm-up counts, a warm-up range without a step inside is a step too: our launcher
        opens one for each.
        """
        if self.selection.steps is not None:
            known, wanted = self._chosen_steps
            found = known.numbered(wanted)
        else:
            every = steps.steps_of_report(
                self.attribution, warmup_counts=self.selection.warmup_counts
            )
            if every is None:
                return None
            found = every
        if self.selection.process is not None:
            found = found.of_process(self.selection.process)
        return found if found.count else None

    @cached_property
    def _chosen_steps(self) -> tuple[Steps, range]:
        assert self.selection.steps is not None, "no steps were asked for"
        return steps.selected_steps(
            self.attribution.report.path,
            steps.steps_of_report(self.attribution),
            self.selection.steps,
        )

    def _in_chosen_steps(self, instant_ns: Int64, process: Int64) -> Bools:
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
        if not len(attribution.warmup) or not len(attribution.work):
            return ()
        if self.selection.steps is not None:
            return ()  # a step that can be asked for is none of the warm-up
        of_place = np.ones(len(attribution.work), np.bool_)
        if self.selection.device is not None:
            of_place &= attribution.device.device[: len(of_place)] == self.selection.device
        if self.selection.process is not None:
            of_place &= self._process[: len(of_place)] == self.selection.process
        time = attribution.work.duration_ns * of_place
        warm = int(time[attribution.work_in_warmup].sum())
        share = percent(warm / max(int(time.sum()), 1))
        what = "left out" if self.leaves_warmup_out else "included"
        return (f"{duration(warm)}, {share} of the work, was warm-up: {what}",)

    @property
    def other_lines(self) -> tuple[str, ...]:
        """Lines on what was left out or asked for besides warm-up."""
        lines, time = [], self.attribution.work.duration_ns
        for name, chosen in self.excluded:
            if name in named_ranges.WARMUP_NAMES:
                lines += [] if len(self.attribution.warmup) else [named_ranges.NO_WARMUP]
                continue
            inside = work_phases.work_inside(self.attribution, chosen)[: len(time)]
            lost = int(time[inside].sum())
            share = percent(lost / max(int(time.sum()), 1))
            lines.append(f"{name} left out: {duration(lost)}, {share} of the work")
        places = []
        if self.selection.steps is not None:
            known, wanted = self._chosen_steps
            last = f" to {wanted.stop - 1}" if len(wanted) > 1 else ""
            steps_asked = f"step{'s' if last else ''} {wanted.start}{last}"
            places.append(f"{steps_asked} of {known.count}")
        if self.selection.device is not None:
            places.append(f"device {self.selection.device}")
        if self.selection.process is not None:
            places.append(f"process {self.selection.process}")
        lines += [f"only {', '.join(places)}"] if places else []
        return tuple(lines)


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
    if plain and not tables.has_range(report, named_ranges.WARMUP_NAMES):
        return ranked_work_quickly(report), ()
    chosen = Selected.of(report, asked)
    kept = chosen.work
    if within_range is not None:
        attribution = chosen.attribution
        wanted = named_ranges.ranges_named(report.path, attribution.ranges, within_range)
        kept = kept & work_phases.work_inside(attribution, wanted)[: len(kept)]
    return chosen.attribution.work.take(kept), chosen.heading_lines
