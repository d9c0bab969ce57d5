"""Compare two reports: what got faster, what got slower, what is new and what is gone.

    python -m analysis.compare before.sqlite after.sqlite
    python -m analysis.compare before.sqlite after.sqlite --kind kernel --format csv
    python -m analysis.compare before.sqlite after.sqlite --fail-over 5

Times are means per step where both reports have `step` ranges, else of the whole reports; the
heading says which. Kernels are matched by name, without the numbers that Inductor and Triton give
them anew, ranges by their canonical names. `busy` is the time in which a GPU did anything, summed
over GPUs; `wall` is how long a step was open on the host; `kernel` (on a CPU `operator`) is the sum
over all kernels. Rows of a kind add up to it (of ranges, which contain one another, the column
self_before_ns does). `call_ratio` is that of the mean time of one call. --top is for each kind.

A difference is called noise where steps differ as much among themselves (Welch's test at 5 %, the
names of a kind judged together); with fewer than two steps it is not judged. Two runs may differ
by more than their steps do, through clocks and temperature: repeat what matters.

Warm-up is left out; --exclude none includes it. With --fail-over the exit status is 3 if a step's
busy time (on a CPU its wall time) is more than so many percent longer in AFTER than in BEFORE.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from analysis import cli
from analysis.compare_checks import SIDES, Both, check
from analysis.compare_noise import FEWEST
from analysis.compare_rows import SORTS, order, rows
from analysis.compare_sides import BUSY, KINDS, WALL, Side, side
from analysis.compare_text import (
    TOTALS,
    UNSEEN,
    Row,
    heading,
    joined,
    limited,
    only,
    percent,
    sections,
    total_line,
)
from analysis.errors import ReportError
from analysis.render import duration
from analysis.report import Report
from analysis.table import Table

GATE_FAILED: Final = 3


def compare(
    before: Report,
    after: Report,
    *,
    exclude_warmup: bool = True,
    force: bool = False,
    sort: str = "delta",
) -> Table:
    """Return one row for every name of either report, by kind.

    Args:
        before: the report that the other is measured by.
        after: the other.
        exclude_warmup: leave out what was launched during a warm-up range.
        force: compare runs on other GPUs, or of another mode, all the same.
        sort: within a kind, one of `analysis.compare_rows.SORTS`.

    Returns:
        ``kind, name, before_ns, after_ns, delta_ns, ratio, calls_before, calls_after, status,
        call_ratio, p, ratio_low, ratio_high, total_before_ns, total_after_ns, self_before_ns,
        self_after_ns, recorded_before, recorded_after``. The first times and calls are means per
        step, whole numbers where there is one; the ``total`` ones are of all steps together. What
        is not known is NaN: a ratio to nothing, noise with one step.

    Raises:
        ReportError: one of them cannot answer, or they cannot be compared.
    """
    reports = before, after
    sides = [side(report, exclude_warmup=exclude_warmup) for report in reports]
    stepped = [each.has_steps for each in sides]
    notes: list[str] = []
    if stepped[0] != stepped[1]:
        place = stepped.index(True)
        sides[place] = side(reports[place], exclude_warmup=exclude_warmup, whole=True)
        notes.append(f"no step ranges {SIDES[1 - place]}: whole reports are compared")
    notes += check(Both(reports, (sides[0], sides[1])), force=force)
    for word, each in zip(SIDES, sides, strict=True):
        notes += [f"{word}: {note}" for note in each.notes]
    notes += unjudged(sides)
    columns = rows(*sides)
    table = Table("compare", columns, notes=tuple(notes), unseen=UNSEEN)
    table = table.take(order(columns, sort))
    totals = sorted(only(table, "total").rows(), key=lambda row: TOTALS.index(str(row["name"])))
    lines = heading(reports, sides, excluded=exclude_warmup)
    return replace(table, heading="\n".join([*lines, *map(total_line, totals)]))


def unjudged(sides: Sequence[Side]) -> list[str]:
    """Return a line where there are too few steps to tell change from noise."""
    if not sides[0].has_steps:
        return ["noise cannot be judged without steps; put a range called step around each"]
    few = [word for word, each in zip(SIDES, sides, strict=True) if each.contents.count < FEWEST]
    if not few:
        return []
    return [f"noise cannot be judged with one step {' and '.join(few)}; record STEPS=3 or more"]


def gate(totals: Mapping[str, Row], limit: float, paths: Sequence[str]) -> str:
    """Return why AFTER is too slow, or nothing if it is not.

    Args:
        totals: rows of kind ``total`` by name.
        limit: percent.
        paths: of the two reports, for the error.

    Raises:
        ReportError: in one of them nothing was measured, so it cannot be judged.
    """
    name = BUSY if BUSY in totals else WALL
    row = totals[name]
    before, after = float(row["before_ns"]), float(row["after_ns"])
    for path, time in zip(paths, (before, after), strict=True):
        if not time:
            raise ReportError(path, f"no {name} time, so no gate", "see the notes on what is left")
    if not over(row, limit):
        return ""
    return (
        f"gate failed: {name} time {duration(before)} -> {duration(after)}, "
        f"{percent(float(row['ratio']))} ({row['status']}), more than the {limit:g} % allowed"
    )


def over(row: Row, limit: float) -> bool:
    """Return whether AFTER takes over so many percent longer."""
    # Multiplied out: 100 * 1.14 is 113.99999999999999.
    return float(row["after_ns"]) * 100 > float(row["before_ns"]) * (100 + limit)


def overlapping(totals: Mapping[str, Row], limit: float) -> list[str]:
    """Return a line where kernels took that much longer, but the GPU not."""
    if BUSY not in totals or over(totals[BUSY], limit) or not over(totals["kernel"], limit):
        return []
    changes = [percent(float(totals[name]["ratio"])) for name in ("kernel", BUSY)]
    return [
        f"kernels took {changes[0]}, the GPU was busy {changes[1]}: copies and overlap make "
        "the difference"
    ]


def allowed(word: str) -> float:
    """Return a percentage from the command line; it is a number and not negative."""
    try:
        limit = float(word)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit) or limit < 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not a percentage of 0 or more")
    return limit


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; see the module's docstring."""
    parser = cli.parser(__doc__, "python -m analysis.compare", "before", "after")
    parser.add_argument("--kind", choices=KINDS, help="only these rows (default all)")
    parser.add_argument(
        "--sort", choices=SORTS, default="delta", help="within a kind (default %(default)s)"
    )
    parser.add_argument(
        "--fail-over", type=allowed, metavar="PERCENT", help="exit 3 if slower (default: never)"
    )
    parser.add_argument(
        "--force", action="store_true", help="compare other GPUs and modes too (default: refuse)"
    )
    cli.add_exclude(parser)
    args = cli.parse(parser, argv)
    with Report(args.before) as before, Report(args.after) as after:
        whole = compare(
            before,
            after,
            exclude_warmup=args.exclude == "warmup",
            force=args.force,
            sort=args.sort,
        )
    show(whole, args)
    if args.fail_over is None:
        return 0
    totals = {str(row["name"]): row for row in only(whole, "total").rows()}
    problem = gate(totals, args.fail_over, (args.before, args.after))
    cli.say(*overlapping(totals, args.fail_over))
    if problem:
        print(problem, file=sys.stderr)
    return GATE_FAILED if problem else 0


def show(whole: Table, args: argparse.Namespace) -> None:
    """Write the rows that are asked for: for people a table for each kind, else one of all.

    Raises:
        ReportError: there is no row of the kind that is asked for.
    """
    chosen = only(whole, args.kind)
    if not len(chosen):
        there = ", ".join(dict.fromkeys(whole.columns["kind"]))
        raise ReportError(args.after, f"no {args.kind} in either report", f"compared are: {there}")
    top = args.top or (cli.TOP_OF_A_TABLE if args.format == "table" else None)
    shown, more = limited(sections(chosen), top)
    if args.format == "table":
        rows_ = [part for part in shown if args.kind or part.columns["kind"][0] != "total"] or shown
        shown = [replace(rows_[0], heading=f"{whole.heading}\n\n{rows_[0].heading}"), *rows_[1:]]
    else:
        shown = [joined(shown, whole)]
    cli.put(shown, args)
    cli.say(*whole.notes, *more)


if __name__ == "__main__":
    sys.exit(cli.run(main))
