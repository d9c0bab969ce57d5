"""When was the GPU idle, and why.

    python -m analysis.gaps report.sqlite
    python -m analysis.gaps report.sqlite --min-gap 500000     the threshold of NVIDIA's gpu_gaps
    python -m analysis.gaps report.sqlite --by cause,call,range     summed up

Gaps between the first and the last work of each device in each process, the longest first; where
steps or phases are marked, from the first of them to the last, `--exclude none` for all. `cause`
tells what the next work waited for: `host` came late with its launch, or a `synchronisation` or a
`copy` held it up; or it was launched in time, and took its `launch_latency`, or longer, in a
`stream_wait`: for an event of another stream, or for another device. `range` is where the host was
meanwhile, `call` the CUDA call that it was in for longest, else the system call, empty where it was
outside of both for longer. `symbol` then is the function that CPU samples found it in most often,
`not scheduled` where no CPU ran its thread for most of the time, or the Python function of a trace
with stacks; `other_threads` what others of its process were in while it waited. Long calls of
`cuLibraryLoadData` or `cudaLaunchKernel` are kernels being loaded.
Kernels, graph replays, copies, sets and the profiler's own overhead are busy.
In a table `start` is since the first work; `start_ns` of csv and json is since the recording began.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack

import numpy as np

from analysis.arithmetic.arrays import Bools
from analysis.arithmetic.statistics import summarize
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import question
from analysis.attribution.launches import during_ranges
from analysis.attribution.selected import Selected
from analysis.attribution.selection import Options, Selection
from analysis.knowledge.vocabulary import clean
from analysis.measures import idle
from analysis.measures.host.activity import HostActivity, host_activity, nothing_known
from analysis.measures.host.doing import doing
from analysis.measures.window import MeasuredWindow
from analysis.recorded.ranges import load
from analysis.recorded.work import no_device_work
from analysis.show import cli
from analysis.show.command import number_type
from analysis.show.render import duration, percent, plural
from analysis.show.sheet import in_prose
from analysis.show.table import Column, Table
from analysis.source.report import Report

if TYPE_CHECKING:
    from analysis.measures.idle import IdleGaps

MIN_GAP_US: Final = 10.0
"""Shorter than the launch of a kernel takes (5 to 10 µs), so nothing a user could close.

