"""One side of a comparison: the time of every name in every step of one report."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.arithmetic.arrays import Int64
from analysis.arithmetic.containment import Intervals, innermost_of_any
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.attribution import work_phases
from analysis.attribution.launches import Attribution, Launches, launched_totals
from analysis.attribution.selected import Selected, distinct_known
from analysis.attribution.selection import Selection
from analysis.knowledge import categories
from analysis.knowledge.vocabulary import canonical
from analysis.measures import step_contents
from analysis.recorded import ranges as nvtx
from analysis.source import tables
from profiling import names

if TYPE_CHECKING:
    from analysis.measures.step_contents import StepContents
    from analysis.recorded.ranges import Ranges
    from analysis.source.report import Report


CHANGING: Final = (
    # Inductor numbers its kernels as it meets them: triton_poi_fused_add_mul_12.
    (re.compile(r"^(triton_(?:poi|red|per|tem|for)_\w*?)_\d+$"), r"\1"),
    # Triton 2 noted for each argument how it had been specialised: _fwd_kernel_0d1d2de3c.
    (re.compile(r"_0[cde]*1[cde]*[0-9cde]*$"), ""),
    # nvcc names what is local to a file by a hash of the file.
    (re.compile(r"\b_(?:GLOBAL__N|INTERNAL)_\w+|\(anonymous namespace\)"), "<unnamed>"),
    # The number of a graph is a counter of the process.
    (re.compile(r"^(\[CUDA graph replay\]) graph \w+$"), r"\1"),
)
"""What differs between two compilations of the same kernel, and what is put instead."""

HASH: Final = re.compile(r"(## Call CompiledFxGraph) \w+ (##)")
"""PyTorch's range around a compiled graph, by the hash of its code."""

UNNAMED: Final = "[unnamed]"

FEW: Final = 3
"""How many recorded names a cell holds: thousands are more than Python's csv reads in one."""


def kernel_name(name: str) -> str:
    """Return a kernel's name without what changes between compilations.

    >>> kernel_name("triton_poi_fused_add_mul_12"), kernel_name("_fwd_kernel_0d1d2de3c")
    ('triton_poi_fused_add_mul', '_fwd_kernel')
    >>> kernel_name("at::_GLOBAL__N__5f1c_7_x_cu::copy<int>"), kernel_name("sgemm_128x64_nn")
    ('at::<unnamed>::copy<int>', 'sgemm_128x64_nn')
    """
    for pattern, instead in CHANGING:
        name = pattern.sub(instead, name)
    return name


def range_name(name: str) -> str:
    """Return the name under which a range is compared: ours, or its own without numbers.

    >>> range_name("ProfilerStep#7"), range_name("computing softmax"), range_name("")
    ('step', 'softmax', '[unnamed]')
    >>> range_name("## Call CompiledFxGraph fmjx4t ##")
    '## Call CompiledFxGraph ##'
    """
    return HASH.sub(r"\1 \2", canonical(name)) or UNNAMED


def group_names(
    recorded: Sequence[str], rename: Callable[[str], str], used: Int64
) -> tuple[list[str], Int64, list[str]]:
    """Return the names to compare under, and which of them each recorded name falls under.

    Args:
        recorded: ``(K,)`` distinct names.
        rename: what one is compared under.
        used: positions of the names that count.

    Returns:
        ``(M,)`` names, ascending; ``(K,)`` positions among them, 0 for names that do not count; and
        ``(M,)`` the recorded names of each, joined, of many the first few and their number.
    """
    found: dict[str, list[str]] = {}
    for place in np.unique(used).tolist():
        found.setdefault(rename(recorded[place]), []).append(recorded[place])
    made = sorted(found)
    position = {each: number for number, name in enumerate(made) for each in found[name]}
    places = np.array([position.get(name, 0) for name in recorded], np.int64)
    return made, places, [joined_names(found[name]) for name in made]


def joined_names(names: Sequence[str]) -> str:
    """Return names in one text: all, or of many the first few and how many they are.

    >>> joined_names(["b_1", "b_0"]), joined_names([f"b_{place}" for place in range(9)])
    ('b_0 + b_1', '9 names: b_0 + b_1 + b_2 + …')
    """
    first = sorted(names)
    if len(first) <= FEW:
        return " + ".join(first)
    return f"{len(first):,} names: {' + '.join(first[:FEW])} + …"


KINDS: Final = ("total", "phase", "category", "range", "kernel", "operator")
"""In the order of the rows. Ranges contain one another; the rows of other kinds add up."""

BUSY: Final = "busy"
WALL: Final = "wall"
NO_RANGE: Final = "[no range]"
INFERRED_PHASES: Final = "its phases are inferred, no range marks them"


@dataclass(frozen=True)
class Series:
    """The times of K names in each of S steps.

    Attributes:
        names: ``(K,)`` by which they are compared.
        time_ns: ``(K, S)``.
        calls: ``(K, S)``.
        self_ns: ``(K,)`` over all steps, the part that no other name of the kind has; so these add
            up to the total, for ranges too.
        recorded: ``(K,)`` what they are called in the report.
    """

    names: list[str]
    time_ns: Int64
    calls: Int64
    self_ns: Int64
    recorded: list[str]


