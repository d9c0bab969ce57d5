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
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Unpack

from analysis.arithmetic.noise import FEWEST
from analysis.attribution import selection
from analysis.attribution.selection import Options, Selection
from analysis.compare.checks import SIDES, Both, SharedWork, check, shared_work, work_line
from analysis.compare.rows import NOISE, SORTS, UNJUDGED, order, rows
from analysis.compare.show import (
    TOTALS,
    UNSEEN,
    Row,
    heading,
    idle_line,
    joined,
    limited,
    only,
    percent,
    sections,
    total_line,
)
from analysis.compare.sides import BUSY, KINDS, WALL, Side, side
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import duration
from analysis.show.table import Table
from analysis.source.report import Report

GATE_FAILED: Final = 3

DOUBTS: Final = {
    NOISE: "; the steps differ among themselves by so much that it may be chance: record more",
    UNJUDGED: "; with fewer than two steps nobody knows whether by chance",
}
"""What to say of a gate that failed on a difference of that status."""


def compare(
    before: Report,
    after: Report,
    *,
    force: bool = False,
    sort: str = "delta",
    **selected: Unpack[Options],
) -> Table:
    """Return one row for every name of either report, by kind.

    Args:
        before: the report that the other is measured by.
        after: the other.
        force: compare runs on other GPUs, or of another mode, all the same.
        sort: within a kind, one of `analysis.compare.rows.SORTS`.
        selected: what counts of both: see `analysis.attribution.selection.Options`.

    Returns:
        ``kind, name, before_ns, after_ns, delta_ns, ratio, calls_before, calls_after, status,
        call_ratio, p, ratio_low, ratio_high, total_before_ns, total_after_ns, self_before_ns,
        self_after_ns, recorded_before, recorded_after``. The first times and calls are means per
        step, times to the nanosecond; the ``total`` ones are of all steps together. The interval
        and ``p`` are of the name by itself. What is not known is NaN: a ratio to nothing, noise
        with one step.

    Raises:
        ReportError: one of them cannot answer, or they cannot be compared.
    """
    return compared(before, after, Selection(**selected), force=force, sort=sort).table


class Compared(NamedTuple):
    """A comparison, and what a gate needs of it besides.

    Attributes:
        table: the answer.
        work: how the work differs where there are no steps.
        queued_ns: before and after, the mean time a step that the GPUs would have been busy, had no
            two kernels of one stream run at the same time.
    """

    table: Table
    work: SharedWork | None
    queued_ns: tuple[float, float]


def compared(
    before: Report,
    after: Report,
    asked: Selection,
    *,
    force: bool = False,
    gated: bool = False,
    sort: str = "delta",
) -> Compared:
    """Return the comparison of two reports: see `compare`.

    Args:
        before: the report that the other is measured by.
        after: the other.
        asked: what counts of both.
        force: compare runs on other GPUs, or of another mode, all the same.
        gated: refuse what no gate can judge.
        sort: within a kind, one of `analysis.compare.rows.SORTS`.

    Raises:
        ReportError: one of them cannot answer, or they cannot be compared.
    """
    reports = before, after
    sides = [side(report, asked) for report in reports]
    stepped = [each.has_steps for each in sides]
    notes: list[str] = []
    if stepped[0] != stepped[1]:
        place = stepped.index(True)
        sides[place] = side(reports[place], asked, whole=True)
        notes.append(f"no step ranges {SIDES[1 - place]}: whole reports are compared")
    notes += check(Both(reports, (sides[0], sides[1])), force=force, gated=gated)
    for word, each in zip(SIDES, sides, strict=True):
        notes += [f"{word}: {note}" for note in each.notes]
    notes += unjudged(sides)
    columns = rows(*sides)
    table = Table("compare", columns, notes=tuple(notes), hidden=UNSEEN)
    table = table.take(order(columns, sort))
    totals = sorted(only(table, "total").rows(), key=lambda row: TOTALS.index(str(row["name"])))
    lines = heading(reports, sides, excluded=not asked.warmup_counts)
    work = shared_work(*sides)
    lines += [*map(total_line, totals), *idle_line(sides), *work_line(work)]
    said = [
        f"{word}: {line}" for word, each in zip(SIDES, sides, strict=True) for line in each.counted
    ]
    table = replace(table, heading="\n".join(lines), counted=tuple(said))
    queued = [float(each.contents.queued_ns.mean()) for each in sides]
    return Compared(table, work, (queued[0], queued[1]))