NVIDIA's ``gpu_gaps`` starts at 500 ms, longer than most training steps.
"""

MOST_SAID: Final = 3
"""How many calls and functions the heading names."""

WORTH_A_WORD: Final = 0.01
"""Of the listed idle time: what the host did for less of it the heading does not name."""

GROUPS: Final = ("cause", "call", "range", "symbol", "device", "process")
"""What gaps can be summed up by: columns of the list of them."""


def gaps(
    report: Report,
    *,
    min_gap_us: float | None = None,
    by: str | None = None,
    **selected: Unpack[Options],
) -> Table:
    """Return one row per gap, or one for all that are alike, the longest first.

    Args:
        report: what was recorded.
        min_gap_us: shorter ones are counted in the heading, and not listed; None for `MIN_GAP_US`,
            and for 0 where gaps are summed up.
        by: which of `GROUPS` gaps are alike in, with commas between; None for each gap.
        selected: what counts: see `analysis.attribution.selection.Options`. A range that is named
            leaves out the gaps that begin in it.

    Returns:
        ``device, start_ns, duration_ns, cause, range, call, symbol, process, module,
        other_threads``; the range is "" where the host was in none, the call where it was outside
        of all for longer than in any, the symbol where there is a call, or nothing is known. With
        ``by`` those columns, then ``count, total_ns, share, largest_ns``: the share of all idle
        time that counts.

    Raises:
        ReportError: there is no GPU work, or no such range, step, device or process.
        ValueError: gaps cannot be summed up by that.
    """
    fields = groups(by)
    if not idle.idle_gaps(report).places:
        raise no_device_work(report, "nothing that could be idle")
    measured = MeasuredWindow(Selected.of_devices(report, Selection(**selected)))
    if min_gap_us is None:
        min_gap_us = 0.0 if fields else MIN_GAP_US
    kept = measured.gaps & ~measured.left_out_gaps
    listed = listed_gaps(measured, kept, min_gap_us)
    if not fields:
        return listed
    return summed_up(listed, fields, int(measured.idle.duration_ns[kept].sum()))


def listed_gaps(measured: MeasuredWindow, kept: Bools, min_gap_us: float) -> Table:
    """Return one row per gap that counts, ``(G,)``, and is long enough."""
    report, ranges, every = measured.report, measured.attribution.ranges, measured.idle
    long = every.duration_ns >= min_gap_us * 1e3
    rows = np.flatnonzero(kept & long)
    report.database.check_held(len(rows), "rows", "list fewer, with a larger --min-gap")
    rows = rows[np.lexsort((every.start_ns[rows], -every.duration_ns[rows]))]
    shown = every.take(rows)
    host = host_activity(report, shown)
    several = len({place.process for place in every.places}) > 1
    return Table(
        name="gaps",
        columns={
            "device": shown.device,
            "start_ns": shown.start_ns,
            "duration_ns": shown.duration_ns,
            "cause": [idle.CAUSES[number] for number in shown.cause.tolist()],
            "range": [clean(name) for name in idle.host_ranges(shown, ranges)],
            "call": host.call,
            "symbol": host.symbol,
            "process": shown.process,
            "module": host.module,
            "other_threads": host.others,
        },
        heading="\n".join(
            (report.describe(), *heading(measured, kept), *host_lines(report, shown, host))
        ),
        counted=counted_lines(measured),
        notes=(*notes(every, kept, kept & ~long, min_gap_us), *notes_on_selection(measured)),
        hidden=(
            "module",
            *(() if several else ("process",)),
            *(() if any(host.symbol) else ("symbol",)),
            *(() if any(host.others) else ("other_threads",)),
        ),
        droppable=("other_threads",),
    )


def groups(text: str | None) -> tuple[str, ...]:
    """Return what gaps are to be summed up by.

    Raises:
        ValueError: something in it is none of `GROUPS`, or stands there twice.

    >>> groups("cause,call"), groups(None)
    (('cause', 'call'), ())
    """
    fields = () if text is None else tuple(text.split(","))
    for field in fields:
        if field not in GROUPS:
            raise ValueError(f"{field!r} is none of {', '.join(GROUPS)}")
    if len(set(fields)) < len(fields):
        raise ValueError(f"{text!r} names one of them twice")
    return fields


def summed_up(listed: Table, fields: Sequence[str], idle_ns: int) -> Table:
    """Return one row for all gaps that are alike in some columns, the most time first.

    Args:
        listed: the gaps.
        fields: the columns.
        idle_ns: all idle time that counts, of which the shares are.
    """
    time = np.asarray(listed.columns["duration_ns"], np.int64)
    number = np.zeros(len(time), np.int64)
    for field in fields:
        _, place = np.unique(np.asarray(listed.columns[field]), return_inverse=True)
        # Numbered anew each time, or several columns of many values would be too large a number.
        _, number = np.unique(number * (int(place.max(initial=0)) + 1) + place, return_inverse=True)
    found = summarize(number, time, int(number.max(initial=-1)) + 1)
    _, first = np.unique(number, return_index=True)
    order = np.argsort(-found.total_ns, kind="stable")
    columns: dict[str, Column] = {}
    for field in fields:
        column = listed.columns[field]
        some = first[order]
        columns[field] = (
            [column[row] for row in some.tolist()] if isinstance(column, list) else column[some]
        )
    columns |= {
        "count": found.calls[order],
        "total_ns": found.total_ns[order],
        "share": found.total_ns[order] / max(idle_ns, 1),
        "largest_ns": found.max_ns[order],
    }
    return replace(listed, columns=columns, hidden=(), droppable=())


def host_lines(report: Report, shown: IdleGaps, host: HostActivity) -> tuple[str, ...]:
    """Return a line on what the host did for most of the listed idle time."""
    time = shown.duration_ns
    total = int(time.sum())
    if not total:
        return ()
    lost: dict[str, int] = {}
    for name, each in zip(host.name, time.tolist(), strict=True):
        lost[name] = lost.get(name, 0) + each
    nothing = lost.pop("", 0)
    told = [name for name in lost if lost[name] >= WORTH_A_WORD * total]
    told = sorted(told, key=lambda name: -lost[name])[:MOST_SAID]
    parts = [f"{doing(name)} {percent(lost[name] / total)}" for name in told]
    if left := sum(lost.values()) - sum(lost[name] for name in told):
        parts.append(f"other {percent(left / total)}")
    if nothing:
        parts.append(f"{doing(nothing_known(report))} {percent(nothing / total)}")
    return (f"the host meanwhile: {' · '.join(parts)}",)


def heading(measured: MeasuredWindow, kept: Bools) -> tuple[str, ...]:
    """Return lines on how long each device was idle, and for what cause.

    Args:
        measured: the part of the report that counts.
        kept: ``(G,)`` the gaps of it that do.
    """
    lines, every = [], measured.idle
    several = len({place.process for place in every.places}) > 1
    for number, place in enumerate(every.places):
        mine = kept & (every.place == number)
        time = int(every.duration_ns[mine].sum())
        of_process = f" in process {place.process}" if several else ""
        looked_at = time_that_counts(measured, number, mine)
        lines.append(
            f"GPU {place.device}{of_process}: idle {duration(time)} of "
            f"{duration(looked_at)} ({percent(time / max(looked_at, 1))}), "
            f"in {plural(int(mine.sum()), 'gap')}"
        )
    return (*lines, *causes_lines(every, kept))


def time_that_counts(measured: MeasuredWindow, number: int, kept: Bools) -> int:
    """Return how long a device's window is without what is left out: ranges, gaps begun in them.

    A gap that began before such a range and ends in it counts whole, and so does its time.
    """
    every, window = measured.idle, measured.windows[number]
    mine = every.place == number
    left_out = measured.chosen.left_out_ranges
    of_it = left_out.process == every.places[number].process
    begun = mine & measured.left_out_gaps
    parts = [
        (left_out.start_ns[of_it].clip(*window), left_out.end_ns[of_it].clip(*window)),
        *((every.start_ns[some], every.end_ns[some]) for some in (begun, kept)),
    ]
    start, end = (np.concatenate(column) for column in zip(*parts, strict=True))
    gone = IntervalUnion.of(start, end).busy_ns - int(every.duration_ns[kept].sum())
    return int(window[1] - window[0]) - gone


def causes_lines(every: IdleGaps, kept: Bools) -> tuple[str, ...]:
    """Return a line with each cause's share of the idle time; empty without idle time."""
    times = every.by_cause(kept)
    total = max(sum(times.values()), 1)
    parts = [f"{cause} {percent(time / total)}" for cause, time in times.items() if time]
    return (f"by cause: {' · '.join(parts)}",) if parts else ()