@dataclass(frozen=True)
class Side:
    """What a comparison needs of one report.

    Attributes:
        on_cpu: whether operators stand in for kernels.
        gpus: how many GPUs worked; 0 on a CPU.
        contents: its steps.
        series: by kind.
        has_phases: whether it has a range of a phase at all.
        notes: what was left out.
        counted: what the heading says of the part of the report that counts.
        warmup_counts: whether warm-up does.
        excluded: names of ranges that are left out besides: the wall time of a step has theirs.
    """

    on_cpu: bool
    gpus: int
    contents: StepContents
    series: dict[str, Series]
    has_phases: bool
    notes: tuple[str, ...]
    counted: tuple[str, ...]
    warmup_counts: bool
    excluded: tuple[str, ...]

    @property
    def has_steps(self) -> bool:
        """Whether there are step ranges; if not, the report counts as one step."""
        return self.contents.steps is not None

    @property
    def idle_share(self) -> float:
        """How much of the wall time its GPUs did nothing, together; NaN where it is not known.

        That is where there is no GPU, and where a part of each step is left out.

        A step that returns before its work ends may keep them busy for longer than it was open:
        that counts as never idle.
        """
        contents = self.contents
        there = contents.windows_ns or int(contents.wall_ns.sum()) * self.gpus
        if not there or self.excluded:
            return math.nan
        return max(1 - int(contents.busy_ns.sum()) / there, 0.0)


def side(report: Report, asked: Selection, *, whole: bool = False) -> Side:
    """Return one side of a comparison: the times of every name of a report, step by step.

    Args:
        report: what was recorded.
        asked: what counts of it.
        whole: take the report as one step, whether or not it has any.

    Raises:
        ReportError: it holds neither kernels nor operators, or not what is asked for.
    """
    chosen = Selected.of(report, asked)
    attribution, contents = chosen.attribution, step_contents.step_contents(chosen, whole=whole)
    work = attribution.work
    phases = work_phases.phases_of_work(attribution)
    labels = [categories.CATEGORIES.index(label) for label in work.categories]
    category = np.array(labels, np.int64)[work.kind]
    series = {
        "total": series_of_totals(attribution, contents),
        "category": series_of_work(attribution, contents, list(categories.CATEGORIES), category),
        work.source: series_of_kernels(attribution, contents),
    }
    # Where a report has no phase, outermost ranges stand in; they are among the ranges already.
    has_phases = phases.are_phases
    if has_phases:
        series["phase"] = series_of_work(attribution, contents, phases.labels, phases.phase)
    if len(attribution.ranges):
        series["range"] = series_of_ranges(attribution, contents)
    return Side(
        on_cpu=work.on_cpu,
        gpus=gpus_used(chosen),
        contents=contents,
        series=series,
        has_phases=has_phases,
        notes=(
            *work.notes,
            *((INFERRED_PHASES,) if phases.inferred else ()),
            *contents.notes,
            *note_on_wall(chosen),
        ),
        counted=chosen.heading_lines,
        warmup_counts=chosen.warmup_counts,
        excluded=chosen.excluded_names,
    )


def note_on_wall(chosen: Selected) -> tuple[str, ...]:
    """Return a line where the wall time of the steps has more than the part that counts."""
    if not chosen.excluded_names:
        return ()
    return (f"wall time is whole: what is left out is in it ({', '.join(chosen.excluded_names)})",)


def gpus_used(chosen: Selected) -> int:
    """Return how many GPUs ran any of the ranked work of the places that count; 0 on a CPU.

    One that is asked for counts though it did nothing but copy.
    """
    attribution = chosen.attribution
    if attribution.work.on_cpu:
        return 0
    if chosen.selection.device is not None:
        return 1
    ranked = slice(len(attribution.work))
    used = distinct_known(attribution.device.device[ranked][chosen.of_place[ranked]])
    return len(used)


def sums_by_step(group: Int64, step: Int64, values: Int64 | None, shape: tuple[int, int]) -> Int64:
    """Return sums of values by group and step.

    Args:
        group: ``(N,)`` from 0.
        step: ``(N,)`` from 0.
        values: ``(N,)`` what to add; None counts.
        shape: how many groups and steps there are.
    """
    # As float64, which holds whole numbers up to 2**53: nanoseconds of 104 days.
    flat = np.bincount(group * shape[1] + step, values, shape[0] * shape[1])
    return flat.astype(np.int64).reshape(shape)


