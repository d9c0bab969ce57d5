"""Compare two reports: what got faster, what got slower, what is new and what is gone.

    python -m analysis.compare before.sqlite after.sqlite
    python -m analysis.compare before.sqlite after.sqlite --kind kernel --format csv
    python -m analysis.compare before.sqlite after.sqlite --fail-over 5
    python -m analysis.compare before.sqlite after.sqlite --html page.html

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

The first line is the verdict: slower, faster, same (the whole 95 % interval within 1 %), no
difference shown, not judged, or other shapes and other work, where the times differ as the work
does. json is an object with `verdict`, `gate` (passed, failed, not judged, null where none is asked
for), `reason` and the `rows`. From a doubling on a change is said in times, 18.6×.

A difference is called noise where steps differ as much among themselves (Welch's test at 5 %, each
total by itself, the names of any other kind judged together); with fewer than two steps it is not
judged. Two runs may differ by more than their steps do, through clocks and temperature: repeat what
matters.

Warm-up is left out; --exclude none includes it. With --fail-over the exit status is 3 if a step's
busy time (on a CPU its wall time) is more than so many percent longer in AFTER than in BEFORE,
noise or not. It is 1 if that cannot be judged: runs of another mode, size, batch, context or dtype,
or reports without steps in which the same kernels were not called as often. --force judges them all
the same.

With --html it is one file for a browser, with the time lines of both reports.

With --predicted the lines after the verdict say what came of a change that was predicted: FILE is
what `python -m analysis.whatif BEFORE --scale gemm=0.25 --format json --output FILE` wrote. They
hold the median step, of runs without steps the time from the first launch to the last end, against
what was predicted, and then the categories, copies and idle time that differ most; ranges that the
change named are told besides. json has it all under `prediction`. A prediction is of whole reports.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from analysis.attribution import selection
from analysis.attribution.selection import Selection
from analysis.compare.compare import Comparison, comparison
from analysis.compare.gate import gate, unjudged_slowdowns
from analysis.compare.rows import SORTS
from analysis.compare.show import Row, only_kind, sections
from analysis.compare.sides import KINDS
from analysis.compare.verdict import NOT_JUDGED, OTHER_WORK
from analysis.measures.kept_predictions.record import read_prediction
from analysis.show import cli
from analysis.show.command import number_type
from analysis.show.errors import ReportError
from analysis.show.sheet import say
from analysis.show.table import Table, joined_columns
from analysis.source.report import Report

GATE_FAILED: Final = 3
PASSED: Final = "passed"
FAILED: Final = "failed"


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
    parser.add_argument(
        "--predicted",
        metavar="FILE",
        help="say what came of the prediction that whatif wrote there as json",
    )
    selection.add_options(parser)
    cli.add_html(parser)
    args = cli.parse(parser, argv)
    asked = Selection(**selection.options_of(args))
    prediction = None
    if args.predicted is not None:
        if asked != Selection():
            parser.error(f"--predicted is of whole reports: leave {' '.join(asked.arguments)} out")
        prediction = read_prediction(args.predicted, args.before)
    with Report(args.before) as before, Report(args.after) as after:
        if prediction is not None:
            prediction.check_report(args.predicted, before)
        found = comparison(
            before,
            after,
            asked,
            force=args.force,
            gated=args.fail_over is not None,
            sort=args.sort,
            prediction=prediction,
        )
        if args.html is not None:
            from analysis.compare.browser import as_html  # here: no table needs it

            with cli.html_file(args) as draft:
                draft.write_text(as_html((before, after), found), encoding="ascii")
    totals = {str(row["name"]): row for row in only_kind(found.table, "total").rows()}
    problem, refusal = None, None
    try:
        problem = gate_problem(found, totals, args)
    except ReportError as error:
        refusal = error
    state = {None: None, "": PASSED}.get(problem, FAILED) if refusal is None else NOT_JUDGED
    gate_reason = refusal.problem if refusal is not None else problem
    reasons = [found.verdict.reason, gate_reason]
    if gate_reason and found.verdict.reason in gate_reason:
        del reasons[0]
    said = {
        "verdict": found.verdict.word,
        "gate": state,
        "reason": "; ".join(filter(None, reasons)),
        **({} if found.outcome is None else {"prediction": found.outcome.record}),
    }
    if args.html is None:
        write_rows(replace(found.table, whole=said), args)
    if args.format not in cli.WITH_HEADING and found.verdict.word != OTHER_WORK:
        cli.print_notes(str(found.verdict))
    if args.format not in cli.WITH_HEADING and found.outcome is not None:
        cli.print_notes(*map(str.strip, found.outcome.lines))
    if found.work and not found.work.alike and args.format != "table":
        cli.print_notes(f"{found.work}: see call_ratio, not the times")
    if refusal is not None:
        raise refusal
    if args.fail_over is not None:
        cli.print_notes(*unjudged_slowdowns(totals, args.fail_over))
    if problem:
        say(problem)
    return GATE_FAILED if problem else 0


def gate_problem(
    found: Comparison, totals: Mapping[str, Row], args: argparse.Namespace
) -> str | None:
    """Return why AFTER fails the gate, "" if it passes, None if none is asked for.

    Raises:
        ReportError: it cannot be judged.
    """
    if args.fail_over is None:
        return None
    if found.work and not found.work.alike and not args.force:
        remedy = "record a range called step around each step, or give --force"
        raise ReportError(args.after, f"cannot be judged without steps: {found.work}", remedy)
    return gate(totals, args.fail_over, (args.before, args.after), found.queued_ns)


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
