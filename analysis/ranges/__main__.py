"""GPU time of every NVTX range.

    python -m analysis.ranges report.sqlite
    python -m analysis.ranges report.sqlite --tree --depth 4
    python -m analysis.ranges report.sqlite --instances --format csv

A range has what was launched inside it on its own thread. `span` runs from the first operation's
start to the last one's end, idle time included, and with `gpu ops` equals NVIDIA's
nvtx_gpu_proj_sum; `busy` is the time anything of it ran; `kernel` sums its kernels, `self` only
those of no range inside it; `backward` is what its work brought about in the backward pass. Times
are totals over the instances. Where a range lies inside one of its own name, only the outer one
counts for busy, kernel and backward, so that nothing counts twice. `analysis.phases`, `--within`
and `analysis.compare` also count what another thread launched while a phase or a step was open.

In a table the tree has the places with the most time, where they stand, and where there are steps
it leaves warm-up out (`--exclude none` keeps it); csv and json have all of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analysis import kernels
from analysis.arithmetic.intervals import NONE, parents
from analysis.attribution import selection, steps, warmup
from analysis.attribution.launches import Attribution
from analysis.attribution.selection import Selection
from analysis.measures.range_times import range_times
from analysis.ranges.notes import notes
from analysis.ranges.rows import by_name, each
from analysis.ranges.tree import nested
from analysis.recorded import ranges as nvtx
from analysis.recorded.operators import has_operators
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.table import Table
from analysis.source import tables
from analysis.source.report import Report
from profiling import names

if TYPE_CHECKING:
    from analysis.recorded.ranges import Ranges

Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_WORK: Final = (
    "no GPU work and no CPU operators in this report: only how long its ranges were open"
)
OF_WORK: Final = ("span_ns", "busy_ns", "kernel_ns", "self_ns", "gpu_ops", "backward_ns")
"""Columns that say nothing where no work was recorded."""

NOTHING: Final = "none"
"""What `--exclude` leaves out where it is to leave out nothing, not even the tree's warm-up."""


def summary(
    report: Report,
    *,
    tree: bool = False,
    instances: bool = False,
    exclude: Sequence[str] = (),
    depth: int | None = None,
    most: int | None = None,
    device: int | None = None,
    process: int | None = None,
) -> Table:
    """Return the ranges of a report with the GPU time of each.

    Args:
        report: what was recorded.
        tree: one row per place in the tree of ranges, in the order they first open, with ``depth``
            and ``path`` as further columns; else one row per name, style and domain.
        instances: one row per range, in the order they open, with ``start_ns`` and ``thread`` as
            further columns.
        exclude: ranges by name that are left out, with all inside them.
        depth: how many levels the tree has; None for all.
        most: how many places the tree has, those with the most time; None for all.
        device: only what ran on this CUDA ordinal, and ranges of processes that used it.
        process: only ranges of this process.

    Returns:
        ``range, style, instances, wall_ns, span_ns, busy_ns, kernel_ns, self_ns, gpu_ops, flops,
        backward_ns, source, domain``; ``flops`` is NaN where it is not known, and ``backward_ns``
        where no work of the report has an origin; ``domain`` is "" for what NVTX has no name for,
        else what NVIDIA's reports put before the range's name.

    Raises:
        ReportError: there is neither work nor a range, or no such device or process.
    """
    found = attributed(report)
    if not len(found.ranges):
        raise ReportError(report.path, "no NVTX ranges in this report", "record with --trace=nvtx")
    of_place = in_place(found, device, process)
    times, parent = range_times(found, device), parents_of(found.ranges)
    kept = of_processes(found, of_place, device, process)
    said: list[str] = []
    for name in exclude:
        chosen, noted = below(found, name, parent)
        kept &= ~chosen
        said += noted
    if instances:
        table = each(found, times, np.flatnonzero(kept))
    elif tree:
        table = nested(found, times, parent, kept, levels=depth, most=most)
    else:
        table = by_name(found, times, kept)
    if not times.gpu_ops.any() and not len(found.work.kind):
        said.append(NO_WORK)
        table = replace(table, hidden=(*table.hidden, *OF_WORK))
    return replace(table, notes=(*said, *notes(found, kept, of_place), *table.notes))