def series_of_totals(attribution: Attribution, contents: StepContents) -> Series:
    """Return the series of totals: busy time (of devices), wall time, all work."""
    inside = contents.work != NONE
    shape = (1, contents.count)
    step = contents.work[inside]
    everything = np.zeros(len(step), np.int64)
    one = np.ones(contents.count, np.int64)
    rows = [
        (BUSY, contents.busy_ns, contents.busy_calls),
        (WALL, contents.wall_ns, one),
        (
            attribution.work.source,
            sums_by_step(everything, step, attribution.work.duration_ns[inside], shape)[0],
            sums_by_step(everything, step, None, shape)[0],
        ),
    ]
    if attribution.work.on_cpu:
        del rows[0]
    labels = [label for label, _, _ in rows]
    time = np.stack([time for _, time, _ in rows])
    return Series(labels, time, np.stack([calls for _, _, calls in rows]), time.sum(1), labels)


def series_of_kernels(attribution: Attribution, contents: StepContents) -> Series:
    """Return the series of kernels, or of operators, by name."""
    used = attribution.work.kind[contents.work != NONE]
    labels, place, recorded = group_names(attribution.work.names, kernel_name, used)
    return series_of_work(attribution, contents, labels, place[attribution.work.kind], recorded)


def series_of_work(
    attribution: Attribution,
    contents: StepContents,
    labels: list[str],
    group: Int64,
    recorded: list[str] | None = None,
) -> Series:
    """Return the series of groups of work, those that occur.

    Args:
        attribution: the work.
        contents: its steps.
        labels: ``(K,)`` what the groups are called.
        group: ``(N,)`` positions in it.
        recorded: ``(K,)`` what they are called in the report; the labels if left out.
    """
    inside = contents.work != NONE
    shape = (len(labels), contents.count)
    step, chosen = contents.work[inside], group[inside]
    time = sums_by_step(chosen, step, attribution.work.duration_ns[inside], shape)
    calls = sums_by_step(chosen, step, None, shape)
    used = np.flatnonzero(calls.sum(1))
    own = recorded if recorded is not None else labels
    return Series(
        [labels[place] for place in used.tolist()],
        time[used],
        calls[used],
        time[used].sum(1),
        [own[place] for place in used.tolist()],
    )


def series_of_ranges(attribution: Attribution, contents: StepContents) -> Series:
    """Return the series of ranges by name, each with the work launched inside.

    A range has the work of its own thread, and of another that had no phase open while its own did:
    autograd's. A range inside another of its own name adds nothing to it. A range counts in the
    step it began in; one that began in none, around the steps, is left out.
    """
    kept = (contents.ranges != NONE) & ~attribution.ranges.elsewhere
    ranges, step = attribution.ranges.take(kept), contents.ranges[kept]
    inside = contents.work != NONE
    launches = attribution.launches.take(inside)
    duration_ns, work_step = attribution.work.duration_ns[inside], contents.work[inside]
    calling = launches_by_caller(attribution.ranges, launches)
    labels, place, recorded = group_names(ranges.names, range_name, ranges.name)
    name = place[ranges.name]

    outermost = nvtx.outermost(ranges, name)
    _, own_ns = launched_totals(ranges, launches, duration_ns)
    _, called_ns = launched_totals(ranges, calling, duration_ns)
    shape = (len(labels), contents.count)
    time = sums_by_step(name[outermost], step[outermost], (own_ns + called_ns)[outermost], shape)

    place = innermost_or_callers(ranges, launches, calling)
    free = place == NONE
    owner = np.full(len(place), len(labels), np.int64)
    owner[~free] = name[place[~free]]
    self_ns = sums(owner, duration_ns, len(labels) + 1)
    nothing, row = np.zeros(int(free.sum()), np.int64), (1, contents.count)
    rest = sums_by_step(nothing, work_step[free], duration_ns[free], row)
    strays = sums_by_step(nothing, work_step[free], None, row)
    return Series(
        names=[*labels, NO_RANGE],
        time_ns=np.vstack([time, rest]),
        calls=np.vstack([sums_by_step(name, step, None, shape), strays]),
        self_ns=self_ns,
        recorded=[*recorded, NO_RANGE],
    )


def innermost_or_callers(ranges: Ranges, launches: Launches, calling: Launches) -> Int64:
    """Return ``(N,)`` the innermost range around each launch, else around its caller's; `NONE`."""
    around = Intervals(ranges.thread, ranges.start_ns, ranges.end_ns)
    own, caller = (
        np.where(each.known, innermost_of_any(around, each), NONE) for each in (launches, calling)
    )
    return np.where(own != NONE, own, caller)


def launches_by_caller(ranges: Ranges, launches: Launches) -> Launches:
    """Return launches moved to the thread that waited in a phase or step meanwhile.

    Only for those whose own thread had neither open; the others have no caller.
    """
    waiting = (*names.PHASES, names.WARMUP, names.STEP)
    chosen = ranges.take(ranges.where(lambda name: name in waiting))
    place, by_caller = work_phases.ranges_around(launches, chosen)
    thread = np.full(len(launches), tables.MISSING, np.int64)
    thread[by_caller] = chosen.thread[place[by_caller]]
    return Launches(thread, launches.start_ns, launches.start_ns)
