"""Memory in tables: peaks by range, who holds it at the peak, step by step, kept for backward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals, innermost
from analysis.arithmetic.intervals import NONE
from analysis.attribution.launches import Attribution, range_intervals
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.knowledge.vocabulary import canonical, clean
from analysis.measures.memory_changes import MemoryChanges, memory_changes
from analysis.recorded.work import check_known
from analysis.show.called import option, switch
from analysis.show.errors import ReportError
from analysis.show.render import binary, duration
from analysis.show.table import Table
from analysis.source import tables
from analysis.source.memory_tables import OF_RANGES, range_memory
from profiling import names

if TYPE_CHECKING:
    from analysis.source.report import Report

NO_RANGE: Final = "(no range)"
BEFORE: Final = "(before the recording)"


@dataclass(frozen=True)
class Memory:
    """The memory that a report's devices held, beside its ranges.

    Attributes:
        chosen: the part of the report that counts: ranges, and peaks.
        changes: of each device of each process that counts.
        source: where they are from.
    """

    chosen: Selected
    changes: list[MemoryChanges]
    source: str

    @classmethod
    def of(cls, report: Report, asked: Selection) -> Memory:
        """Return the memory of a report that a selection counts.

        Raises:
            ReportError: no memory was recorded, or not what is asked for.
        """
        changes, source = memory_changes(report)
        places = {
            "device": (asked.device, {each.device for each in changes}),
            "process": (asked.process, {each.process for each in changes}),
        }
        for what, (wanted, known) in places.items():
            check_known(report, what, wanted, known)
        mine = [
            each
            for each in changes
            if asked.device in {None, each.device} and asked.process in {None, each.process}
        ]
        # Devices of the changes need not be those of kernels.
        return cls(Selected(Attribution.of(report), replace(asked, device=None)), mine, source)

    @property
    def attribution(self) -> Attribution:
        """The ranges of the report beside its work."""
        return self.chosen.attribution

    @property
    def several_processes(self) -> bool:
        """Whether several processes were recorded."""
        return len({each.process for each in self.changes}) > 1

    @property
    def heading(self) -> str:
        """The lines above the tables: the report, the source of the figures, each device's peak."""
        lines = [self.attribution.report.describe(), f"memory: {self.source}"]
        for each in self.changes:
            place = self.peak_position(each)
            where = " / ".join(part for part in self.chain(each, place) if part)
            of_process = f" of process {each.process}" if self.several_processes else ""
            at = duration(int(each.time_ns[place]))
            lines.append(
                f"{each.name}{of_process}: peak {binary(int(each.peak[place]))} at {at}"
                + (f", in {clean(where)}" if where else "")
            )
        return "\n".join(lines)

    def peak_position(self, changes: MemoryChanges) -> int:
        """Return the position of the change that counts at which most memory was held."""
        levels = changes.peak
        process = np.full(len(changes), changes.process)
        counts = self.chosen.during(changes.time_ns, process)
        levels = np.where(counts, levels, -1) if counts.any() else levels
        return int(levels.argmax())

    def chain(self, changes: MemoryChanges, place: int) -> tuple[str, str, str]:
        """Return the ranges open at a change: step or warm-up, phase, and the innermost."""
        rows = np.array([place])
        outer = self.open_ranges(changes, rows, (names.STEP, names.WARMUP))[0]
        phase = self.open_ranges(changes, rows, names.PHASES)[0]
        inner = self.innermost_ranges(changes, rows)[0]
        return outer, phase, inner if inner not in {outer, phase, NO_RANGE} else ""

    def innermost_ranges(self, changes: MemoryChanges, rows: Int64) -> list[str]:
        """Return the innermost range of its own thread around each change."""
        times = changes.time_ns[rows]
        ranges = self.attribution.ranges
        place = innermost(range_intervals(ranges), Intervals(changes.thread[rows], times, times))
        known = [clean(name) for name in ranges.names]
        return [known[ranges.name[one]] if one != NONE else NO_RANGE for one in place.tolist()]

    def open_ranges(
        self, changes: MemoryChanges, rows: Int64, wanted: tuple[str, ...]
    ) -> list[str]:
        """Return which of some ranges was open in the process at each change, on any thread."""
        times = changes.time_ns[rows]
        ranges = self.attribution.ranges
        mine = ranges.where(lambda name: name in wanted) & (ranges.process == changes.process)
        some = ranges.take(mine)
        order = np.argsort(some.start_ns, kind="stable")
        last = np.searchsorted(some.start_ns[order], times, side="right") - 1
        result = []
        for time, place in zip(times.tolist(), last.tolist(), strict=True):
            row = order[place] if place >= 0 else NONE
            there = place >= 0 and time <= int(some.end_ns[row])
            result.append(canonical(some.names[some.name[row]]) if there else "")
        return result


