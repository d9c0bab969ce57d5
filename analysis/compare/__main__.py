"""Compare two reports: what got faster, what got slower, what is new and what is gone.

    python -m analysis.compare before.sqlite after.sqlite
    python -m analysis.compare before.sqlite after.sqlite --kind kernel --format csv
    python -m analysis.compare before.sqlite after.sqlite --fail-over 5

Times are means per step where both reports have `step` ranges, else of the whole reports; the
heading says which. Whole reports need not hold the same work: where the same kernels were called
more often or less, it says by how much. Kernels are matched by name, without the numbers that
Inductor and Triton give them anew, ranges by their canonical names. `busy` is the time in which a
GPU did anything, summed over GPUs; `wall` is how long a step was open on the host; `idle` is the
share of it in which a GPU did nothing; `kernel` (on a CPU `operator`) is the sum over all kernels.
Rows of a kind add up to it (of ranges, which contain one another, the column self_before_ns does;
of means, to a nanosecond a row). A range has what it launched on its own thread, and what autograd
launched for it on another (`analysis.ranges` shows the first alone). `call_ratio` is that of the
mean time of one call. --top is for each kind.

A difference is called noise where steps differ as much among themselves (Welch's test at 5 %, each
total by itself, the names of any other kind judged together); with fewer than two steps it is not
judged. Two runs may differ by more than their steps do, through clocks and temperature: repeat what
matters.

Warm-up is left out; --exclude none includes it. With --fail-over the exit status is 3 if a step's
busy time (on a CPU its wall time) is more than so many percent longer in AFTER than in BEFORE,
noise or not. It is 1 if that cannot be judged: runs of another mode, size, batch, context or dtype,
or reports without steps in which the same kernels were not called as often. --force judges them all
the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from analysis.attribution import selection
from analysis.attribution.selection import Selection
from analysis.compare.compare import comparison
from analysis.compare.gate import gate, unjudged_slowdowns
from analysis.compare.rows import SORTS
from analysis.compare.show import only_kind, sections
from analysis.compare.sides import KINDS
from analysis.show import cli
from analysis.show.command import number_type
from analysis.show.errors import ReportError
from analysis.show.table import Table, joined_columns
from analysis.source.report import Report

GATE_FAILED: Final = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.compare", "before", "after")
    parser.add_argument("--kind", choices=KINDS, help="only these rows (default all)")
    parser.add_argument(
        "--sort", choices=SORTS, default="delta", help="within a kind (default %(default)s)"
    )
    parser.add_argument(
        "--fail-over",
        type=number_type("a percentage of 0 or more", float),
        metavar="PERCENT",
        help="exit 3 if slower (default: never)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare, and judge, other GPUs, modes and work too (default: refuse)",
    )
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    with Report(args.before) as before, Report(args.after) as after:
        whole, work, queued_ns = comparison(
            before,
            after,
            Selection(**selection.options_of(args)),
            force=args.force,
            gated=args.fail_over is not None,
            sort=args.sort,
        )
    write_rows(whole, args)
    if work and not work.alike and args.format != "table":
        cli.print_notes(f"{work}: see call_ratio, not the times")
    if args.fail_over is None:
        return 0
    if work and not work.alike and not args.force:
        remedy = "record a range called step around each step, or give --force"
        raise ReportError(args.after, f"cannot be judged without steps: {work}", remedy)
    totals = {str(row["name"]): row for row in only_kind(whole, "total").rows()}
    problem = gate(totals, args.fail_over, (args.before, args.after), queued_ns)
    cli.print_notes(*unjudged_slowdowns(totals, args.fail_over))
    if problem:
        print(problem, file=sys.stderr)
    return GATE_FAILED if problem else 0


def write_rows(whole: Table, args: argparse.Namespace) -> None:
    """Write the rows that are asked for: a table for each kind for people, else one of all.

    Raises:
        ReportError: there is no row of the kind that is asked for.
    """
    if args.format in cli.WITH_HEADING:
        whole = replace(whole, counted=())  # the heading says it for each side
    chosen = only_kind(whole, args.kind)
    if not len(chosen):
        there = ", ".join(dict.fromkeys(whole.columns["kind"]))
        where = "that both reports have" if args.kind == "phase" else "in either report"
        raise ReportError(args.after, f"no {args.kind} {where}", f"compared are: {there}")
    top = args.top or (cli.TOP_OF_A_TABLE if args.format == "table" else None)
    parts = [
        cli.first_rows(part, top, f" of kind {part.columns['kind'][0]}")
        for part in sections(chosen)
    ]
    shown, more = [part for part, _ in parts], [line for _, lines in parts for line in lines]
    if args.format == "table":
        rows_ = [part for part in shown if args.kind or part.columns["kind"][0] != "total"] or shown
        heading = f"{whole.heading}\n\n{rows_[0].heading}"
        shown = [replace(rows_[0], heading=heading), *rows_[1:]]
    else:
        shown = [replace(whole, columns=joined_columns([part.columns for part in shown]))]
    cli.write_tables(shown, args)
    cli.print_notes(*cli.counted_notes(whole, args), *whole.notes, *more)


if __name__ == "__main__":
    sys.exit(cli.run(main))