def longest_lines(report: Report, every: IdleGaps, kept: Bools) -> tuple[str, ...]:
    """Return a line on the longest of some gaps, and what the host did in each; none without any.

    Args:
        report: what was recorded.
        every: gaps, which may be cut to a window.
        kept: ``(G,)`` those that count.
    """
    rows = np.flatnonzero(kept & (every.duration_ns > 0))
    rows = rows[np.lexsort((every.start_ns[rows], -every.duration_ns[rows]))][:MOST_SAID]
    if not len(rows):
        return ()
    shown = every.take(rows)
    ranges = idle.host_ranges(shown, load(report))
    did = zip(shown.duration_ns.tolist(), host_activity(report, shown).name, ranges, strict=True)
    parts = [
        f"{duration(time)} {doing(name or nothing_known(report))}"
        + (f" ({in_prose(clean(span))})" if span else "")
        for time, name, span in did
    ]
    return (f"longest: {' · '.join(parts)}",)


def counted_lines(measured: MeasuredWindow) -> tuple[str, ...]:
    """Return lines on idle time in warm-up, outside of the window, and on what else is left out."""
    chosen, every = measured.chosen, measured.every_gap
    warm = during_ranges(every.start_ns, every.process, chosen.attribution.warmup)
    outside_ns = every.duration_ns - measured.idle.duration_ns
    lines = []
    if chosen.leaves_warmup_out:
        warm &= outside_ns > 0
    if warm.any():
        time, what = every.duration_ns, "included"
        if chosen.leaves_warmup_out:
            time, what = outside_ns, "left out"
        time_in_words = duration(int(time[warm].sum()))
        lines.append(f"{plural(int(warm.sum()), 'gap')}, {time_in_words}, began in warm-up: {what}")
    if outside_ns[~warm].any():
        time_in_words = duration(int(outside_ns[~warm].sum()))
        lines.append(f"{time_in_words} of idle time {measured.outside}: left out")
    return (*lines, *chosen.other_lines)


