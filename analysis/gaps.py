"""When was the GPU idle, and why.

    python -m analysis.gaps report.sqlite
    python -m analysis.gaps report.sqlite --min-gap 500000     the threshold of NVIDIA's gpu_gaps

Gaps between the first and the last work of each device in each process, the longest first. `cause`
tells what the next work waited for: `host` came late with its launch, or a `synchronisation` or a
`copy` held it up; or it was launched in time, and took its `launch_latency`. `range` is where the
host was meanwhile. Kernels, graph replays, copies, sets and the profiler's own overhead are busy.
In a table `start` is since the first work; `start_ns` of csv and json is since the recording began.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import kernels
from analysis.arithmetic.union import IntervalUnion
from analysis.attribution import warmup
from analysis.attribution.launches import within
from analysis.knowledge.vocabulary import clean
from analysis.measures import idle, idle_causes
from analysis.recorded import ranges as nvtx
from analysis.recorded.operators import has_operators
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import duration, percent, plural
from analysis.show.table import Column, Table
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.measures.idle import Idle
    from analysis.recorded.ranges import Ranges

Bools = npt.NDArray[np.bool_]

MIN_GAP_US: Final = 10.0
"""Shorter than the launch of a kernel takes (5 to 10 µs), so nothing a user could close.

NVIDIA's ``gpu_gaps`` starts at 500 ms, longer than most training steps.
"""

PEOPLE: Final = ("table", "markdown")
"""The formats that people read."""

IN_TIME_NS: Final = 100_000
"""Ten times what a launch takes: work launched in time that waits longer waits for other work."""


def gaps(
    report: Report,
    *,
    min_gap_us: float = MIN_GAP_US,
    device: int | None = None,
    exclude_warmup: bool = False,
) -> Table:
    """Return one row per gap, the longest first.

    Args:
        report: what was recorded.
        min_gap_us: shorter ones are counted in the heading, and not listed.
        device: only this CUDA ordinal.
        exclude_warmup: leave out the gaps that begin during a warm-up range.

    Returns:
        ``device, start_ns, duration_ns, cause, range, process``; the range is "" where the host was
        in none.

    Raises:
        ReportError: there is no GPU work, or none on that device.
    """
    return listed(
        report,
        found(report),
        min_gap_us=min_gap_us,
        device=device,
        exclude_warmup=exclude_warmup,
    )


def found(report: Report) -> Idle:
    """Return when the GPUs were idle.

    Raises:
        ReportError: there is no GPU work.
    """
    result = idle.of(report)
    if not result.places:
        problem = "no GPU work in this report, so nothing that could be idle"
        if has_operators(report):
            problem += " (a CPU run)"
        raise ReportError(report.path, problem, "record on a GPU, with --trace=cuda,nvtx")
    return result


def listed(
    report: Report,
    every: Idle,
    *,
    min_gap_us: float = MIN_GAP_US,
    device: int | None = None,
    exclude_warmup: bool = False,
) -> Table:
    """Return the same of what is found already."""
    known = sorted({place.device for place in every.places})
    kernels.check(report, "device", device, lambda _: known)
    ranges = nvtx.load(report)
    warmups = ranges.take(ranges.called(names.WARMUP))
    kept = np.ones(len(every), np.bool_) if device is None else every.device == device
    warm = within(every.start_ns, every.process, warmups) & kept
    if exclude_warmup:
        kept &= ~warm
    long = every.duration_ns >= min_gap_us * 1e3
    rows = np.flatnonzero(kept & long)
    report.database.check_held(len(rows), "rows", "list fewer, with a larger --min-gap")
    rows = rows[np.lexsort((every.start_ns[rows], -every.duration_ns[rows]))]
    chosen = every.take(rows)
    return Table(
        name="gaps",
        columns={
            "device": chosen.device,
            "start_ns": chosen.start_ns,
            "duration_ns": chosen.duration_ns,
            "cause": [idle_causes.CAUSES[number] for number in chosen.cause.tolist()],
            "range": [clean(name) for name in idle.ranges_of(chosen, ranges)],
            "process": chosen.process,
        },
        heading="\n".join(
            (report.describe(), *heading(every, kept, device, warmups if exclude_warmup else None))
        ),
        notes=(
            *((warmup.NO_WARMUP,) if exclude_warmup and not len(warmups) else ()),
            *notes(every, kept, kept & ~long, warm, min_gap_us, excluded=exclude_warmup),
        ),
        hidden=() if len({place.process for place in every.places}) > 1 else ("process",),
    )


def heading(
    every: Idle, kept: Bools, device: int | None = None, left_out: Ranges | None = None
) -> tuple[str, ...]:
    """Return how long each device was idle, and for what cause.

    Args:
        every: all gaps.
        kept: ``(G,)`` those that count.
        device: only this one.
        left_out: ranges whose time does not count, as the gaps that begin in them do not.
    """
    lines = []
    several = len({place.process for place in every.places}) > 1
    for number, place in enumerate(every.places):
        if device is None or place.device == device:
            mine = kept & (every.place == number)
            time = int(every.duration_ns[mine].sum())
            of_process = f" in process {place.process}" if several else ""
            looked_at = place.busy.span_ns - unseen_ns(every, number, mine, left_out)
            lines.append(
                f"GPU {place.device}{of_process}: idle {duration(time)} of "
                f"{duration(looked_at)} ({percent(time / max(looked_at, 1))}), "
                f"in {plural(int(mine.sum()), 'gap')}"
            )
    return (*lines, *by_cause(every, kept))


def unseen_ns(every: Idle, number: int, kept: Bools, left_out: Ranges | None) -> int:
    """Return how much of a place's time is left out: ranges, and the gaps that begin in them.

    A gap that began before such a range and ends in it counts whole, and so does its time.
    """
    if left_out is None:
        return 0
    place = every.places[number]
    first, last = int(place.busy.start_ns[0]), int(place.busy.end_ns[-1])
    ranges = left_out.take(left_out.process == place.process)
    gaps_here = every.place == number
    begun = gaps_here & within(every.start_ns, every.process, left_out)
    parts = [
        (ranges.start_ns.clip(first, last), ranges.end_ns.clip(first, last)),
        *((every.start_ns[some], every.end_ns[some]) for some in (begun, kept)),
    ]
    start, end = (np.concatenate(column) for column in zip(*parts, strict=True))
    return IntervalUnion.of(start, end).busy_ns - int(every.duration_ns[kept].sum())


def by_cause(every: Idle, kept: Bools) -> tuple[str, ...]:
    """Return a line with each cause's share of the idle time; none where there is none."""
    times = every.by_cause(kept)
    total = max(sum(times.values()), 1)
    parts = [f"{cause} {percent(time / total)}" for cause, time in times.items() if time]
    return (f"by cause: {' · '.join(parts)}",) if parts else ()


