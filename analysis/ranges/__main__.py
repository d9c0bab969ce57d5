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
Phases and steps that no range marks are inferred from what PyTorch records by itself: such a range
was not recorded, and its `style` in csv and json is `inferred`.

Where the report marks warm-up, or a slow first step is inferred to be that, it is left out, and
the heading says how much that was; with `--exclude none` it is in, and the figures are NVIDIA's.
In a tree the places with the most kernel time come first, each followed by those inside it;
`lost` is what the work there, as far as an ideal time of it is known, took longer than that. A
table has those with the most and indents them, csv and json have all, with `depth` and `path` in
place of the indentation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis.attribution import selection
from analysis.ranges.summary import summary
from analysis.ranges.tree import indented
from analysis.show import cli
from analysis.show.command import count
from analysis.show.table import Table
from analysis.source.report import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ranges; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.ranges")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tree", action="store_true", help="nest them by where they stand")
    shape.add_argument("--instances", action="store_true", help="each one, in the order they open")
    parser.add_argument(
        "--depth", type=count, metavar="N", help="of the tree only the first N levels"
    )
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    if args.depth is not None and not args.tree:
        parser.error("--depth goes with --tree")
    with Report(args.report) as report:
        answer = table_asked_for(report, args)
    cli.write_answer(answer, args, most=None if args.tree else cli.TOP_OF_A_TABLE)
    return 0


def table_asked_for(report: Report, args: argparse.Namespace) -> Table:
    """Return the table that the arguments ask for; a tree that a person reads is cut."""
    for_reading = args.tree and args.format == "table"
    answer = summary(
        report,
        tree=args.tree,
        instances=args.instances,
        depth=args.depth,
        most=args.top or (cli.TOP_OF_A_TABLE if for_reading else None),
        **selection.options_of(args),
    )
    return indented(answer) if args.tree and args.format in cli.WITH_HEADING else answer


if __name__ == "__main__":
    sys.exit(cli.run(main))
