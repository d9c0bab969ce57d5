"""What each phase spent its time on: the share of GEMM and every other category in each.

    python -m analysis.phases report.sqlite

Forward, backward and optimizer by the ranges around the launches; what the engine of autograd
launches on its own thread counts where the main thread waits for it. Where no range is called so,
they are inferred from what PyTorch records by itself (autograd's nodes, Optimizer.step), and the
answer says so. `other` was launched outside any phase (where there are steps: in one, but in no
phase of it), `outside steps` in no step either; `all` is the whole. `share` is of the phase. Where
nothing tells phases, the steps stand in, or else the outermost ranges, those with the most kernel
time first: csv and json have all of them, a table the first ten, and the rest together. Warm-up is
left out; `--exclude none` includes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Bools, Int64
from analysis.arithmetic.intervals import NONE
from analysis.arithmetic.statistics import sums
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import question, steps, work_phases
from analysis.attribution.costs import canonical_labels
from analysis.attribution.launches import Attribution
from analysis.attribution.origin import origin
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.knowledge import categories
from analysis.recorded.ranges import outermost
from analysis.show import cli
from analysis.show.called import called
from analysis.show.render import duration, plural
from analysis.show.table import Table
from analysis.source.report import Report

if TYPE_CHECKING:
    from analysis.attribution.work_phases import WorkPhases

ALL: Final = "all"
OUTSIDE: Final = "outside steps"


def by_category(report: Report, *, most: int | None = None, **selected: Unpack[Options]) -> Table:
    """Return one row per phase and category, the phases as they run, categories by time.

    Args:
        report: what was recorded.
        most: how many ranges that stand in for phases have rows of their own; None for all.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``phase, category, calls, kernel_ns, share, source, inferred``; the share is of the phase's
        time, ``inferred`` is 1 where no range of the report marks the phase.

    Raises:
        ReportError: there are neither kernels nor operators, or no such range, step, device or
            process.
    """
    chosen = Selected.of_work(report, Selection(**selected))
    attribution, kept = chosen.attribution, chosen.work
    phases = work_phases.phases_of_work(attribution, warmup_counts=chosen.warmup_counts)
    phases = phases if most is None else phases.folded(most)
    calls, time = calls_and_times(chosen, phases)
    phase_labels = [*phases.labels, OUTSIDE, ALL]
    # By phase, then the most time first; categories that do not occur have no row.
    row, column = np.nonzero(calls)
    order = np.lexsort((column, -time[row, column], row))
    row, column = row[order], column[order]
    of_phase = np.maximum(time.sum(1), 1)
    return Table(
        name="phases",
        columns={
            "phase": [phase_labels[place] for place in row],
            "category": [categories.CATEGORIES[place] for place in column],
            "calls": calls[row, column],
            "kernel_ns": time[row, column],
            "share": time[row, column] / of_phase[row],
            "source": [attribution.work.source] * len(row),
            "inferred": phases.inferred_labels(phase_labels)[row],
        },
        heading="\n".join((report.describe(), _heading(attribution, phases, kept))),
        counted=chosen.heading_lines,
        notes=notes_on(phases, attribution.work.duration_ns, kept),
        hidden=("source", "inferred"),
    )


def calls_and_times(chosen: Selected, phases: WorkPhases) -> tuple[Int64, Int64]:
    """Return the calls and the time in ns of each category in each phase, ``(P + 2, C)``.

    The last two rows are what was launched outside the steps, and everything.
    """
    attribution, kept = chosen.attribution, chosen.work
    labels, count = attribution.work.categories, len(categories.CATEGORIES)
    category = np.array([categories.CATEGORIES.index(label) for label in labels], np.int64)
    group = outside_steps(chosen, phases)[kept] * count + category[attribution.work.kind[kept]]
    size = (len(phases.labels) + 1) * count
    calls = np.bincount(group, minlength=size).astype(np.int64)
    time = sums(group, attribution.work.duration_ns[kept], size)
    by_phase = (part.reshape(-1, count) for part in (calls, time))
    calls, time = (np.vstack([part, part.sum(0)]) for part in by_phase)
    return calls, time


def notes_on(phases: WorkPhases, duration_ns: Int64, kept: Bools) -> tuple[str, ...]:
    """Return notes on the ranges that stand in for phases, and on those without a row.

    Args:
        phases: folded or not.
        duration_ns: ``(N,)`` of the work.
        kept: ``(N,)`` which of it counts.
    """
    if phases.rest is None:
        return phases.notes
    time = duration(int(duration_ns[kept & (phases.phase == phases.rest)].sum()))
    what = phases.labels[phases.rest]
    text = f"{what} took {time} together; {called('analysis.phases')} --format csv has each"
    return (*phases.notes, text)


def _heading(attribution: Attribution, phases: WorkPhases, kept: Bools) -> str:
    what = "CPU operators' self time" if attribution.work.on_cpu else "kernel time"
    helped = int((phases.by_caller & kept).sum())
    line = f"Phases{', inferred,' if phases.inferred else ''} by {what}"
    placed = plural(helped, "launch", "launches")
    return f"{line}; {placed} placed by the thread that waited" if helped else line


def overview(chosen: Selected) -> Table | None:
    """Return each phase's time on the host and on the device, as one table.

    Args:
        chosen: the part of a report that counts.

    Returns:
        ``phase, instances, wall_ns, kernel_ns, share, gemm_share, source, inferred``: ``wall_ns``
        counts what is open on two threads, or inside its like, once; the share is of all kernel
        time, ``gemm_share`` is GEMM's of the phase's. Where there are steps, `other` is what they
        launched outside any phase, and what was launched before, between and after them is
        `outside steps`. None without any range.
    """
    attribution, kept = chosen.attribution, chosen.work
    if not len(attribution.ranges):
        return None
    phases = work_phases.phases_of_work(attribution, warmup_counts=chosen.warmup_counts).folded()
    labels = [*phases.labels, OUTSIDE]
    phase = outside_steps(chosen, phases)
    wall, opened = host_times(phases, chosen.ranges[phases.taken], len(labels))
    gemm = attribution.work.in_category("gemm")
    time = attribution.work.duration_ns
    kernel = sums(phase[kept], time[kept], len(labels))
    what = "Phases, inferred" if phases.inferred else "Phases"
    in_gemm = sums(phase[kept & gemm], time[kept & gemm], len(labels))
    table = Table(
        name="phases",
        columns={
            "phase": labels,
            "instances": opened,
            "wall_ns": wall,
            "kernel_ns": kernel,
            "share": kernel / max(int(kernel.sum()), 1),
            "gemm_share": in_gemm / np.maximum(kernel, 1),
            "source": [attribution.work.source] * len(kernel),
            "inferred": phases.inferred_labels(labels),
        },
        heading=f"{what}: time open on the host, and what they launched",
        notes=notes_on(phases, time, kept),
        hidden=("source", "inferred"),
    )
    return table.take(np.flatnonzero((kernel > 0) | (opened > 0)))


def outside_steps(chosen: Selected, phases: WorkPhases) -> Int64:
    """Return the phase of each piece of work, one more where neither phase nor step was open."""
    attribution = chosen.attribution
    known = steps.steps_of_report(attribution, warmup_counts=chosen.warmup_counts)
    if known is None:
        return phases.phase
    launches = attribution.launches
    other = phases.phase == len(phases.labels) - 1
    outside = other & launches.known & (known.at(launches.start_ns, launches.process) == NONE)
    return np.where(outside, len(phases.labels), phases.phase)


def host_times(phases: WorkPhases, kept: Bools, count: int) -> tuple[Int64, Int64]:
    """Return how long each phase was open, summed over processes, and how often it was.

    A range inside one of its own phase and process, on whichever thread, is part of that one; where
    two overlap otherwise, the time they share counts once.

    Args:
        phases: with their ranges.
        kept: ``(R,)`` which of the ranges count.
        count: how many phases there are.
    """
    ranges, name = phases.ranges.take(kept), canonical_labels(phases.ranges)[1][kept]
    label = phases.label[kept]
    outer = outermost(ranges, name, ranges.process)
    wall, opened = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for process in np.unique(ranges.process).tolist():
        of_it = ranges.process == process
        for place in np.unique(label[of_it]).tolist():
            rows = np.flatnonzero(of_it & (label == place))
            start, end = ranges.start_ns[rows], ranges.end_ns[rows]
            wall[place] += IntervalUnion.of(start, end).busy_ns
            opened[place] += int(outer[rows].sum())
    return wall, opened


def coverage(report: Report, **selected: Unpack[Options]) -> Table:
    """Return how much work each relation places in a range, and how much none does.

    Args:
        report: what was recorded.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``relation, calls, kernel_ns, share``: ``own`` is launched inside a range of the launching
        thread, one that was recorded; else ``caller`` while a range of another thread of the
        process was open; else ``origin`` serves the backward pass of a known operator;
        ``no_launch`` has no recorded launch, ``unplaced`` is launched outside all that. The calls
        add up to all there are, the shares (of time) to 1.
    """
    chosen = Selected.of_work(report, Selection(**selected))
    attribution, kept = chosen.attribution, chosen.work
    known = attribution.launches.known
    place, caller = work_phases.ranges_around(attribution.launches, attribution.recorded)
    own = (place != NONE) & ~caller
    from_forward = ~own & ~caller & origin(attribution).known
    placed = own | caller | from_forward
    relations = {
        "own": own,
        "caller": caller,
        "origin": from_forward,
        "no_launch": ~known & ~placed,
        "unplaced": known & ~placed,
    }
    groups = {relation: group & kept for relation, group in relations.items()}
    duration = attribution.work.duration_ns
    times = np.array([duration[group].sum() for group in groups.values()], np.int64)
    return Table(
        name="coverage",
        columns={
            "relation": list(groups),
            "calls": np.array([group.sum() for group in groups.values()], np.int64),
            "kernel_ns": times,
            "share": times / max(int(times.sum()), 1),
        },
        counted=chosen.heading_lines,
        heading="How much of the work was launched inside a range",
    )


def phases_listed(args: argparse.Namespace) -> dict[str, int | None]:
    """Return how many stand-ins for phases have rows of their own; None for all."""
    few = args.format == "table" and args.top is None
    return {"most": work_phases.MOST_LISTED if few else None}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the phases; see the module's docstring."""
    return question.answer(
        by_category, __doc__, "analysis.phases", argv, more=phases_listed, most=None
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