def peaks(memory: Memory) -> Table:
    """Return the most memory that was held while the ranges of each name were open.

    Returns:
        ``range, device, instances, peak_bytes``; ``rise_bytes``, the most that one of them adds to
        what was there when it began; ``growth_bytes``, what all of them together leave behind;
        ``process``. The highest peak first.
    """
    ranges, rows = memory.attribution.ranges, []
    label = np.array([clean(name) for name in ranges.names], object)
    for each in memory.changes:
        mine = np.flatnonzero(memory.chosen.ranges & (ranges.process == each.process))
        start, end = ranges.start_ns[mine], ranges.end_ns[mine]
        before, most, after = each.held_at(start), each.most_held(start, end), each.held_at(end)
        known, group = np.unique(label[ranges.name[mine]].astype(str), return_inverse=True)
        for number, name in enumerate(known.tolist()):
            of_it = group == number
            growth = int((after - before)[of_it].sum())
            rise = int((most - before)[of_it].max())
            first = int(start[of_it].min())
            figures = int(of_it.sum()), int(most[of_it].max()), rise, growth, each.process, first
            rows.append((name, each.name, *figures))
    rows.sort(key=lambda row: (-row[3], row[7]))
    fields = ("range", "device", "instances", "peak_bytes", "rise_bytes", "growth_bytes", "process")
    heading = "Most held while each range was open"
    return _table("memory_peaks", heading, fields, [row[:7] for row in rows], memory)


def holders(memory: Memory) -> Table:
    """Return the memory held at the peak of each device, by the range that took it.

    Returns:
        ``device, outer, phase, range``: the step or warm-up, the phase and the innermost range
        that were open when it was taken; ``blocks, held_bytes, largest_bytes, share, process``.

    Raises:
        ReportError: the memory was sampled, and samples do not tell.
    """
    rows = []
    for each in memory.changes:
        if not each.has_blocks:
            problem = "samples of memory do not tell who holds it"
            raise ReportError(
                memory.attribution.report.path,
                problem,
                f"record it with {option('--recorder', 'torch')} {switch('--memory')}",
            )
        rows += _held(memory, each)
    fields = ("device", "outer", "phase", "range", "blocks", "held_bytes", "largest_bytes")
    heading = "Held at the peak, by the range that took it"
    table = _table("memory_holders", heading, (*fields, "share", "process"), rows, memory)
    return replace(table, spare=("largest_bytes",))


def _held(memory: Memory, changes: MemoryChanges) -> list[tuple[object, ...]]:
    place = memory.peak_position(changes)
    held = changes.held(place)
    places = zip(
        memory.open_ranges(changes, held, (names.STEP, names.WARMUP)),
        memory.open_ranges(changes, held, names.PHASES),
        memory.innermost_ranges(changes, held),
        changes.delta[held].tolist(),
        strict=True,
    )
    groups: dict[tuple[str, str, str], list[int]] = {}
    for outer, phase, inner, size in places:
        groups.setdefault((outer, phase, inner), []).append(size)
    total = int(changes.allocated[place])

    def rest(sizes: list[int]) -> tuple[float, int]:
        return sum(sizes) / max(total, 1), changes.process

    if before := total - int(changes.delta[held].sum()):
        groups["", "", BEFORE] = [before]
    return [
        (changes.name, *key, len(sizes), sum(sizes), max(sizes), *rest(sizes))
        for key, sizes in sorted(groups.items(), key=lambda group: -sum(group[1]))
    ]


