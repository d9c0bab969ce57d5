"""What a step would take after a change, by replaying the run.

    python -m analysis.whatif report.sqlite --scale gemm=0.25
    python -m analysis.whatif report.sqlite --scale gemm=0.25 --host 0.5 --format csv
    python -m analysis.whatif run.rank0.sqlite run.rank1.sqlite --overlap collective

A run is replayed: every CUDA call on its thread after the host's own time, all work of a GPU after
its launch, what is before it on its stream and what it waits for, every waiting call until what it
waits for has ended. Then what is asked for is changed, all of it together, and replayed again.
The first row says what trust that deserves: the same run, replayed with its waits and starts
withheld (the mean of each kind in their place), beside what was recorded. Then come the run as a
whole, from the first launch to the last end, and each step that counts; where the report holds the
time of steps without a recorder, the same again with a host so much faster. On a CPU a step is one
thread: a change shortens the operators and ranges that it names, and the rest stays. A report that
a replay cannot be trusted with is refused, with the reason.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np

from analysis.measures.kept_predictions.record import (
    UNRECORDED,
    PredictedPart,
    beside_rows,
    predicted_parts,
)
from analysis.measures.predictions.change import COLLECTIVE, Change
from analysis.measures.predictions.edit import Edit
from analysis.measures.predictions.predicting import Predictions, predictions, slowed_otherwise
from analysis.measures.predictions.rank_predictions import RankPredictions
from analysis.measures.predictions.times import Times
from analysis.show import cli
from analysis.show.errors import ReportError
from analysis.show.render import duration
from analysis.show.table import Column, Table
from analysis.source.report import Report

WHATIF: Final = "whatif"


def whatif(
    report: Report,
    scale: Mapping[str, float] | None = None,
    *,
    ranks: Sequence[Report] = (),
    remove: Sequence[str] = (),
    host: float = 1.0,
    graph: Sequence[str] = (),
    no_wait: Sequence[str] = (),
    overlap: bool = False,
) -> Table:
    """Return what the run takes before and after a change.

    Args:
        report: what was recorded.
        ranks: reports of the other ranks of the same run, which are replayed with it.
        scale: factors of the time of a category, a range or kernels (a glob), by its name.
        remove: names of ranges that are left out.
        host: the factor of the host's time between and in CUDA calls.
        graph: names of ranges whose work is launched at once.
        no_wait: names of CUDA calls (globs) that wait for nothing any more.
        overlap: whether collectives run beside the work that follows them.

    Returns:
        ``change, before_ns, after_ns, saved_ns, ratio, step``; ``ratio`` is after to before.

    Raises:
        ReportError: a replay of the report cannot be trusted, or there is nothing of a name.
        ValueError: a factor is negative, or no finite number.
    """
    change = Change(dict(scale or {}), remove, host, graph, no_wait, overlap)
    known = predictions(report, *ranks)
    if reason := known.distrust:
        raise ReportError(report.path, f"its replay cannot be trusted: {reason}", "")
    blind = known.blind
    rows = [(Change().label, blind.window_ns, blind.replayed_ns, "")]
    parts: list[PredictedPart] = []
    if change:
        changed = known.edits(change)
        after = known.predict(changed)
        parts = [] if ranks else predicted_parts(known, change, after)
        rows += change_rows(change.label, known.recorded, after)
        rows += unrecorded_rows(known, change.label, changed)
    return Table(
        name=WHATIF,
        columns=columns(rows),
        heading="\n".join([*(each.describe() for each in (report, *ranks)), *heading(known)]),
        notes=notes(known),
        whole=beside_rows(report, parts),
    )


Row = tuple[str, int, int, str]


def change_rows(label: str, before: Times, after: Times) -> list[Row]:
    """Return the rows of a change: the whole, then each step."""
    rows = [(label, before.whole_ns, after.whole_ns, "")]
    steps = zip(before.step_ns.tolist(), after.step_ns.tolist(), strict=True)
    return rows + [(label, one, other, str(place)) for place, (one, other) in enumerate(steps)]


def unrecorded_rows(known: Predictions, label: str, changed: Sequence[Edit]) -> list[Row]:
    """Return the row of the median step without a recorder, where the report holds its time."""
    host = known.unrecorded_host
    if host is None or host == 1.0:
        return []
    before, after = known.predict([], host), known.predict(changed, host)
    one, other = (round(float(np.median(each.step_ns))) for each in (before, after))
    return [(label, one, other, UNRECORDED)]


def columns(rows: Sequence[Row]) -> dict[str, Column]:
    """Return the columns of the table."""
    before = np.array([row[1] for row in rows], np.int64)
    after = np.array([row[2] for row in rows], np.int64)
    return {
        "change": [row[0] for row in rows],
        "before_ns": before,
        "after_ns": after,
        "saved_ns": before - after,
        "ratio": after / np.maximum(before, 1),
        "step": [row[3] for row in rows],
    }


def heading(known: Predictions) -> tuple[str, ...]:
    """Return what the rows are, and how far the blind replay errs."""
    blind = known.blind
    if known.on_cpu:
        return ("a CPU run: a step is one thread, a change shortens what it names",)
    lines = known.lines if isinstance(known, RankPredictions) else ()
    return (
        *lines,
        f"replayed blind, its {duration(blind.window_ns)} come out as "
        f"{duration(blind.replayed_ns)}: an error of {abs(blind.error):.2%}".replace("%", " %"),
    )


def notes(known: Predictions) -> tuple[str, ...]:
    """Return notes on the steps, and on what recording may have done to the host."""
    lines = list(known.steps.notes) if known.steps is not None else []
    host = known.unrecorded_host
    if host is not None and host != 1.0:
        lines.append(
            f"recording slowed the host: by the steps that were not recorded its time is then "
            f"{host:.2f} of what was recorded"
        )
    if otherwise := slowed_otherwise(known):
        lines.append(otherwise)
    if host is None and not known.on_cpu:
        lines.append(
            "how fast steps are without a recorder is not in the report: where the host holds the "
            "GPU up, recording may be why"
        )
    return tuple(lines)


def factor(word: str) -> float:
    """Return a factor of the command line: a number that is finite and not negative."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(
            f"{word!r} is no factor: give a number from 0, such as 0.25"
        )
    return value