def notes(
    every: Idle, kept: Bools, short: Bools, warm: Bools, min_gap_us: float, *, excluded: bool
) -> tuple[str, ...]:
    """Return what is not listed, and what else a reader should know."""
    time = every.duration_ns
    lines = []
    if short.any():
        lines.append(
            f"{plural(int(short.sum()), 'gap')} under {min_gap_us:g} µs, "
            f"{duration(int(time[short].sum()))} in all, not listed; --min-gap 0 lists all"
        )
    if warm.any():
        what = "left out" if excluded else "included; --exclude warmup leaves warm-up out"
        lines.append(
            f"{plural(int(warm.sum()), 'gap')}, {duration(int(time[warm].sum()))}, began in "
            f"warm-up: {what}"
        )
    unknown = kept & (every.cause == idle_causes.CAUSES.index(idle_causes.UNKNOWN))
    if unknown.any():
        lines.append(
            f"before work whose launch was not recorded: {plural(int(unknown.sum()), 'gap')}"
        )
    waiting = (
        kept
        & (every.cause == idle_causes.CAUSES.index(idle_causes.LAUNCH_LATENCY))
        & (time >= IN_TIME_NS)
    )
    if waiting.any():
        lines.append(
            f"{plural(int(waiting.sum()), 'gap')} of {duration(IN_TIME_NS)} or more before work "
            "that was launched in time: it waited for an event, or for another device"
        )
    if overhead := sum(place.overhead_ns for place in every.places):
        lines.append(f"{duration(overhead)} of the profiler's own overhead count as busy")
    return tuple(lines)


def for_people(table: Table, every: Idle) -> Table:
    """Return the gaps with their starts as text, since the first work of any GPU.

    A report may begin minutes before its first work; four digits of that would tell no two apart.
    """
    if not every.places:
        return table
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
    said = f"start: since the first work, {duration(first)} into the recording"
    return replace(table, columns=columns, heading=f"{table.heading}\n{said}")


def microseconds(word: str) -> float:
    """Return a time from the command line; less than nothing is wrong usage."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not (0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"{word!r} is not a time in microseconds")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Print the gaps; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.gaps")
    parser.add_argument(
        "--min-gap",
        type=microseconds,
        metavar="US",
        default=MIN_GAP_US,
        help="list no shorter ones, in microseconds (default %(default)g)",
    )
    parser.add_argument("--device", type=int, metavar="N", help="only this GPU (default all)")
    parser.add_argument(
        "--exclude", choices=("warmup", "none"), default="none", help="(default %(default)s)"
    )
    args = cli.parse(parser, argv)
    with Report(args.report) as report:
        every = found(report)
        table = listed(
            report,
            every,
            min_gap_us=args.min_gap,
            device=args.device,
            exclude_warmup=args.exclude == "warmup",
        )
    if args.format in PEOPLE:
        table = for_people(table, every)
    cli.emit(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