def growth(memory: Memory) -> Table:
    """Return the memory that every step found, held at most, and left.

    Returns:
        ``step, device, start_bytes, peak_bytes, end_bytes, growth_bytes``, the last against the end
        of the step before, of the first against its start; ``process``.

    Raises:
        ReportError: no range is a step.
    """
    found = memory.chosen.steps
    if found is None:
        problem = "no range is a step, so nothing can be said of growth"
        raise ReportError(memory.attribution.report.path, problem, f"name ranges {names.STEP!r}")
    rows, notes = [], list(found.notes)
    for each in memory.changes:
        mine = found.process == each.process
        start, end = found.start_ns[mine], found.end_ns[mine]
        before, most, after = each.held_at(start), each.most_held(start, end), each.held_at(end)
        grown = np.diff(after, prepend=before[:1])
        figures = (before, most, after, grown)
        for number, *row in zip(
            found.number[mine].tolist(), *(column.tolist() for column in figures), strict=True
        ):
            rows.append((number, each.name, *row, each.process))
        # Resident memory of a process wanders: two steps of it say nothing.
        if len(grown) > (1 if each.has_blocks else 2) and bool((grown[1:] > 0).all()):
            notes.append(
                f"{each.name}: every step ends with more than the one before, "
                f"{binary(float(grown[1:].mean()))} a step: something is kept (a leak?)"
            )
    fields = ("step", "device", "start_bytes", "peak_bytes", "end_bytes", "growth_bytes")
    heading = "Step by step"
    return _table("memory_steps", heading, (*fields, "process"), rows, memory, tuple(notes))


def saved(memory: Memory) -> Table:
    """Return the memory that one forward pass keeps for its backward pass, by name of range.

    Returns:
        ``range, instances``; ``saved_bytes`` of activations that no range kept before, those of the
        ranges inside included; ``computed_bytes`` of the formula for it (NaN where there is none);
        ``instance_bytes`` of the instance that keeps most; ``shared_bytes, parameter_bytes,
        input_bytes, constant_bytes``, which are no memory of theirs.

    Raises:
        ReportError: that was not recorded.
    """
    report = memory.attribution.report
    if tables.is_empty(report, OF_RANGES):
        problem = "what is kept for the backward pass was not recorded"
        raise ReportError(report.path, problem, "record our own model with make profile MEMORY=1")
    own = ("instances", "saved_bytes", "computed_bytes", "instance_bytes", "shared_bytes")
    numbers = (*own, "parameter_bytes", "input_bytes", "constant_bytes")
    found = range_memory(report, *numbers)
    columns = {name: found[name] for name in numbers}
    computed = columns["computed_bytes"]
    if (computed == tables.MISSING).any():
        columns["computed_bytes"] = np.where(computed == tables.MISSING, np.nan, computed)
    rest = tuple(reversed(numbers[4:]))
    named = {"range": found["range"].tolist(), **columns}
    heading = "Saved for backward, by range (what is inside included)"
    return Table("memory_saved", named, heading=heading, droppable=rest)


TABLES: Final = {"peaks": peaks, "holders": holders, "steps": growth, "saved": saved}
"""What ``--show`` knows."""


def memory(report: Report, *, show: str = "peaks", **selected: Unpack[Options]) -> Table:
    """Return one of the tables of a report's memory, with the peaks in its heading.

    Args:
        report: what was recorded.
        show: which.
        selected: what counts, ranges as well as peaks: see
            `analysis.attribution.selection.Options`.

    Raises:
        ReportError: no memory was recorded, or not what this table needs.
    """
    found = Memory.of(report, Selection(**selected))
    return with_report_heading(TABLES[show](found), found)


def with_report_heading(table: Table, memory: Memory) -> Table:
    """Return a table of memory with the report and its peaks above its own heading."""
    return replace(
        table, heading=f"{memory.heading}\n\n{table.heading}", counted=memory.chosen.heading_lines
    )


def all_tables(memory: Memory) -> tuple[list[Table], list[str]]:
    """Return every table of memory that a report can fill, and why the others are not there."""
    made, reasons = [], []
    for table in TABLES.values():
        try:
            made.append(table(memory))
        except ReportError as error:
            reasons.append(f"{error.problem}; {error.remedy}")
    return made, reasons


def _table(
    name: str,
    heading: str,
    fields: tuple[str, ...],
    rows: list[tuple[object, ...]],
    memory: Memory,
    notes: tuple[str, ...] = (),
) -> Table:
    columns = {
        field: [row[place] for row in rows]
        if field in _WORDS
        else np.array([row[place] for row in rows])
        for place, field in enumerate(fields)
    }
    unseen = () if memory.several_processes else ("process",)
    return Table(name, columns, heading, notes, unseen)  # type: ignore[arg-type]


_WORDS: Final = ("range", "device", "outer", "phase")