def attributed(report: Report) -> Attribution:
    """Return a report's ranges beside its work; no work where there is none, but there are ranges.

    Raises:
        ReportError: there is neither.
    """
    recorded = (tables.KERNEL, tables.GRAPH)
    if not all(tables.is_empty(report, table) for table in recorded) or has_operators(report):
        return Attribution.of(report)
    ranges = nvtx.load(report)
    if not len(ranges):
        return Attribution.of(report)  # which says that there is nothing
    none = np.empty(0, np.int64)
    return Attribution(report, kernels.Work([], [], none, none), ranges)


def in_place(found: Attribution, device: int | None, process: int | None) -> Bools:
    """Return ``(N,)`` which work is on a device and of a process.

    Raises:
        ReportError: there is no such device or process.
    """
    work = found.work
    idle = process is not None and bool((found.ranges.process == process).any())
    if idle and not work.on_cpu and process not in tables.processes(found.report):
        return np.zeros(len(work.kind), np.bool_)  # it has ranges, and launched nothing
    return selection.on(found.report, work, Selection(device=device, process=process))


def of_processes(
    found: Attribution, of_place: Bools, device: int | None, process: int | None
) -> Bools:
    """Return ``(R,)`` which ranges are of a process, and of one that used a device.

    Args:
        found: the ranges.
        of_place: ``(N,)`` which work is on the device and of the process.
        device: a CUDA ordinal, or None.
        process: an id, or None.
    """
    of_range = found.ranges.process
    kept = np.ones(len(of_range), np.bool_) if process is None else of_range == process
    if device is not None:
        thread = found.launches.thread[of_place & found.launches.known]
        kept &= np.isin(of_range, np.unique((thread >> 24) & 0xFFFFFF))
    return kept


def parents_of(ranges: Ranges) -> Int64:
    """Return the innermost other range around each, or `NONE`."""
    return parents(ranges.start_ns, ranges.end_ns, ranges.thread)


def below(found: Attribution, name: str, parent: Int64) -> tuple[Bools, tuple[str, ...]]:
    """Return which ranges have a name or lie inside one that has, on any thread for warm-up.

    And what there is to say: see `analysis.attribution.warmup.left_out`.
    """
    result, said = warmup.left_out(found.report.path, found.ranges, name)
    if warmup.all_of(found.ranges, result, names.WARMUP):
        return found.ranges_in_warmup, said
    while True:
        # Ranges come after those around them, so a few rounds reach the bottom.
        further = result | ((parent != NONE) & result[parent])
        if np.array_equal(further, result):
            return result, said
        result = further


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ranges; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.ranges")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tree", action="store_true", help="nest them by where they stand")
    shape.add_argument("--instances", action="store_true", help="each one, in the order they open")
    parser.add_argument(
        "--depth", type=cli.positive, metavar="N", help="of the tree only the first N levels"
    )
    parser.add_argument(
        "--exclude",
        metavar="RANGE",
        action="append",
        default=[],
        help="leave a range out, such as warmup, and what is inside it; may be repeated",
    )
    selection.add_places(parser)
    args = cli.parse(parser, argv)
    if args.depth is not None and not args.tree:
        parser.error("--depth goes with --tree")
    with Report(args.report) as report:
        answer = asked(report, args)
    cli.emit(answer, args, most=None if args.tree else cli.TOP_OF_A_TABLE)
    return 0


def asked(report: Report, args: argparse.Namespace) -> Table:
    """Return what the arguments ask for; a tree that a person reads is cut to what took most."""
    exclude = [name for name in args.exclude if name != NOTHING]
    for_reading = args.tree and args.format == "table"
    hidden: tuple[str, ...] = ()
    if for_reading and not args.exclude:
        found = attributed(report)
        if len(found.warmup) and steps.of(found) is not None:
            exclude, hidden = [names.WARMUP], ("--exclude none puts warm-up into the tree",)
    most = args.top or (cli.TOP_OF_A_TABLE if for_reading else None)
    answer = summary(
        report,
        tree=args.tree,
        instances=args.instances,
        exclude=exclude,
        depth=args.depth,
        most=most,
        device=args.device,
        process=args.process,
    )
    return replace(answer, notes=(*answer.notes, *hidden))


if __name__ == "__main__":
    sys.exit(cli.run(main))