def unjudged(sides: Sequence[Side]) -> list[str]:
    """Return a line where there are too few steps to tell change from noise."""
    if not sides[0].has_steps:
        return ["noise cannot be judged without steps; put a range called step around each"]
    few = [word for word, each in zip(SIDES, sides, strict=True) if each.contents.count < FEWEST]
    if not few:
        return []
    return [f"noise cannot be judged with one step {' and '.join(few)}; record STEPS=3 or more"]


def gate(
    totals: Mapping[str, Row],
    limit: float,
    paths: Sequence[str],
    queued_ns: tuple[float, float] = (0.0, 0.0),
) -> str:
    """Return why AFTER is too slow, or nothing if it is not.

    Args:
        totals: rows of kind ``total`` by name.
        limit: percent.
        queued_ns: see `Compared`. Kernels of one stream that grew into one another keep a GPU busy
            for no longer, and yet are slower: that is judged too.
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
    queue = {"before_ns": queued_ns[0], "after_ns": queued_ns[1]}
    if not over(row, limit) and over(queue, limit) and name == BUSY:
        change = percent(queued_ns[1] / queued_ns[0]) if queued_ns[0] else "none before"
        return (
            f"gate failed: kernels of one stream, one after the other, take {change}, more than "
            f"the {limit:g} % allowed"
        )
    if not over(row, limit):
        return ""
    said = (
        f"gate failed: {name} time {duration(before)} -> {duration(after)}, "
        f"{percent(float(row['ratio']))}, more than the {limit:g} % allowed"
    )
    return said + DOUBTS.get(str(row["status"]), "")


def over(row: Mapping[str, int | float | str], limit: float) -> bool:
    """Return whether AFTER takes over so many percent longer."""
    # Multiplied out: 100 * 1.14 is 113.99999999999999.
    return float(row["after_ns"]) * 100 > float(row["before_ns"]) * (100 + limit)


def unseen(totals: Mapping[str, Row], limit: float) -> list[str]:
    """Return a line for what took that much longer where the GPU was not busy for longer."""
    if BUSY not in totals or over(totals[BUSY], limit):
        return []
    change = {name: percent(float(row["ratio"])) for name, row in totals.items()}
    lines = []
    if over(totals["kernel"], limit):
        lines.append(
            f"kernels took {change['kernel']}, the GPU was busy {change[BUSY]}: copies and "
            "overlap make the difference"
        )
    if over(totals[WALL], limit):
        lines.append(
            f"wall time is {change[WALL]} and is not judged, the GPU was busy {change[BUSY]}: see "
            "idle, and python -m analysis.gaps"
        )
    return lines


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
        "--force",
        action="store_true",
        help="compare, and judge, other GPUs, modes and work too (default: refuse)",
    )
    selection.add_options(parser)
    args = cli.parse(parser, argv)
    with Report(args.before) as before, Report(args.after) as after:
        whole, work, queued_ns = compared(
            before,
            after,
            Selection(**selection.of_arguments(args)),
            force=args.force,
            gated=args.fail_over is not None,
            sort=args.sort,
        )
    show(whole, args)
    if work and not work.alike and args.format != "table":
        cli.say(f"{work}: see call_ratio, not the times")
    if args.fail_over is None:
        return 0
    if work and not work.alike and not args.force:
        remedy = "record a range called step around each step, or give --force"
        raise ReportError(args.after, f"cannot be judged without steps: {work}", remedy)
    totals = {str(row["name"]): row for row in only(whole, "total").rows()}
    problem = gate(totals, args.fail_over, (args.before, args.after), queued_ns)
    cli.say(*unseen(totals, args.fail_over))
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
        where = "that both reports have" if args.kind == "phase" else "in either report"
        raise ReportError(args.after, f"no {args.kind} {where}", f"compared are: {there}")
    top = args.top or (cli.TOP_OF_A_TABLE if args.format == "table" else None)
    shown, more = limited(sections(chosen), top)
    if args.format == "table":
        rows_ = [part for part in shown if args.kind or part.columns["kind"][0] != "total"] or shown
        shown = [replace(rows_[0], heading=f"{whole.heading}\n\n{rows_[0].heading}"), *rows_[1:]]
    else:
        shown = [joined(shown, whole)]
    cli.put(shown, args)
    cli.say(*cli.untold(whole, args), *whole.notes, *more)


if __name__ == "__main__":
    sys.exit(cli.run(main))
