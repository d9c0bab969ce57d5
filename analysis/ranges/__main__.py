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

Where the report marks warm-up it is left out, and the heading says how much that was; with
`--exclude none` it is in, and the figures are NVIDIA's. In a table the tree has the places with the
most time, where they stand; csv and json have all of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Unpack

import numpy as np

from analysis.attribution import selection
from analysis.attribution.launches import Attribution
from analysis.attribution.selection import Options, Selected, Selection
from analysis.measures.range_times import range_times
from analysis.ranges.rows import by_name, each, notes
from analysis.ranges.tree import nested
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.table import Table
from analysis.source.report import Report

NO_WORK: Final = (
    "no GPU work and no CPU operators in this report: only how long its ranges were open"
)
OF_WORK: Final = ("span_ns", "busy_ns", "kernel_ns", "self_ns", "gpu_ops", "backward_ns")
"""Columns that say nothing where no work was recorded."""


def summary(
    report: Report,
    *,
    tree: bool = False,
    instances: bool = False,
    depth: int | None = None,
    most: int | None = None,
    **selected: Unpack[Options],
) -> Table:
    """Return the ranges of a report with the GPU time of each.

    Args:
        report: what was recorded.
        tree: one row per place in the tree of ranges, in the order they first open, with ``depth``
            and ``path`` as further columns; else one row per name, style and domain.
        instances: one row per range, in the order they open, with ``start_ns`` and ``thread`` as
            further columns.
        depth: how many levels the tree has; None for all.
        most: how many places the tree has, those with the most time; None for all.
        selected: what counts: see `analysis.attribution.selection.Options`.

    Returns:
        ``range, style, instances, wall_ns, span_ns, busy_ns, kernel_ns, self_ns, gpu_ops, flops,
        backward_ns, source, domain``; ``flops`` is NaN where it is not known, and ``backward_ns``
        where no work of the report has an origin; ``domain`` is "" for what NVTX has no name for,
        else what NVIDIA's reports put before the range's name.

    Raises:
        ReportError: there is no range and no work, or no such range, step, device or process.
    """
    chosen = Selected.of_any(report, Selection(**selected))
    found, kept = chosen.found, chosen.ranges
    if not len(found.ranges):
        Attribution.of(report)  # which says so where there is no work either
        raise ReportError(report.path, "no NVTX ranges in this report", "record with --trace=nvtx")
    times = range_times(chosen)
    if instances:
        table = each(found, times, np.flatnonzero(kept))
    elif tree:
        table = nested(found, times, chosen.parents, kept, levels=depth, most=most)
    else:
        table = by_name(found, times, kept)
    said: tuple[str, ...] = ()
    if not times.gpu_ops.any() and not len(found.work):
        said = (NO_WORK,)
        table = replace(table, hidden=(*table.hidden, *OF_WORK))
    table = replace(table, notes=(*said, *notes(chosen), *table.notes))
    return replace(table, counted=chosen.lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ranges; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.ranges")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tree", action="store_true", help="nest them by where they stand")
    shape.add_argument("--instances", action="store_true", help="each one, in the order they open")
    parser.add_argument(
        "--depth", type=cli.positive, metavar="N", help="of the tree only the first N levels"
    )
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    if args.depth is not None and not args.tree:
        parser.error("--depth goes with --tree")
    with Report(args.report) as report:
        answer = asked(report, args)
    cli.emit(answer, args, most=None if args.tree else cli.TOP_OF_A_TABLE)
    return 0


def asked(report: Report, args: argparse.Namespace) -> Table:
    """Return what the arguments ask for; a tree that a person reads is cut to what took most."""
    for_reading = args.tree and args.format == "table"
    return summary(
        report,
        tree=args.tree,
        instances=args.instances,
        depth=args.depth,
        most=args.top or (cli.TOP_OF_A_TABLE if for_reading else None),
        **selection.of_arguments(args),
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