def scaled_name(word: str) -> tuple[str, float]:
    """Return the name and the factor of ``NAME=FACTOR``."""
    name, equals, number = word.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{word!r}: give a name and a factor, such as gemm=0.25")
    return name, factor(number)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is changed."""
    parser.add_argument(
        "--scale",
        action="append",
        type=scaled_name,
        default=[],
        metavar="NAME=FACTOR",
        help="the time of a category, a range or kernels (a glob) by a factor from 0; repeatable",
    )
    parser.add_argument(
        "--remove",
        action="append",
        default=[],
        metavar="RANGE",
        help="leave a range out, the host's time in it too; repeatable",
    )
    parser.add_argument(
        "--host",
        type=factor,
        default=1.0,
        metavar="FACTOR",
        help="the host's time between and in its CUDA calls by this factor (default: 1)",
    )
    parser.add_argument(
        "--graph",
        action="append",
        default=[],
        metavar="RANGE",
        help="launch the work of a range at once, as a CUDA graph does; repeatable",
    )
    parser.add_argument(
        "--no-wait",
        action="append",
        default=[],
        metavar="CALL",
        help="CUDA calls of this name (a glob) wait for nothing any more; repeatable",
    )
    parser.add_argument(
        "--overlap",
        choices=[COLLECTIVE],
        help="collectives run beside the work that follows them",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print what a change gains; see the module's docstring."""
    parser = cli.parser(__doc__, "analysis.whatif")
    parser.add_argument("more", nargs="*", metavar="REPORT", help="of the other ranks")
    add_options(parser)
    args = cli.parse(parser, argv)
    scale = dict(args.scale)
    for option, given in (
        ("--scale", [name for name, _ in args.scale]),
        ("--remove", args.remove),
        ("--graph", args.graph),
        ("--no-wait", args.no_wait),
    ):
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            parser.error(f"{option} is given twice for {', '.join(twice)}")
    with ExitStack() as stack:
        report, *ranks = (stack.enter_context(Report(path)) for path in (args.report, *args.more))
        table = whatif(
            report,
            scale,
            ranks=ranks,
            remove=args.remove,
            host=args.host,
            graph=args.graph,
            no_wait=args.no_wait,
            overlap=args.overlap is not None,
        )
    cli.write_answer(table, args)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