def notes(every: IdleGaps, kept: Bools, short: Bools, min_gap_us: float) -> tuple[str, ...]:
    """Return notes on gaps that are not listed or of unknown cause, and on the profiler."""
    time = every.duration_ns
    lines = []
    if short.any():
        lines.append(
            f"{plural(int(short.sum()), 'gap')} under {min_gap_us:g} µs, "
            f"{duration(int(time[short].sum()))} in all, not listed; --min-gap 0 lists all"
        )
    unknown = kept & (every.cause == idle.UNKNOWN)
    if unknown.any():
        lines.append(
            f"before work whose launch was not recorded: {plural(int(unknown.sum()), 'gap')}"
        )
    if overhead := sum(place.overhead_ns for place in every.places):
        lines.append(f"{duration(overhead)} of the profiler's own overhead count as busy")
    return tuple(lines)


def notes_on_selection(measured: MeasuredWindow) -> tuple[str, ...]:
    """Return lines on gaps that are cut, and on what decides whether one is left out."""
    lines = []
    every = measured.every_gap
    if (measured.gaps & (measured.idle.duration_ns < every.duration_ns)).any():
        lines.append("a gap that reaches beyond what counts is listed by its part in it")
    if measured.chosen.excluded_names:
        names = ", ".join(measured.chosen.excluded_names)
        lines.append(
            f"a gap is left out where {names} was open as it began, on any thread of its process"
        )
    return tuple(lines)


def with_readable_starts(table: Table, report: Report, args: argparse.Namespace) -> Table:
    """Return the table of gaps; for people with starts as text, from the first work of any GPU.

    A report may begin minutes before its first work; four digits of that would tell no two apart.
    """
    every = idle.idle_gaps(report)
    if args.format not in cli.WITH_HEADING or not every.places:
        return table
    if args.by:
        return with_words(table)
    first = min(int(place.busy.start_ns[0]) for place in every.places)
    start = np.asarray(table.columns["start_ns"]) - first
    words = [f"{time / 1e6:,.3f} ms" for time in start.tolist()]
    widest = max(map(len, words), default=0)
    columns: dict[str, Column] = {
        "start" if name == "start_ns" else name: (
            [word.rjust(widest) for word in words] if name == "start_ns" else column
        )
        for name, column in table.columns.items()
    }
    text = f"start: since the first work, {duration(first)} into the recording"
    return replace(table, columns=columns, heading=f"{table.heading}\n{text}")


def with_words(table: Table) -> Table:
    """Return the gaps summed up, for people with words where there is no range, call or symbol."""
    columns = dict(table.columns)
    rows = range(len(table.columns["count"]))
    called = table.columns.get("call", [""] * len(rows))
    for name, column in table.columns.items():
        if isinstance(column, list):
            lacking = [f"(no {name})" for _ in rows]
            if name == "symbol":  # a call tells what the host did by itself
                lacking = ["" if call else f"(no {name})" for call in called]
            columns[name] = [word or other for word, other in zip(column, lacking, strict=True)]
    return replace(table, columns=columns)


def groups_type(text: str) -> str:
    """Return what was typed for ``--by``, as `gaps` takes it."""
    try:
        groups(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gaps`."""
    parser.add_argument(
        "--by",
        type=groups_type,
        metavar="COLUMNS",
        help="sum up gaps that are alike in these: some of cause, call, range, symbol, device and "
        "process, with commas between (default: list each gap)",
    )
    parser.add_argument(
        "--min-gap",
        dest="min_gap_us",
        type=number_type("a time in microseconds", float),
        metavar="US",
        help=f"list no shorter ones, in microseconds (default {MIN_GAP_US:g}; with --by 0)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the gaps; see the module's docstring."""
    shown = with_readable_starts
    return question.answer(gaps, __doc__, "analysis.gaps", argv, add_options, finish=shown)


if __name__ == "__main__":
    sys.exit(cli.run(main))
